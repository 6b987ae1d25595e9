"""Following the events of a governor."""

from __future__ import annotations

from typing import Any

from governor.client import DEADLINE, Client
from governor.results import Event
from governor.wire import client as wire

POLL = 10.0
"""Seconds after which the question is asked anew, so that a governor that hangs is noticed."""


def follow(client: Client, after: int) -> tuple[int, list[Event]]:
    """Events later than ``after``, and the number to go on from; an empty list after `POLL`."""
    return _read(client.ask(lambda n: wire.Follow(n, after, POLL), POLL + DEADLINE))


def keep(client: Client, keeper: str, after: int) -> tuple[int, list[Event]]:
    """The same for one who keeps them all, and has those until ``after``."""
    return _read(client.ask(lambda n: wire.Log(n, keeper, after, POLL), POLL + DEADLINE))


def enter(client: Client, keeper: str) -> None:
    """This one keeps all events from now on, and has none yet."""
    client.ask(lambda n: wire.Log(n, keeper, 0, 0.0))


def leave(client: Client, keeper: str) -> None:
    """This one keeps no events any more."""
    client.ask(lambda n: wire.Log(n, keeper, -1, 0.0))


def _read(answer: Any) -> tuple[int, list[Event]]:
    last, lost, rows = answer
    events = [Event(*row) for row in rows]
    if lost:
        number, time = (events[0].number - 1, events[0].time) if events else (last, 0.0)
        events.insert(0, Event(number, time, "lost", "", "", {"times": lost}))
    return last, events


def as_json(event: Event) -> str:
    """An event as a line of JSON."""
    import json

    return json.dumps(event._asdict(), ensure_ascii=False)
