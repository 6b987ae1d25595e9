"""Calls that were let through and may not have happened yet, and so are in no count."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable, Set

from governor.core.counter import Counter
from workers.bills import Note
from workers.census import Census
from workers.tasks import Reservation, reserve

_MANY_PENDING = 4096


class Reservations:
    """What each thread may be about to hold: a thread is in one call at a time."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self.pending: dict[int, Note] = {}
        self.doubtful: dict[int, Reservation] = {}
        """Those that have been looked at; whoever replaces one that is pending drops it here."""

    def drop(self, tid: int) -> None:
        """A thread traps again, so what it reserved before is over."""
        self.pending.pop(tid, None)
        self.doubtful.pop(tid, None)

    def extend(self, tids: Iterable[int], group: int) -> None:
        """The calls of these threads may land in this group, too."""
        for tid in tids:
            note = self.pending.get(tid)
            if note is not None:
                self.pending[tid] = note._replace(groups=(*note.groups, group))

    def under_way(self, tids: Iterable[int]) -> Counts[str]:
        """What the calls of these threads ask for, together."""
        found: Counts[str] = Counts()
        for tid in tids:
            note = self.pending.get(tid)
            if note is not None:
                found.update(dict(note.demand))
        return found

    def amount(self, counter: Counter, groups: Set[int], tids: Iterable[int]) -> int:
        """What these threads have reserved in a counter, in which these groups count."""
        return sum(
            amount
            for note in map(self.pending.__getitem__, tids)
            if not groups.isdisjoint(note.groups)
            for resource, amount in note.demand
            if resource == counter.resource
        )

    def firm(self, resource: str) -> set[int]:
        """Threads that sleep and hold what they reserved of it, unseen: an accept that waits."""
        return {
            tid
            for tid, note in self.pending.items()
            if any(name == resource for name, _ in note.demand)
            and self._census.firm(self.doubtful.setdefault(tid, reserve(tid)), resource)
        }

    def settle(self) -> None:
        """Drop the reservations of calls that are over: each is a call of all it demands."""
        for tid, note in list(self.pending.items()):
            reservation = self.doubtful.setdefault(tid, reserve(tid))
            calls = note.demand if note.vague else note.demand[:1]
            if all(self._census.settled(reservation, resource) for resource, _ in calls):
                del self.pending[tid]
                del self.doubtful[tid]

    def forking(self) -> dict[int, Reservation]:
        """Threads that may be in a fork right now. The same object later: the same fork."""
        self.settle()
        return {
            tid: self.doubtful[tid]
            for tid, note in self.pending.items()
            if note.demand[0][0] == "tasks"
        }

    def is_forking(self, groups: Set[int]) -> bool:
        """Whether a fork may be under way that was let through in one of these groups."""
        self.settle()
        return any(
            note.demand[0][0] == "tasks" and not groups.isdisjoint(note.groups)
            for note in self.pending.values()
        )

    def prune(self) -> None:
        """Keep the reservations of threads that are long gone from piling up."""
        if len(self.pending) > _MANY_PENDING:
            self.settle()
