"""Counted resources: what a container holds, may hold, and was refused.

Figures follow the seeds' beancounters: ``held``, ``maxheld``, ``limit``, ``failcnt``.
"""

from __future__ import annotations

from collections.abc import Iterable

from governor.units import UNLIMITED


class Counter:
    """One counted resource of one container, sub-containers included.

    Ends are not seen, so there are two figures: ``charged`` grows with every charge and is
    never less than the truth; ``held`` is what the last recount found. ``maxheld`` is the
    highest recount, ``failcnt`` how many charges were refused at this container's limit.
    """

    __slots__ = ("charged", "failcnt", "held", "id", "limit", "maxheld", "resource")

    def __init__(self, id: int, resource: str, limit: int = UNLIMITED) -> None:
        self.id = id
        self.resource = resource
        self.limit = limit
        self.charged = 0
        self.held = 0
        self.maxheld = 0
        self.failcnt = 0

    def __repr__(self) -> str:
        return f"Counter({self.id}, {self.resource!r}, charged={self.charged}, limit={self.limit})"

    @property
    def limited(self) -> bool:
        """Whether the counter can refuse anything at all."""
        return self.limit != UNLIMITED

    def recount(self, held: int, reserved: int = 0) -> None:
        """Take over a recount; ``reserved`` are charges that may not be visible in it yet."""
        self.held = held
        self.charged = held + reserved
        self.maxheld = max(self.maxheld, held)

    def refuse(self) -> None:
        """Count a refusal: it belongs to the container whose limit was met."""
        self.failcnt += 1


Entry = tuple[Counter, int]
"""A counter and how much of it a call asks for."""


def without_room(entries: Iterable[Entry]) -> list[Entry]:
    """Those entries whose counter cannot take their amount more; empty when all can."""
    return [(c, amount) for c, amount in entries if c.charged + amount > c.limit]


def charge(entries: Iterable[Entry], times: int = 1) -> None:
    """Charge all entries so many times; whether they may was asked before."""
    for counter, amount in entries:
        counter.charged += times * amount
