"""Nested sets: the rules of cpuset(7) one by one, what is offline, and what plans become."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from governor.core.container import Container
from governor.core.forest import Forest
from governor.core.plan import compile_plan
from governor.errors import GovernorError
from governor.results import Value
from governor.subsystem import Subsystem
from governor.subsystem.machine import Machine
from governor.subsystem.sets import SetSubsystem
from subsystems.cpuset import CpuSet
from subsystems.memset import MemSet
from tests.unit.fake_machine import FakeMachine, write_machine
from tests.unit.idle_host import IdleHost

CODES = {code: getattr(errno, code) for code in ("EACCES", "EBUSY", "EINVAL", "ENOSPC", "ERANGE")}


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine(cpus="0-3", mems="0-2")


@pytest.fixture
def forest(machine: FakeMachine) -> Forest:
    """Both kinds, over a machine with four processors and three nodes."""
    kinds: dict[str, Callable[[FakeMachine], Subsystem]] = {"cpuset": CpuSet, "memset": MemSet}
    forest = Forest(lambda name: kinds[name](machine))
    forest.mount("set", ["cpuset"])
    for path in ("/a", "/a/x", "/b"):
        forest.mkdir("set", path)
    return forest


def container(forest: Forest, path: str, hierarchy: str = "set") -> Container:
    return forest.lookup(hierarchy, path)


def read(forest: Forest, path: str, file: str) -> Value:
    node = container(forest, path)
    return forest.control_file(node, f"cpuset.{file}").read(node)


def write(forest: Forest, path: str, **values: str | int) -> None:
    for name, value in values.items():
        forest.write(container(forest, path), f"cpuset.{name}", value)


def narrow(forest: Forest, **values: str | int) -> None:
    """Write into /a, which may not have less than /a/x."""
    write(forest, "/a/x", **values)
    write(forest, "/a", **values)


def refused(forest: Forest, path: str, code: str, **values: str | int) -> str:
    """Write one value that is refused with this errno, which changes nothing; the message."""
    ((name, _),) = values.items()
    before = [read(forest, p, name) for p in ("/", "/a", "/a/x", "/b")]
    with pytest.raises(GovernorError) as caught:
        write(forest, path, **values)
    assert errno.errorcode[caught.value.errno] == code
    assert [read(forest, p, name) for p in ("/", "/a", "/a/x", "/b")] == before
    return caught.value.message


def occupy(forest: Forest, path: str, tasks: int = 1) -> None:
    group = forest.group([container(forest, path)])
    forest.populate({group.id: tasks})


class TestRules:
    @pytest.mark.parametrize("name", ["cpus", "mems"])
    def test_subsets(self, forest: Forest, name: str) -> None:
        write(forest, "/a/x", **{name: "1"})
        write(forest, "/a", **{name: "0-1"})
        assert "set:/a" in refused(forest, "/a/x", "EACCES", **{name: "1-2"})
        assert "set:/a/x" in refused(forest, "/a", "EBUSY", **{name: "0"})
        refused(forest, "/", "EACCES", **{name: "0"})

    @pytest.mark.parametrize(
        ("name", "flag"), [("cpus", "cpu_exclusive"), ("mems", "mem_exclusive")]
    )
    def test_exclusive_sets_do_not_overlap(self, forest: Forest, name: str, flag: str) -> None:
        assert "0-" in refused(forest, "/a", "EINVAL", **{flag: 1})
        narrow(forest, **{name: "0"})
        write(forest, "/b", **{name: "1-2"})
        write(forest, "/a", **{flag: "1\n"})
        assert "set:/a has" in refused(forest, "/b", "EINVAL", **{name: "0-1"})
        refused(forest, "/a", "EINVAL", **{name: "0,2"})

    def test_an_exclusive_child_needs_an_exclusive_parent(self, forest: Forest) -> None:
        assert read(forest, "/", "cpu_exclusive") == 1
        refused(forest, "/a/x", "EACCES", cpu_exclusive=1)
        write(forest, "/b", cpus="")
        write(forest, "/a", cpu_exclusive=1)
        write(forest, "/a/x", cpu_exclusive=1)
        assert "set:/a/x" in refused(forest, "/a", "EBUSY", cpu_exclusive=0)
        refused(forest, "/", "EBUSY", cpu_exclusive=0)

    def test_emptying(self, forest: Forest) -> None:
        occupy(forest, "/a/x", 3)
        assert "3 processes" in refused(forest, "/a/x", "ENOSPC", cpus="")
        refused(forest, "/a/x", "ENOSPC", mems="\n")
        occupy(forest, "/a/x", 0)
        write(forest, "/a/x", cpus="\n", mems="")
        assert read(forest, "/a/x", "cpus") == read(forest, "/a/x", "effective_cpus") == ""

    def test_nobody_enters_an_empty_set(self, forest: Forest) -> None:
        for name in ("cpus", "mems"):
            write(forest, "/b", cpus="0-3", mems="0-2")
            write(forest, "/b", **{name: ""})
            node = container(forest, "/b")
            subsystem = node.hierarchy.subsystems["cpuset"]
            for enter in (subsystem.can_fork, lambda c, s=subsystem: s.can_attach(c, c, 1)):
                with pytest.raises(GovernorError, match="set:/b") as caught:
                    enter(node)
                assert caught.value.errno == errno.ENOSPC

    def test_a_new_one_has_what_nobody_has_for_himself(self, forest: Forest) -> None:
        narrow(forest, cpus="0-1")
        write(forest, "/b", cpus="3")
        write(forest, "/a", cpu_exclusive=1)
        forest.mkdir("set", "/c")
        assert (read(forest, "/c", "cpus"), read(forest, "/c", "mems")) == ("2-3", "0-2")
        flags = ("cpu_exclusive", "mem_exclusive", "memory_migrate")
        assert [read(forest, "/c", flag) for flag in flags] == [0, 0, 0]

    @pytest.mark.parametrize(
        ("name", "value", "code"),
        [
            ("mems", "3", "EINVAL"),
            ("mems", "1023", "EINVAL"),
            ("mems", "1024", "ERANGE"),
            ("mems", "0-", "EINVAL"),
            ("cpus", "4", "EINVAL"),
            ("cpus", "8192", "ERANGE"),
            ("cpus", "2-1", "EINVAL"),
            ("cpu_exclusive", "2", "EINVAL"),
            ("cpu_exclusive", "", "EINVAL"),
            ("mem_exclusive", "yes", "EINVAL"),
            ("memory_migrate", "-1", "EINVAL"),
            ("effective_cpus", "0", "EACCES"),
            ("effective_mems", "0", "EACCES"),
        ],
    )
    def test_bad_values(self, forest: Forest, name: str, value: str, code: str) -> None:
        assert name in refused(forest, "/a", code, **{name: value})


class TestOffline:
    def look(self, forest: Forest) -> list[Container]:
        """A sample; the containers whose plans are to be renewed."""
        root = container(forest, "/")
        return list(root.hierarchy.subsystems["cpuset"].sampled(root, IdleHost()))

    def test_what_is_left_or_else_the_parents(self, forest: Forest, machine: FakeMachine) -> None:
        write(forest, "/a/x", cpus="1-2")
        write(forest, "/a", cpus="1-3")
        machine.online["cpus"] = frozenset({0, 2, 3})
        assert self.look(forest) == [container(forest, "/")]
        assert [read(forest, p, "effective_cpus") for p in ("/", "/a", "/a/x")] == [
            "0,2-3",
            "2-3",
            "2",
        ]
        machine.online["cpus"] = frozenset({0, 3})
        self.look(forest)
        assert read(forest, "/a/x", "effective_cpus") == "3"
        machine.online["cpus"] = frozenset({0})
        self.look(forest)
        assert read(forest, "/a/x", "effective_cpus") == "0"
        plan = compile_plan(forest.group([container(forest, "/a/x")]))
        assert plan.confined["cpus"] == [0]
        assert read(forest, "/a/x", "cpus") == "1-2"
        machine.online["cpus"] = frozenset(range(4))
        self.look(forest)
        assert read(forest, "/a/x", "effective_cpus") == "1-2"

    def test_nothing_new(self, forest: Forest, machine: FakeMachine) -> None:
        assert self.look(forest) == []
        machine.online["cpus"] = frozenset()  # cannot be read
        assert self.look(forest) == []
        assert read(forest, "/", "effective_cpus") == "0-3"

    def test_a_machine_with_other_processors_only(
        self, forest: Forest, machine: FakeMachine
    ) -> None:
        """All that governor may use are gone: the kernel lets processes run anywhere, then."""
        machine.online["cpus"] = frozenset({7})
        self.look(forest)
        assert read(forest, "/a", "effective_cpus") == "7"

    def test_a_set_must_have_something_online(self, forest: Forest, machine: FakeMachine) -> None:
        machine.online["cpus"] = frozenset({0, 1})
        self.look(forest)
        assert "online" in refused(forest, "/b", "EINVAL", cpus="2-3")
        write(forest, "/b", cpus="1-3")


class TestMemory:
    def plan(self, forest: Forest, *places: tuple[str, str]) -> dict[str, list[int]]:
        nodes = [forest.lookup(hierarchy, path) for hierarchy, path in places]
        confined = compile_plan(forest.group(nodes)).confined
        return {key: value for key, value in confined.items() if key != "cpus"}

    def test_all_nodes_are_no_confinement(self, forest: Forest) -> None:
        write(forest, "/a", memory_migrate=1)
        assert self.plan(forest, ("set", "/a")) == {}

    def test_a_set_confines_and_pages_follow_if_they_are_to(self, forest: Forest) -> None:
        narrow(forest, mems="0-1")
        assert self.plan(forest, ("set", "/a")) == {"mems": [0, 1]}
        write(forest, "/a", memory_migrate=1)
        assert self.plan(forest, ("set", "/a")) == {"mems": [0, 1], "pages": [0, 1]}

    def test_nodes_of_two_hierarchies_intersect(self, forest: Forest) -> None:
        forest.mount("nodes", ["memset"])
        forest.mkdir("nodes", "/n")
        forest.write(forest.lookup("nodes", "/n"), "memset.mems", "1-2")
        narrow(forest, mems="0-1")
        assert self.plan(forest, ("set", "/a"), ("nodes", "/n")) == {"mems": [1]}

    def test_a_process_that_keeps_another_policy_shows(self, forest: Forest) -> None:
        a, b = container(forest, "/a"), container(forest, "/b")
        subsystem = a.hierarchy.subsystems["cpuset"]
        narrow(forest, mems="0")
        assert not subsystem.lapsed(a)
        subsystem.attach(a, container(forest, "/"), 1)
        assert subsystem.lapsed(a)
        assert not subsystem.lapsed(b)
        occupy(forest, "/b")
        write(forest, "/b", mems="0-2")
        assert not subsystem.lapsed(b)
        write(forest, "/b", mems="1-2")
        assert subsystem.lapsed(b)

    def test_and_the_one_it_brings_along(self, forest: Forest) -> None:
        a, b, x = (container(forest, path) for path in ("/a", "/b", "/a/x"))
        subsystem = a.hierarchy.subsystems["cpuset"]
        subsystem.attach(b, a, 1)
        assert not subsystem.lapsed(b)
        occupy(forest, "/a/x")
        write(forest, "/a/x", mems="0")
        write(forest, "/b", mems="0")
        subsystem.attach(b, x, 1)
        assert subsystem.lapsed(b)

    def test_a_node_goes_offline(self, forest: Forest, machine: FakeMachine) -> None:
        occupy(forest, "/a")
        machine.online["mems"] = frozenset({0, 1})
        root = container(forest, "/")
        subsystem = root.hierarchy.subsystems["cpuset"]
        assert list(subsystem.sampled(root, IdleHost())) == [root]
        assert [subsystem.lapsed(container(forest, p)) for p in ("/a", "/b")] == [True, False]


class TestMachine:
    def test_this_one(self) -> None:
        machine = Machine()
        assert machine.usable("cpus") == frozenset(os.sched_getaffinity(0))
        assert machine.usable("cpus") <= machine.present("cpus")
        assert machine.usable("mems") <= machine.present("mems")
        assert machine.usable("mems")

    def test_of_files(self, tmp_path: Path) -> None:
        machine = write_machine(tmp_path, cpus="0-4095", mems="0-3", allowed="2-7")
        assert machine.present("mems") == frozenset(range(4))
        assert machine.usable("mems") == frozenset({2, 3})
        assert machine.usable("cpus") == frozenset(os.sched_getaffinity(0))

    def test_without_any_files(self, tmp_path: Path) -> None:
        machine = Machine(str(tmp_path), str(tmp_path / "none"))
        assert machine.present("cpus") == frozenset()
        assert machine.usable("mems") == machine.present("mems") == frozenset({0})
        assert machine.usable("cpus") == frozenset(os.sched_getaffinity(0))

    @pytest.mark.parametrize("kind", [CpuSet, MemSet])
    def test_a_set_of_this_machine(self, kind: type[SetSubsystem]) -> None:
        for name, sets in kind().sets.items():
            assert sets.usable == Machine().usable(name)
