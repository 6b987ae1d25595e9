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
    assert (
        "alpha.held, alpha.minheld, alpha.maxheld, alpha.barrier, alpha.limit, alpha.failcnt"
        in unknown
    )
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


def test_an_unmounted_hierarchy_that_is_found_again_is_mounted(forest: Forest) -> None:
    hierarchy = forest.mount("one", ["alpha"])
    forest.mkdir("one", "/a")
    forest.umount("one")
    assert not hierarchy.mounted
    assert forest.mount("one", ["alpha"]).mounted


def test_a_container_goes_when_nothing_keeps_it(forest: Forest) -> None:
    forest.mount("one", ["alpha"])
    container = forest.mkdir("one", "/a")
    group = forest.group([container])

    def reason() -> str:
        error = refusal(lambda: forest.rmdir("one", "/a"))
        assert error.errno == errno.EBUSY
        return error.message

    forest.mkdir("one", "/a/b")
    assert "has children (b)" in reason()
    forest.rmdir("one", "/a/b")
    forest.populate({group.id: 1})
    assert "has processes" in reason()
    forest.populate({})
    container.busy = 1
    assert "is kept by a subsystem" in reason()
    container.busy = 0
    forest.rmdir("one", "/a")
    assert forest.groups.get(group.id) is None
    assert "unmount" in refusal(lambda: forest.rmdir("one", "/")).message


def test_those_that_agreed_to_a_move_are_told_in_reverse(forest: Forest, mood: Mood) -> None:
    forest.mount("one", ["alpha", "beta", "gamma"])
    group, target = forest.group([]), forest.mkdir("one", "/a")
    mood.refuses.add(("can_attach", "gamma"))
    mood.calls.clear()
    refusal(lambda: forest.move(group, target, 1))
    assert [(call.callback, call.subsystem) for call in mood.calls] == [
        ("can_attach", "alpha"),
        ("can_attach", "beta"),
        ("can_attach", "gamma"),
        ("cancel_attach", "beta"),
        ("cancel_attach", "alpha"),
    ]


def test_notify_on_release_is_inherited_at_creation_and_not_later(forest: Forest) -> None:
    root = forest.mount("one", ["alpha"]).root
    before = forest.mkdir("one", "/a")
    root.notify_on_release = True
    assert (before.notify_on_release, forest.mkdir("one", "/b").notify_on_release) == (False, True)


def test_what_is_removed_cannot_be_kept_any_more(forest: Forest) -> None:
    forest.mount("one", ["alpha"])
    container = forest.mkdir("one", "/a")
    container.keep()
    assert refusal(lambda: forest.rmdir("one", "/a")).errno == errno.EBUSY
    container.let_go()
    container.ending = True
    assert refusal(container.keep).errno == errno.ENODEV
    assert refusal(lambda: forest.mkdir("one", "/a/b")).errno == errno.ENODEV
    group = forest.group([container])
    assert refusal(lambda: forest.admit(group)).errno == errno.ENODEV
    forest.rmdir("one", "/a")
    container.ending = False
    assert refusal(container.keep).errno == errno.ENODEV


def test_a_container_cannot_be_called_as_a_control_file(forest: Forest) -> None:
    forest.mount("one", ["alpha"])
    forest.mkdir("one", "/a")
    for name in ("tasks", "alpha.limit"):
        assert refusal(lambda n=name: forest.mkdir("one", f"/{n}")).errno == errno.EEXIST  # type: ignore[misc]
        assert refusal(lambda n=name: forest.rename("one", "/a", n)).errno == errno.EEXIST  # type: ignore[misc]
