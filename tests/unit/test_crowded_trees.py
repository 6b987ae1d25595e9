"""What one container costs does not depend on how many siblings it has."""

from __future__ import annotations

import pytest

from governor.core.container import Container
from governor.core.forest import Forest
from subsystems.cpuset import CpuSet
from tests.unit.fake_machine import FakeMachine

CROWD = 200


class Looks(CpuSet):
    """Counts how often somebody asks for a container's set."""

    looks = 0

    def _own(self, kind: str, container: Container):  # type: ignore[no-untyped-def]
        self.looks += 1
        return super()._own(kind, container)


@pytest.fixture
def cpuset() -> Looks:
    return Looks(FakeMachine(cpus="0-3", mems="0-2"))


@pytest.fixture
def forest(cpuset: Looks) -> Forest:
    forest = Forest(lambda _: cpuset)
    forest.mount("set", ["cpuset"])
    return forest


def looks_for(cpuset: Looks, forest: Forest, name: str) -> int:
    before = cpuset.looks
    forest.mkdir("set", name)
    return cpuset.looks - before


def test_a_new_set_asks_no_siblings(forest: Forest, cpuset: Looks) -> None:
    assert {looks_for(cpuset, forest, f"/c{i}") for i in range(CROWD)} == {2}


def test_but_where_one_of_them_is_exclusive(forest: Forest, cpuset: Looks) -> None:
    def write(path: str, file: str, value: str) -> None:
        forest.write(forest.lookup("set", path), f"cpuset.{file}", value)

    def cpus(path: str) -> frozenset[int]:
        return cpuset.sets["cpus"].of(forest.lookup("set", path)).members

    for path in ("/a", "/b"):
        forest.mkdir("set", path)
        write(path, "cpus", "0" if path == "/a" else "1")
        write(path, "cpu_exclusive", "1")
        write(path, "cpu_exclusive", "1")
    assert cpus(forest.mkdir("set", "/c").path) == {2, 3}
    forest.rmdir("set", "/c")
    write("/b", "cpu_exclusive", "0")
    assert cpus(forest.mkdir("set", "/c").path) == {1, 2, 3}
    forest.rmdir("set", "/a")
    assert cpus(forest.mkdir("set", "/d").path) == {0, 1, 2, 3}
    assert looks_for(cpuset, forest, "/e") == 2


def test_processes_are_counted_where_they_are_and_were(forest: Forest) -> None:
    made = [forest.mkdir("set", f"/c{i}") for i in range(3)]
    groups = [forest.group([container]) for container in made]
    for full in groups:
        assert forest.populate({full.id: 2}) == [group for group in groups if group is not full]
        assert [bool(c.tasks) for c in made] == [group is full for group in groups]
