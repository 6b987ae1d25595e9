"""The row of events: what comes after a number is told whole, or how much of it is lost."""

from __future__ import annotations

import pytest

from governor.supervisor.events import Answer, Events


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
