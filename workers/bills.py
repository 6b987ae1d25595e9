"""What trapped calls are charged: the plan of a group, and each demand worked out once."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from governor.core.counter import Counter, Entry, flow

Demand = tuple[tuple[str, int], ...]
"""What a call asks for: resources and amounts, such as ``(("files", 2),)`` for a pipe."""

_MANY_BILLS = 1024


class Verdict(enum.Enum):
    """What to do with a trapped call."""

    ADMIT = enum.auto()
    REFUSE = enum.auto()
    WAIT = enum.auto()
    """Only reservations that may be void stand in the way: look again in a moment."""


class Note(NamedTuple):
    """What a reservation is for."""

    groups: tuple[int, ...]
    """Where what the call makes may turn up: more than one when its process is moved meanwhile."""
    demand: Demand
    vague: bool = False
    """Nobody knows which of the calls that make any of it is under way."""


class Bill:
    """A demand of one group, worked out: which counters to charge, how much.

    ``credit`` is how often the demand has been charged in advance. It makes the cost of a
    call independent of how many limits apply to it, and is void after a recount. A rate or
    a borrower is charged call by call: ``singly``. ``nr``: the one system call that it is for.
    """

    __slots__ = ("credit", "entries", "note", "nr", "paid", "singly")

    def __init__(self, entries: list[Entry], note: Note, nr: int | None = None) -> None:
        self.entries = entries
        self.note = note
        self.nr = nr
        self.credit = self.paid = 0
        self.singly = any(c.interval or c.lender is not None for c, _ in entries)

    def prepay(self, times: int) -> None:
        """It has been charged so many times in advance."""
        self.credit = times
        self.paid += times

    def void(self) -> None:
        """What is left of the credit cannot be used any more."""
        self.paid -= self.credit
        self.credit = 0

    def take_admitted(self) -> int:
        """Calls that were admitted since this was last asked, counted without touching any."""
        admitted = self.paid - self.credit
        self.paid = self.credit
        return admitted

    def due(self) -> list[Entry]:
        """What is to be charged now, what is borrowed included."""
        return list(flow(self.entries)) if self.singly else self.entries


class Terms:
    """The plan of one group, with the counters themselves and bills worked out once."""

    def __init__(
        self, group: int, charges: Mapping[str, list[Counter]], cpus: frozenset[int] | None
    ) -> None:
        self.group = group
        self.cpus = cpus
        self._charges = charges
        self.limited = charges.keys()
        """Resources that a counter of this group limits."""
        self.charged = {counter for counters in charges.values() for counter in counters}
        """All counters that its processes are charged in."""
        self.bills: dict[tuple[Demand, int | None], Bill] = {}

    def gained(self, other: Terms | None) -> dict[str, list[Counter]]:
        """By resource, the counters that whoever comes from ``other`` begins to be charged in.

        Rates are not among them: nothing is made by a move.
        """
        known = other.charged if other is not None else set()
        gained = {
            resource: [c for c in counters if c not in known and not c.interval]
            for resource, counters in self._charges.items()
        }
        return {resource: counters for resource, counters in gained.items() if counters}

    def bill(self, demand: Demand, nr: int | None = None) -> Bill:
        """The bill for ``demand``, worked out at its first use.

        ``nr``: one of its own for this system call, which then tells how often that was admitted.
        """
        bill = self.bills.get((demand, nr))
        if bill is None:
            if len(self.bills) >= _MANY_BILLS:  # amounts of memory come in any number
                self.bills.clear()
            entries = [
                (counter, amount)
                for resource, amount in demand
                for counter in self._charges.get(resource, ())
            ]
            bill = self.bills[demand, nr] = Bill(entries, Note((self.group,), demand), nr)
        return bill
