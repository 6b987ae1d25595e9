"""cpuacct: its files beside each other, and the load by a clock of our own."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from governor import registry
from governor.core.container import Container
from governor.core.forest import Forest
from governor.core.plan import compile_plan
from governor.errors import GovernorError
from governor.subsystem import Value
from subsystems.cpuacct import CpuAcct

SECOND = 1_000_000_000
PARTS = ("usage", "usage_user", "usage_sys", "usage_own")


class FakeHost:
    """A clock; processes are none of cpuacct's business."""

    def __init__(self) -> None:
        self.now = 1000.0

    def members(self, container: Container) -> list[int]:
        raise NotImplementedError

    def signal(self, pid: int, number: int) -> None:
        raise NotImplementedError

    def event(self, kind: str, container: Container, **fields: Value) -> None:
        raise NotImplementedError

    def changed(self, container: Container) -> None:
        pass


class Bench:
    """A hierarchy with cpuacct in which time passes and is used at will."""

    def __init__(self) -> None:
        self.forest = Forest(registry.load)
        self.host = FakeHost()
        hierarchy = self.forest.mount("cpu", ["cpuacct"])
        self.root = hierarchy.root
        subsystem = hierarchy.subsystems["cpuacct"]
        assert isinstance(subsystem, CpuAcct)
        self.cpuacct = subsystem

    def mkdir(self, path: str) -> Container:
        return self.forest.mkdir("cpu", path)

    def use(self, container: Container, user: int, system: int = 0) -> None:
        """What the supervisor does with what the ledger says of a group."""
        for meter in compile_plan(self.forest.group([container])).meters:
            meter.add(user + system, user)

    def sample(self, seconds: float = 0.0) -> None:
        self.host.now += seconds
        assert list(self.cpuacct.sampled(self.root, self.host)) == []

    def read(self, container: Container, name: str) -> Any:
        return self.forest.control_file(container, f"cpuacct.{name}").read(container)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- usage --------------------------------------------------------------------------------


def test_the_stat_file_is_in_ticks_and_in_the_order_of_cgroup_v1(bench: Bench) -> None:
    bench.use(bench.root, user=1_239_999_999, system=10_000_000)
    assert bench.read(bench.root, "stat") == "user 123\nsystem 1"


class Tree(RuleBasedStateMachine):
    """Containers come and go, are used and read; a tree of our own adds up the same."""

    containers = Bundle("containers")

    @initialize(target=containers)
    def begin(self) -> Container:
        self.bench = Bench()
        self.number = 0
        root = self.bench.root
        self.own = {root: [0, 0]}
        self.seen: dict[Container, list[int]] = {}
        return root

    @rule(target=containers, parent=containers)
    def mkdir(self, parent: Container) -> Any:
        if parent not in self.own:
            return multiple()
        self.number += 1
        container = self.bench.mkdir(f"{parent.path.rstrip('/')}/{self.number}")
        self.own[container] = [0, 0]
        return container

    @rule(container=containers, user=st.integers(0, 10**20), system=st.integers(0, 10**20))
    def use(self, container: Container, user: int, system: int) -> None:
        if container in self.own:
            self.bench.use(container, user, system)
            self.own[container][0] += user
            self.own[container][1] += system

    @precondition(lambda self: len(self.own) > 1)
    @rule(container=containers)
    def rmdir(self, container: Container) -> None:
        """What was used in it is its parent's own from then on."""
        if container not in self.own or container.children or container.parent is None:
            return
        self.bench.forest.rmdir("cpu", container.path)
        gone, parent = self.own.pop(container), self.own[container.parent]
        self.seen.pop(container, None)
        parent[:] = [mine + its for mine, its in zip(parent, gone, strict=True)]

    @rule(seconds=st.floats(0, 20))
    def sample(self, seconds: float) -> None:
        self.bench.sample(seconds)

    @invariant()
    def everything_adds_up_and_nothing_falls(self) -> None:
        for container, own in getattr(self, "own", {}).items():
            figures = [self.bench.read(container, name) for name in PARTS]
            usage, user, system, read_own = figures
            below = [
                [self.bench.read(child, name) for name in PARTS]
                for child in container.children.values()
            ]
            assert usage == user + system
            assert read_own == sum(own)
            assert usage == read_own + sum(child[0] for child in below)
            assert user == own[0] + sum(child[1] for child in below)
            assert system == own[1] + sum(child[2] for child in below)
            before = self.seen.get(container, figures)
            assert all(old <= new for old, new in zip(before, figures, strict=True))
            self.seen[container] = figures


