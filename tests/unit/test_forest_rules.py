"""Rules of the forest that are worth saying one by one."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from governor.core.forest import Forest
from governor.errors import GovernorError
from tests.unit.toys import Mood, loader


@pytest.fixture
def mood() -> Mood:
    return Mood()


@pytest.fixture
def forest(mood: Mood) -> Forest:
    return Forest(loader(mood))


def refusal(operation: Callable[[], object]) -> GovernorError:
    with pytest.raises(GovernorError) as caught:
        operation()
    return caught.value


def test_an_unmounted_hierarchy_with_containers_is_found_again(forest: Forest) -> None:
    first = forest.mount("one", ["alpha", "beta"])
    container = forest.mkdir("one", "/a")
    assert forest.umount("one") is False
    assert forest.mount("other", ["beta", "alpha"]) is first
    assert forest.lookup("one", "/a") is container
    forest.rmdir("one", "/a")
    assert forest.umount("one") is True
    assert forest.mount("other", ["beta", "alpha"]) is not first


def test_a_refusal_names_what_there_is(forest: Forest) -> None:
    forest.mount("one", ["alpha"])
    forest.mkdir("one", "/a")
    assert "mounted: one" in refusal(lambda: forest.lookup("two", "/")).message
    missing = refusal(lambda: forest.lookup("one", "/a/b/c")).message
    assert "one:/a/b/c" in missing
    assert "one:/a has no 'b'" in missing
    unknown = refusal(lambda: forest.control_file(forest.lookup("one", "/a"), "alpha.x")).message
    assert "alpha.held, alpha.maxheld, alpha.limit, alpha.failcnt" in unknown
    assert "hierarchy 'one'" in refusal(lambda: forest.mount("two", ["alpha", "beta"])).message


def test_a_slash_more_or_less_is_the_same_path(forest: Forest) -> None:
    forest.mount("one", ["alpha"])
    forest.mkdir("one", "/a/")
    assert forest.lookup("one", "//a//") is forest.lookup("one", "/a")


def test_a_move_refused_for_want_of_groups_is_undone(
    forest: Forest, mood: Mood, monkeypatch: pytest.MonkeyPatch
) -> None:
    forest.mount("one", ["alpha", "beta"])
    group = forest.group([])
    target = forest.mkdir("one", "/a")
    mood.calls.clear()
    monkeypatch.setattr("governor.core.group.GROUP_MAX", 1)
    assert refusal(lambda: forest.move(group, target, 1)).errno == errno.ENOSPC
    assert [call.callback for call in mood.calls] == ["can_attach"] * 2 + ["cancel_attach"] * 2
