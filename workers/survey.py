"""Who counts in which counter, and what they hold, as the kernel has it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set

from governor.core.counter import Counter
from workers.census import Census


class Survey:
    """Counts for counters what the members of their groups hold. Nothing is charged here."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self._counts: dict[int, list[int]] = {}
        self._groups: dict[int, set[int]] = {}

    # -- who counts where ----------------------------------------------------------

    def counters(self, group: int) -> Collection[int]:
        """The counters that a group counts in."""
        return self._counts.get(group, ())

    def groups(self, counter: int) -> Set[int]:
        """The groups that count in a counter."""
        return self._groups.get(counter, set())

    def drop(self, counter: int) -> None:
        """Nobody counts in this one any more."""
        self._groups.pop(counter, None)

    def index(self, group: int, counters: list[int]) -> None:
        """Remember which counters a group counts in, and the other way round."""
        for id in self._counts.pop(group, ()):
            self._groups.get(id, set()).discard(group)
        if counters:
            self._counts[group] = counters
        for id in counters:
            self._groups.setdefault(id, set()).add(group)

    # -- what they hold ------------------------------------------------------------

    def members(self) -> dict[int, list[int]]:
        """Group to pids. To be called after `Reservations.settle`: what settled must be seen."""
        groups: dict[int, list[int]] = {}
        for pid, tag in self._census.members().items():
            groups.setdefault(tag.group, []).append(pid)
        return groups

    def pids(self, counter: Counter, members: Mapping[int, list[int]]) -> list[int]:
        """The processes that count in ``counter``."""
        return [pid for group in self.groups(counter.id) for pid in members.get(group, ())]

    def look(
        self, wanted: Iterable[Counter], members: Mapping[int, list[int]]
    ) -> dict[Counter, tuple[int, int]]:
        """Count once: what is held, and what of processes about to end may be so besides.

        Containers of one path often have the same members: count those once.
        """
        known: dict[tuple[str, frozenset[int]], tuple[int, int]] = {}
        counts = {}
        for counter in wanted:
            resource, pids = key = counter.resource, frozenset(self.pids(counter, members))
            if key not in known:
                count = self._census.count(resource, sorted(pids)) if pids else 0
                known[key] = count, self._census.leaving(resource) if pids else 0
            counts[counter] = known[key]
        return counts

    def newcomers(
        self, counters: Iterable[Counter], members: Mapping[int, list[int]]
    ) -> dict[int, list[int]] | None:
        """The members now if processes came that may have what one gone since had; else None.

        Tasks need no such care: a fork under way has its own reservation.
        """
        movable = [counter for counter in counters if self._census.movable(counter.resource)]
        if not movable:
            return None
        now = self.members()
        if all(set(self.pids(c, now)) <= set(self.pids(c, members)) for c in movable):
            return None
        return now
