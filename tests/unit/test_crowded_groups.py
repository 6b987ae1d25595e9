"""What is done to one container takes as many steps among hundreds with processes as among ten."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from governor.core.container import Container
from governor.supervisor.policy import Policy
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from tests.unit.paper_supervisor import PaperSupervisor, paper_supervisor

FEW, MANY = 10, 300
ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / package}/" for package in ("governor", "subsystems", "workers"))
SUBSYSTEMS = ["numtasks", "numfiles", "cpuacct"]


def steps(act: Callable[[], object]) -> int:
    """How many of our lines run, each turn of a loop counted."""
    lines = 0

    def start(frame: Any, event: str, _: object) -> Any:
        return local if frame.f_code.co_filename.startswith(OURS) else None

    def local(frame: Any, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return local

    before = sys.gettrace()
    sys.settrace(start)
    try:
        act()
    finally:
        sys.settrace(before)
    return lines


class Crowd:
    """A supervisor with so many containers, each with a limit and in use."""

    def __init__(self, paper: PaperSupervisor, size: int) -> None:
        self.policy: Policy = paper.real._policy
        self.agent = paper.real._agent
        self.policy.mount("h", SUBSYSTEMS)
        for number in range(size):
            self.enter(self.make(f"/c{number}"))

    def make(self, path: str) -> Container:
        container = self.policy.mkdir("h", path)
        self.policy.write(container, "numtasks.limit", 100)
        return container

    def enter(self, container: Container) -> None:
        self.policy.admit([container])


@pytest.fixture(params=[FEW, MANY])
def crowd(request: pytest.FixtureRequest) -> Iterator[Crowd]:
    with paper_supervisor() as paper:
        yield Crowd(paper, request.param)


_FOUND: dict[str, int] = {}
"""By what was done, in the smaller crowd, which comes first."""


def same_in_both(what: str, found: int) -> None:
    assert _FOUND.setdefault(what, found) == found


def test_what_is_done_to_one_container_takes_no_more_steps(crowd: Crowd) -> None:
    policy = crowd.policy
    one = crowd.make("/one")
    for _ in range(2):  # the first time, some things are made that stay
        crowd.enter(one)
        policy.write(one, "numtasks.limit", 90)
    done: dict[str, Callable[[], object]] = {
        "mkdir": lambda: policy.mkdir("h", "/two"),
        "a limit where nobody is": lambda: policy.write(
            policy.forest.lookup("h", "/two"), "numtasks.limit", 7
        ),
        "a limit": lambda: policy.write(one, "numtasks.limit", 80),
        "no limit": lambda: policy.write(one, "numtasks.limit", "max"),
        "a job": lambda: policy.admit([one]),
        "another container": lambda: policy.admit([policy.forest.lookup("h", "/two")]),
        "members": lambda: policy.members.of(one, recursive=True),
        "rmdir": lambda: policy.rmdir("h", "/two"),
    }
    for what, act in done.items():
        same_in_both(what, steps(act))


def test_a_limit_above_is_told_to_those_in_use_only(crowd: Crowd) -> None:
    """The containers that nobody is in hear of it when somebody comes."""
    top = crowd.make("/top")
    for number in range(len(crowd.policy.forest.groups)):
        crowd.make(f"/top/{number}")
    crowd.enter(crowd.make("/top/used"))
    crowd.policy.write(top, "numtasks.limit", 50)
    same_in_both("above", steps(lambda: crowd.policy.write(top, "numtasks.limit", 60)))


def test_a_tree_is_removed_with_one_word_to_the_agent(crowd: Crowd) -> None:
    paths = ["/d" * depth for depth in range(1, 6)]
    for path in paths:
        crowd.make(path)
    nodes = list(crowd.policy.forest.lookup("h", "/d").descendants())
    with mock.patch.object(crowd.policy.plans, "tell_counters") as told:
        crowd.policy.remove(nodes[::-1])
    assert told.call_count == 1
    assert "d" not in crowd.policy.forest.hierarchy("h").root.children


def test_a_container_takes_less_than_two_kilobytes() -> None:
    with paper_supervisor() as paper:
        crowd = Crowd(paper, 1)
        for number in range(1000):  # what is imported or grows by leaps is no container's
            crowd.make(f"/before-{number}")
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(MANY):
                crowd.make(f"/{number}")
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (after - before) / MANY < 2000


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("numtasks.held", [agent_wire.CountSome]),
        ("numtasks.stats", [agent_wire.CountSome]),
        ("numtasks.limit", []),
        ("notify_on_release", []),
        ("cpuacct.usage", [agent_wire.Count]),
    ],
)
def test_a_reading_counts_what_it_needs(file: str, asked: list[type]) -> None:
    with paper_supervisor() as paper:
        crowd = Crowd(paper, FEW)
        agent: Any = crowd.agent
        with mock.patch.object(agent, "_ask", wraps=agent._ask) as ask:
            paper.ask(lambda n: wire.Read(n, "h", "/c3", file))
        assert [type(call.args[0]) for call in ask.call_args_list] == asked
        counter = crowd.policy.forest.lookup("h", "/c3").states["numtasks"]
        for call in ask.call_args_list:
            if isinstance(call.args[0], agent_wire.CountSome):
                assert call.args[0].counters == [getattr(counter, "id", None)]
