"""What processes bring along when they pass from one group to another."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable, Mapping, Sequence

from governor.core.counter import Counter, Entry, charge, flow, without_room
from workers.accounts import Accounts
from workers.bills import Verdict
from workers.resources import NONE_KNOWN

Way = tuple[int | None, int]
"""The group that a process leaves (None: it comes from outside), and the one it comes to."""
Moved = tuple[int, int | None, int]
"""A process and its way."""


class Passages:
    """Judges and charges moves in the books of an agent."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def charge(self, moves: Iterable[Moved], known: Mapping[int, int] = NONE_KNOWN) -> None:
        """These processes are in other groups now; how many threads they have may be ``known``.

        Calls they have under way may land in either. All that is, or may be, their own is charged
        to what they had not been in, by a quick figure where there is one: that, like what they
        leave, may be too much until the next recount.
        """
        for way, pids in _by_way(moves).items():
            threads = self._threads(pids)
            entries = self._gains(way, pids, threads, True, known)
            self._accounts.reservations.extend(threads, way[1])
            due = list(flow(entries))
            charge(due)
            self._accounts.stir(counter for counter, _ in due)

    def judge(self, moves: Iterable[Moved]) -> tuple[Verdict, Counter | None]:
        """Whether there is room for all that would be charged for these moves together.

        As by `Accounts.judge`, for somebody who does not pass barriers. Nothing is charged.
        """
        ways = _by_way(moves)
        if not without_room(self._due(ways, quick=True)):
            return Verdict.ADMIT, None
        over = without_room(self._due(ways))
        if over:
            self._accounts.recount([counter for counter, _ in over])
            over = without_room(self._due(ways))
        if not over:
            return Verdict.ADMIT, None
        for counter, amount in self._due(ways, "held"):
            if counter.held + amount > counter.ceiling:
                return Verdict.REFUSE, counter
        return Verdict.WAIT, over[0][0]

    def _due(
        self, ways: Mapping[Way, Sequence[int]], figure: str = "charged", quick: bool = False
    ) -> list[Entry]:
        """What all who go these ways bring to each counter; ``figure`` as for `flow`.

        ``quick``: it may be too much.
        """
        direct: Counts[Counter] = Counts()
        for way, pids in ways.items():
            threads = self._threads(pids) if figure == "charged" else ()
            for counter, amount in self._gains(way, pids, threads, quick):
                direct[counter] += amount
        due: Counts[Counter] = Counts()
        for counter, amount in flow(direct.items(), figure):
            due[counter] += amount
        return list(due.items())

    def _threads(self, pids: Iterable[int]) -> list[int]:
        """Their threads, of which those with a reservation matter; none when nobody has any."""
        if not self._accounts.reservations.pending:
            return []
        return [tid for pid in pids for tid in self._accounts.census.threads(pid)]

    def _gains(
        self,
        way: Way,
        pids: Sequence[int],
        threads: Iterable[int],
        quick: bool,
        known: Mapping[int, int] = NONE_KNOWN,
    ) -> list[Entry]:
        """What processes with these ``threads`` bring to counters they had not been in."""
        source, group = way
        old = self._accounts.terms.get(source) if source is not None else None
        gained = self._accounts.terms[group].gained(old)
        under_way = self._accounts.reservations.under_way(threads) if gained else Counts()
        census, entries = self._accounts.census, []
        for resource, counters in gained.items():
            # A count of files tells all their descriptors apart, which takes six times as long.
            held = census.at_most(resource, pids, known) if quick else None
            if held is None:
                held = census.count(resource, pids) + census.leaving(resource)
            entries += [(counter, held + under_way[resource]) for counter in counters]
        return entries


def _by_way(moves: Iterable[Moved]) -> dict[Way, list[int]]:
    """The processes of each way, in their order."""
    ways: dict[Way, list[int]] = {}
    for pid, source, group in moves:
        ways.setdefault((source, group), []).append(pid)
    return ways
