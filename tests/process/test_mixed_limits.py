"""Several limits in nested containers of two hierarchies, and programs that go to all of them."""

from __future__ import annotations

import os
import random
from typing import IO

import pytest

from governor.api import Container, Governor, Job
from tests.process.helpers import DEADLINE, program

KINDS = ("numtasks", "numfiles", "numsock")
ROUND = (range(4, 20), range(10, 40), range(3, 15))
"""Limits of an innermost container; one above it has up to twice as much."""


class Bomb:
    """A mixed_bomb in one container of each hierarchy."""

    def __init__(self, gov: Governor, containers: list[Container], seed: int) -> None:
        self.containers = containers
        theirs_in, orders = os.pipe()
        answers, theirs_out = os.pipe()
        command = [program("mixed_bomb", "-static"), str(seed), "40"]
        self.job: Job = gov.spawn(
            command, containers=containers, stdin=theirs_in, stdout=theirs_out
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.orders: IO[str] = open(orders, "w")  # noqa: SIM115 - closed by close()
        self.answers: IO[str] = open(answers)  # noqa: SIM115
        self.figures: list[int] = []

    @property
    def held(self) -> tuple[int, int, int]:
        """Tasks, files (without its streams) and sockets; a socket is a file, too."""
        tasks, files, sockets = self.figures[:3]
        return tasks + 1, files + sockets, sockets

    def go_on(self) -> None:
        self.orders.write("\n")
        self.orders.flush()

    def hear(self) -> None:
        self.figures = [int(word) for word in self.answers.readline().split()]

    def is_below(self, container: Container) -> bool:
        return any(
            mine.hierarchy == container.hierarchy
            and f"{mine.path}/".startswith(f"{container.path}/")
            for mine in self.containers
        )

    def close(self) -> None:
        self.orders.close()
        assert self.job.wait(DEADLINE).exit_code == 0
        self.answers.close()


@pytest.fixture(params=range(3))
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


@pytest.fixture
def trees(gov: Governor, chance: random.Random) -> list[list[Container]]:
    """Two trees: a container, and two in it; not every one has every limit."""
    trees = []
    for name, label in (("one", "{}"), ("two", "{}@two")):
        top = gov.mount(name, [label.format(kind) for kind in KINDS]).mkdir("/top")
        tree = [top, top.mkdir("a"), top.mkdir("b")]
        for container in tree:
            for kind, limits in zip(KINDS, ROUND, strict=True):
                if container is top or chance.random() < 0.7:
                    limit = chance.choice(limits)
                    container[f"{kind}.limit"] = limit + (limits.stop if container is top else 0)
        trees.append(tree)
    return trees


def test_all_that_is_held_and_refused_is_known(
    gov: Governor, trees: list[list[Container]], chance: random.Random
) -> None:
    """What is known of it otherwise is what the programs themselves have and were refused."""
    bombs = [Bomb(gov, [chance.choice(tree[1:]) for tree in trees], seed) for seed in range(1, 4)]
    for bomb in bombs:
        bomb.go_on()
    for bomb in bombs:
        assert bomb.answers.readline() == "ready\n"
    for _ in range(2):  # when all try again nobody ends anything
        for bomb in bombs:
            bomb.go_on()
        for bomb in bombs:
            bomb.hear()
    assert [bomb.figures[6] for bomb in bombs] == [0, 0, 0], "every errno is the resource's"
    for index, kind in enumerate(KINDS):
        everywhere = [container for tree in trees for container in tree]
        refusals = sum(int(container[f"{kind}.failcnt"]) for container in everywhere)
        assert refusals == sum(bomb.figures[3 + index] for bomb in bombs)
        streams = gov_streams(kind)
        full = []
        for container in everywhere:
            inside = [bomb for bomb in bombs if bomb.is_below(container)]
            held = sum(bomb.held[index] + streams * 2 for bomb in inside) + streams * bool(inside)
            assert container[f"{kind}.held"] == held
            limit = container[f"{kind}.limit"]
            assert limit == "max" or held <= int(limit)
            full += [container] if limit != "max" and held == int(limit) else []
        if kind != "numsock":  # those may lack files instead
            assert all(any(bomb.is_below(container) for container in full) for bomb in bombs)
    for bomb in bombs:
        bomb.close()
    left = {container[f"{kind}.held"] for tree in trees for container in tree for kind in KINDS}
    assert left == {0}


def gov_streams(kind: str) -> int:
    """How many streams a bomb has of its own, besides one that all share."""
    return int(kind == "numfiles")
