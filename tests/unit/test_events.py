"""The row of events: what comes after a number is told whole, or how much of it is lost."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

import governor
from governor.supervisor.events import KEEPER_SECONDS, KEEPERS_MAX, PATIENCE, Answer, Events


def told(events: Events, after: int) -> list[int]:
    """The numbers of the events that are answered with at once."""
    answers: list[Answer] = []
    events.follow(after, 10.0, answers.append)
    return [event.number for _, _, row in answers for event in row]


@pytest.mark.parametrize(
    ("after", "numbers"),
    [(0, [1, 2]), (1, [2]), (2, []), (-1, []), (3, [1, 2]), (2**63 - 1, [1, 2])],
)
def test_what_comes_after_a_number(after: int, numbers: list[int]) -> None:
    """One that is still to come was given by another supervisor, of which there is nothing."""
    events = Events()
    events.publish("first")
    events.publish("second")
    assert told(events, after) == numbers


def test_who_comes_from_another_supervisor_hears_of_the_first_event() -> None:
    events = Events()
    answers: list[Answer] = []
    events.follow(13, 10.0, answers.append)
    events.publish("first")
    events.tick()
    assert [event.number for _, _, row in answers for event in row] == [1]


def test_what_is_lost_is_told_whatever_is_asked_for() -> None:
    class Client:
        def ask(self, *_: object) -> list[object]:
            return [9, 5, [[6, 1.0, "mkdir", "a", "/b", {}], [7, 2.0, "move", "a", "/c", {}]]]

    gov = governor.Governor.__new__(governor.Governor)
    gov.client = cast("Any", Client())
    events = itertools.islice(gov.events(0, kinds=["move"]), 2)
    assert [(event.number, event.kind, event.fields) for event in events] == [
        (5, "lost", {"times": 5}),
        (7, "move", {}),
    ]


def kept(events: Events) -> bool:
    return events.are_kept


def test_the_end_waits_for_those_who_keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    events = Events()
    events.has("gone", 0)
    now += KEEPER_SECONDS
    events.has("slow", 0)
    events.publish("last")
    assert kept(events), "it is not the end yet"
    now += 0.1
    events.end()
    assert not kept(events)
    assert events.tick() == PATIENCE
    events.has("slow", 1)
    assert kept(events)
    events.publish("later")
    assert not kept(events)
    now += PATIENCE
    assert kept(events), "there was time enough"


def test_no_more_keepers_than_that_are_waited_for() -> None:
    events = Events()
    for number in range(KEEPERS_MAX):
        events.has(str(number), 1)
    events.has("one more", 0)
    events.publish("only")
    events.end()
    assert kept(events)


def test_who_has_left_is_not_waited_for_whatever_it_had_asked() -> None:
    events = Events()
    events.has("one", 0)
    events.has("one", -1)
    events.has("one", 0)  # it was asked before, by another thread
    events.publish("last")
    events.end()
    assert kept(events)
