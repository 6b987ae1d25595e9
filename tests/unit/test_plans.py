"""Charge plans: flat, limited counters only, and no bigger for hierarchies that ask for nothing."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

import pytest

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.forest import Forest
from governor.core.plan import Plan, compile_plan
from governor.errors import GovernorError
from governor.subsystem import CountedSubsystem, Subsystem
from tests.unit.toys import Mood, loader


def counter(container: Container, subsystem: str) -> int:
    state = container.states[subsystem]
    assert isinstance(state, Counter)
    return state.id


@pytest.fixture
def forest() -> Forest:
    forest = Forest(loader(Mood()))
    forest.mount("one", ["alpha", "delta"])
    forest.mount("two", ["beta", "gamma"])
    for path in ("/a", "/a/b", "/a/b/c"):
        forest.mkdir("one", path)
    forest.mkdir("two", "/x")
    return forest


def plan_of(forest: Forest, *places: tuple[str, str]) -> Plan:
    return compile_plan(forest.group([forest.lookup(*place) for place in places]))


def test_without_limits_nothing_is_charged_but_everything_counts(forest: Forest) -> None:
    plan = plan_of(forest, ("one", "/a/b/c"), ("two", "/x"))
    assert plan.charges == {}
    # alpha's four levels and gamma's two count tasks, beta's two count files.
    assert {resource: len(ids) for resource, ids in plan.counts.items()} == {"tasks": 6, "files": 2}


def test_a_limit_far_above_is_in_the_plan_of_every_group_below(forest: Forest) -> None:
    top, deep = forest.lookup("one", "/a"), forest.lookup("one", "/a/b/c")
    forest.write(top, "alpha.limit", 7)
    forest.write(deep, "alpha.limit", 5)
    plan = plan_of(forest, ("one", "/a/b/c"))
    # The container itself first: it is named when both limits are met.
    assert plan.charges == {"tasks": [counter(deep, "alpha"), counter(top, "alpha")]}
    assert plan_of(forest, ("one", "/a/b")).charges == {"tasks": [counter(top, "alpha")]}
    assert plan_of(forest).charges == {}


def test_limits_of_several_hierarchies_on_one_resource_are_all_charged(forest: Forest) -> None:
    here, there = forest.lookup("one", "/a"), forest.lookup("two", "/x")
    forest.write(here, "alpha.limit", 7)
    forest.write(there, "gamma.limit", 7)
    forest.write(there, "beta.limit", 7)
    plan = plan_of(forest, ("one", "/a"), ("two", "/x"))
    assert plan.charges == {
        "tasks": [counter(here, "alpha"), counter(there, "gamma")],
        "files": [counter(there, "beta")],
    }


def test_a_limit_taken_off_leaves_the_plan(forest: Forest) -> None:
    container = forest.lookup("one", "/a")
    before = plan_of(forest, ("one", "/a"))
    forest.write(container, "alpha.limit", 7)
    assert plan_of(forest, ("one", "/a")) != before
    forest.write(container, "alpha.limit", "max")
    assert plan_of(forest, ("one", "/a")) == before


def test_confinements_intersect(forest: Forest) -> None:
    forest.write(forest.lookup("one", "/a"), "delta.set", "4321")
    forest.write(forest.lookup("one", "/a/b"), "delta.set", "349")
    assert plan_of(forest, ("one", "/a/b/c")).confined == {"digits": [3, 4]}
    assert plan_of(forest).confined == {"digits": list(range(10))}


class Numbered(CountedSubsystem):
    """One of many subsystems that count tasks."""

    number: ClassVar[int]
    resource = "tasks"


def numbered(names: Sequence[str]) -> dict[str, type[Numbered]]:
    return {name: type(name, (Numbered,), {"name": name}) for name in names}


def test_the_plan_is_as_long_as_the_limits_not_as_the_hierarchies() -> None:
    kinds = numbered([f"s{n}" for n in range(8)])

    def load(name: str) -> Subsystem:
        return kinds[name]()

    forest = Forest(load)
    lengths = []
    for name in kinds:
        forest.mount(name, [name])
        for depth in range(1, 4):
            forest.mkdir(name, "/d" * depth)
        if name == "s0":
            forest.write(forest.lookup(name, "/d/d"), "s0.limit", 9)
        places = [(mounted, "/d/d/d") for mounted in forest.hierarchies]
        lengths.append(len(plan_of(forest, *places).charges["tasks"]))
    assert lengths == [1] * 8


def test_a_subsystem_that_fails_refuses_the_plan_by_name(
    forest: Forest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contribute(*_: object) -> None:
        raise KeyError("digits")

    monkeypatch.setattr(forest.hierarchy("one").subsystems["delta"], "contribute", contribute)
    with pytest.raises(GovernorError, match=r"contribute\(\) of delta failed: KeyError") as caught:
        plan_of(forest)
    assert caught.value.errno == errno.EIO