TestTree = Tree.TestCase


# -- load ---------------------------------------------------------------------------------


def test_the_load_is_of_the_last_complete_interval(bench: Bench) -> None:
    busy, idle = bench.mkdir("/busy"), bench.mkdir("/idle")

    def loads() -> tuple[Value, ...]:
        return tuple(bench.read(c, "load") for c in (bench.root, busy, idle))

    bench.use(busy, user=77 * SECOND)  # before the first interval
    bench.sample()
    assert loads() == (0, 0, 0)
    bench.use(busy, user=3 * SECOND, system=1 * SECOND)
    bench.use(bench.root, user=1 * SECOND)
    bench.sample(9.9)
    assert loads() == (0, 0, 0), "it is not complete"
    bench.sample(0.1)
    assert loads() == (50, 40, 0)
    bench.use(idle, user=5 * SECOND)
    bench.sample(5)
    assert loads() == (50, 40, 0), "the one before is the last complete one"
    bench.sample(5)
    assert loads() == (50, 0, 50)
    bench.sample(10)
    assert loads() == (0, 0, 0)


def test_two_busy_processes_are_200_percent_of_one_cpu(bench: Bench) -> None:
    bench.sample()
    bench.use(bench.root, user=20 * SECOND)
    bench.sample(10)
    assert bench.read(bench.root, "load") == 200


def test_a_late_sample_divides_by_the_time_that_has_really_passed(bench: Bench) -> None:
    bench.sample()
    bench.use(bench.root, user=16 * SECOND)
    bench.sample(16)
    assert bench.read(bench.root, "load") == 100


def test_a_container_made_in_an_interval_counts_from_its_beginning(bench: Bench) -> None:
    bench.sample()
    late = bench.mkdir("/late")
    bench.use(late, user=1 * SECOND)
    bench.sample(10)
    assert bench.read(late, "load") == bench.read(bench.root, "load") == 10


@given(
    st.lists(
        st.tuples(st.floats(0.001, 30), st.integers(0, 10**10), st.integers(0, 10**10)),
        max_size=20,
    )
)
def test_the_loads_of_children_are_together_that_of_their_parent(
    steps: list[tuple[float, int, int]],
) -> None:
    """But for what each of them is rounded down by."""
    bench = Bench()
    one, two = bench.mkdir("/one"), bench.mkdir("/two")
    bench.sample()
    for seconds, first, second in steps:
        bench.use(one, user=first)
        bench.use(two, user=second)
        bench.sample(seconds)
        whole, *parts = (bench.read(c, "load") for c in (bench.root, one, two))
        assert sum(parts) <= whole <= sum(parts) + 1


# -- the interval -------------------------------------------------------------------------


def test_the_interval_is_the_hierarchys(bench: Bench) -> None:
    assert bench.read(bench.root, "interval") == "10"
    bench.forest.write(bench.root, "cpuacct.interval", "2s")
    child = bench.mkdir("/child")
    bench.sample()
    bench.use(child, user=SECOND)
    bench.sample(2)
    assert bench.read(child, "load") == 50
    other = Bench()
    assert other.read(other.root, "interval") == "10"


@given(st.floats(1, 86400))
def test_an_interval_reads_back_as_it_was_written(seconds: float) -> None:
    bench = Bench()
    bench.forest.write(bench.root, "cpuacct.interval", f"{seconds:.6f}")
    shown = bench.read(bench.root, "interval")
    assert float(shown) == pytest.approx(seconds, abs=1e-6)
    bench.forest.write(bench.root, "cpuacct.interval", shown)
    assert bench.read(bench.root, "interval") == shown


@pytest.mark.parametrize("value", ["0", "0.9s", 0, "-1", "2d", "", "soon", "1e3", "nan"])
def test_an_interval_that_cannot_be_is_refused_and_changes_nothing(
    bench: Bench, value: Value
) -> None:
    with pytest.raises(GovernorError) as caught:
        bench.forest.write(bench.root, "cpuacct.interval", value)
    assert caught.value.errno == errno.EINVAL
    assert "cpuacct.interval of cpu:/" in caught.value.message
    assert bench.read(bench.root, "interval") == "10"
