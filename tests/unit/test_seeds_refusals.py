"""All or nothing: whoever refuses, at any callback, those before it are as if never asked.

Beside the forest's model, which goes anywhere but seldom there: three to five subsystems, and one
of them refuses, or fails, at the callback in question. Those that may not refuse fail as well.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.core.forest import Forest
from governor.errors import GovernorError
from tests.unit.forest_model import snapshot
from tests.unit.toys import REFUSAL, TOYS, Call, Mood, loader

PID = 7
UNDO = {"create": "destroy", "can_attach": "cancel_attach", "can_fork": "cancel_fork"}


class World(NamedTuple):
    """A forest about to be changed: by ``act``, which asks ``asked``, in order, about ``path``."""

    mood: Mood
    forest: Forest
    act: Callable[[], object]
    callback: str
    asked: list[str]
    path: str = "/"


def begin(known: list[str]) -> tuple[Mood, Forest]:
    """A forest with something in it already; ``known`` subsystems are in hierarchy 0."""
    mood = Mood()
    forest = Forest(loader(mood), tell=mood.tell)
    if known:
        forest.mount("before", known)
        forest.umount("before")
    forest.mount("other", ["alpha@y", "delta@x"])
    forest.populate({forest.group([forest.mkdir("other", "/o")]).id: 2})
    return mood, forest


def mount(labels: list[str], known: list[str]) -> World:
    mood, forest = begin(known)
    new = [label for label in labels if label not in known]
    return World(mood, forest, lambda: forest.mount("one", labels), "create", new)


def files(labels: list[str], known: list[str]) -> World:
    mood, forest = begin(known)
    return World(mood, forest, lambda: forest.mount("one", labels), "populate", labels)


def remount(labels: list[str], known: list[str]) -> World:
    mood, forest = begin(known)
    forest.mount("one", labels[-1:])
    new = [label for label in labels[:-1] if label not in known]
    return World(mood, forest, lambda: forest.remount("one", labels), "create", new)


def mkdir(labels: list[str], known: list[str]) -> World:
    mood, forest = begin(known)
    forest.mount("one", labels)
    return World(mood, forest, lambda: forest.mkdir("one", "/a"), "create", labels, "/a")


def move(labels: list[str], known: list[str]) -> World:
    mood, forest = begin(known)
    forest.mount("one", labels)
    target, group = forest.mkdir("one", "/a"), forest.group([])
    return World(mood, forest, lambda: forest.move(group, target, PID), "can_attach", labels, "/a")


def admit(labels: list[str], known: list[str]) -> World:
    """A job in several trees: those of the other one are asked first, and agree."""
    mood, forest = begin(known)
    forest.mount("one", labels)
    group = forest.group([forest.mkdir("one", "/a")])
    return World(mood, forest, lambda: forest.admit(group), "can_fork", labels, "/a")


worlds = st.sampled_from([mount, files, remount, mkdir, move, admit])
chosen = st.permutations(sorted(TOYS)).flatmap(
    lambda kinds: st.integers(3, 5).map(lambda count: list(kinds[:count]))
)
failing = st.sets(st.sampled_from(sorted(TOYS)))


@given(worlds, chosen, failing, st.data())
def test_when_one_refuses_the_others_are_as_before(
    make: Callable[[list[str], list[str]], World],
    labels: list[str],
    cannot_undo: set[str],
    data: st.DataObject,
) -> None:
    known = data.draw(st.lists(st.sampled_from(labels), unique=True, max_size=2), label="known")
    world = make(labels, known)
    mood, asked = world.mood, world.asked
    if not asked:
        return
    at = data.draw(st.integers(0, len(asked) - 1), label="who refuses")
    fails = data.draw(st.booleans(), label="by a mistake")
    (mood.fails if fails else mood.refuses).add((world.callback, asked[at]))
    undo = UNDO.get(world.callback, "")
    mood.fails |= {(undo, label) for label in cannot_undo}
    before = snapshot(world.forest)
    mood.calls.clear()
    with pytest.raises(GovernorError) as caught:
        world.act()
    assert caught.value.errno == (errno.EIO if fails else REFUSAL)
    assert snapshot(world.forest) == before
    others = [call for call in mood.calls if "@" in call.subsystem]
    assert [call.callback for call in others] in (
        [],
        ["can_fork", "can_fork", "cancel_fork", "cancel_fork"],
    )
    first, again = asked[: at + 1], asked[:at][::-1]
    assert [call for call in mood.calls if call not in others] == (
        [Call(world.callback, label, world.path) for label in first if undo]
        + [Call(undo, label, world.path) for label in again if undo]
    )
    assert mood.failed == [(undo, label) for label in again if undo and label in cannot_undo]
    mood.refuses.clear()
    mood.fails.clear()
    world.act()  # and nothing of it is in the way


# -- who may not refuse -------------------------------------------------------------------


def unmount_it(forest: Forest, labels: list[str]) -> None:
    forest.umount("one")


def remove_it(forest: Forest, labels: list[str]) -> None:
    forest.rmdir("one", "/a")
    forest.umount("one")


def remount_it(forest: Forest, labels: list[str]) -> None:
    forest.remount("one", [*labels[1:], f"{labels[0]}@new"])


def cancel_it(forest: Forest, labels: list[str]) -> None:
    container = forest.lookup("one", "/a")
    forest.move(forest.group([]), container, PID)
    forest.cancel_move(container, [PID])


def shape(forest: Forest) -> list[object]:
    """The trees, without the identity of anything in them."""
    trees = (forest.unbound, *forest.hierarchies.values())
    return [
        (
            tree.name,
            tree.labels,
            [(c.path, list(c.states), list(c.groups)) for c in tree.containers()],
        )
        for tree in trees
    ]


@given(
    st.sampled_from([unmount_it, remove_it, remount_it, cancel_it]),
    chosen,
    failing.filter(bool),
    st.sampled_from(["bind", "destroy", "cancel_attach"]),
)
def test_the_failure_of_some_keeps_nobody_from_theirs(
    change: Callable[[Forest, list[str]], None],
    labels: list[str],
    bad: set[str],
    callback: str,
) -> None:
    calls, shapes = [], []
    for fails in (False, True):
        mood, forest = begin([])
        if fails:
            mood.fails |= {(callback, label) for label in bad}
        forest.mount("one", labels)
        if change in (remove_it, cancel_it):
            forest.mkdir("one", "/a")
        change(forest, labels)
        calls.append(list(mood.calls))
        shapes.append(shape(forest))
    assert calls[0] == calls[1]
    assert shapes[0] == shapes[1]
    told = [(call.callback, call.subsystem) for call in calls[1]]
    assert mood.failed == [call for call in told if call in mood.fails]
