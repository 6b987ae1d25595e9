"""Following the events of a governor."""

from __future__ import annotations

from governor.client import DEADLINE, Client
from governor.results import Event
from governor.wire import client as wire

POLL = 10.0
"""Seconds after which the question is asked anew, so that a governor that hangs is noticed."""


def follow(client: Client, after: int) -> tuple[int, list[Event]]:
    """Events later than ``after``, and the number to go on from; an empty list after `POLL`."""
    last, lost, rows = client.ask(lambda n: wire.Follow(n, after, POLL), POLL + DEADLINE)
    events = [Event(*row) for row in rows]
    if lost:
        number, time = (events[0].number - 1, events[0].time) if events else (last, 0.0)
        events.insert(0, Event(number, time, "lost", "", "", {"times": lost}))
    return last, events
