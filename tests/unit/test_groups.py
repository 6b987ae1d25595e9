"""Container groups: found by hash, and ids that fit the tag and rest before they come back."""

from __future__ import annotations

import errno
import itertools

import pytest

from governor.core import group as group_module
from governor.core.container import Container
from governor.core.group import GROUP_MAX, GroupTable
from governor.core.hierarchy import Hierarchy
from governor.errors import GovernorError
from workers.membership import MAX_GROUP

GROUPS = 10_000


class Watched(Container):
    """A container that counts how often it is hashed and compared."""

    __slots__ = ()
    hashed = 0
    compared = 0

    def __hash__(self) -> int:
        Watched.hashed += 1
        return object.__hash__(self)

    def __eq__(self, other: object) -> bool:
        Watched.compared += 1
        return self is other


def containers(count: int, name: str = "one") -> list[Watched]:
    hierarchy = Hierarchy(name, itertools.count(1).__next__)
    return [Watched(hierarchy, hierarchy.root, f"c{n}") for n in range(count)]


def test_a_group_among_ten_thousand_is_found_without_a_search() -> None:
    table = GroupTable()
    ones, twos = containers(GROUPS // 100, "one"), containers(100, "two")
    groups = {pair: table.find(pair) for pair in itertools.product(ones, twos)}
    assert len(table) == GROUPS
    for pair in list(groups)[:: GROUPS // 50]:
        Watched.hashed = Watched.compared = 0
        found = table.find((pair[0], pair[1]))
        assert Watched.hashed == len(pair)
        # Equal hashes of different combinations are as rare as 2**-64.
        assert Watched.compared <= 1
        assert found is groups[pair]
    assert len(table) == GROUPS


def test_a_new_group_among_ten_thousand_is_made_without_a_search() -> None:
    table = GroupTable()
    many = containers(GROUPS)
    for container in many:
        table.find((container,))
    new = containers(1)[0]
    Watched.hashed = Watched.compared = 0
    table.find((new,))
    # Once to look, once to put; from Python 3.14 on a tuple remembers its hash.
    assert Watched.hashed in (1, 2)
    assert Watched.compared <= 1


def test_every_id_fits_the_tag_of_a_process() -> None:
    assert GROUP_MAX <= MAX_GROUP
    assert GroupTable().find(()).id > 0, "0 is the tag of a process without a group"


def test_an_id_rests_before_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "GROUP_MAX", 3)
    table = GroupTable()
    first, second, third, fourth = ((c,) for c in containers(4))
    released = table.find(first)
    assert table.find(second).id == 2
    table.release(released)
    assert table.get(1) is None
    assert table.find(third).id == 3
    assert table.find(fourth).id == 1


def test_no_id_left_is_enospc_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "GROUP_MAX", 2)
    table = GroupTable()
    *known, extra = containers(3)
    groups = [table.find((container,)) for container in known]
    with pytest.raises(GovernorError) as caught:
        table.find((extra,))
    assert caught.value.errno == errno.ENOSPC
    assert list(table) == groups
    assert not extra.groups
    assert table.find((known[0],)) is groups[0]


def test_releasing_takes_the_references_of_the_containers() -> None:
    table = GroupTable()
    one, two = *containers(1, "one"), *containers(1, "two")
    group, other = table.find((one, two)), table.find((one,))
    assert (list(one.groups.values()), list(two.groups.values())) == ([group, other], [group])
    table.release(group)
    assert (list(one.groups.values()), list(two.groups.values())) == ([other], [])
    assert list(table) == [other]


def test_a_substitute_keeps_the_id_and_moves_the_references() -> None:
    table = GroupTable()
    one, two = *containers(1, "one"), *containers(1, "two")
    group = table.find((one,))
    table.substitute(group, (one, two))
    assert (group.id, group.containers) == (1, (one, two))
    assert table.find((one, two)) is table.get(1) is group
    assert (list(one.groups), list(two.groups)) == ([group.id], [group.id])
    assert table.find((one,)) is not group
