"""Counting: what the counters of an agent hold, as the kernel has it.

A count of everything looks where somebody is or was, or where something was charged: of ten
thousand containers most are empty. Calls that were let through and may not have happened yet are
reservations, added to what was counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from governor.core.counter import Counter, with_pools
from workers.bills import Bill
from workers.census import Census
from workers.reservations import Reservations
from workers.survey import Survey
from workers.tally import Tally

_SLOW_SHARE = 20
"""Counting again what takes long takes at most one part in so many of the agent's time."""
_LOOKS = 4
"""How often at most a count that was disturbed is repeated."""


class Counting:
    """Counters, who counts in them, and what was charged since they were counted."""

    def __init__(self, census: Census, clock: Callable[[], float] = time.monotonic) -> None:
        self.census = census
        self._clock = clock
        self.complete = True
        """Whether everything that counts is known: nothing is recounted before."""
        self.counters: dict[int, Counter] = {}
        self._survey = Survey(census)
        self.reservations = Reservations(census)
        # Counter to the bills paid in advance since its last recount.
        self._prepaid: dict[int, list[Bill]] = {}
        # Counter to the processes that were in it at its last count, where each holds one at least.
        self._found: dict[int, list[int]] = {}
        # Counter to the time when it may be counted again for a call that lacks room.
        self._lasting: dict[int, float] = {}
        # Counters that a count of everything may change though nobody is there: something was
        # held or charged.
        self._stirred: set[int] = set()
        # Those that may know of calls which no counter has been told of.
        self._unbooked: set[Bill] = set()
        self.tally = Tally()

    # -- from the kernel -----------------------------------------------------------

    def recount(self, counters: Iterable[Counter] | None = None) -> None:
        """Count these counters (all without an argument) from the kernel."""
        if not self.complete:
            return
        named = self._take_stirred() if counters is None else list(counters)
        for counter in named:
            if counter.interval:
                counter.tick(self._clock())
                self._keep_stirred(counter)
        wanted = [counter for counter in named if not counter.interval]
        if not wanted and (counters is not None or self._has_rates_only()):
            return
        self.reservations.settle()
        members = self._survey.members()
        if counters is None:
            wanted += self._inhabited(members, besides=wanted)
        if wanted:
            self._count(with_pools(wanted), members)
        if counters is not None:
            self._witness_above(wanted)

    def _has_rates_only(self) -> bool:
        return all(counter.interval for counter in self.counters.values())

    def _take_stirred(self) -> list[Counter]:
        """Those that are stirred; from now on only those are that the count says it of."""
        self.book()
        stirred, self._stirred = self._stirred, set()
        return [self.counters[id] for id in sorted(stirred) if id in self.counters]

    def _keep_stirred(self, counter: Counter) -> None:
        if counter.held or counter.charged or counter.minheld > 0:
            self._stirred.add(counter.id)

    def _inhabited(
        self, members: Mapping[int, list[int]], besides: Iterable[Counter]
    ) -> list[Counter]:
        """Further counters that somebody counts in, or may in a moment."""
        notes = self.reservations.pending.values()
        groups = {*members, *(group for note in notes for group in note.groups)}
        ids = {id for group in groups for id in self._survey.counters(group)}
        ids.difference_update(counter.id for counter in besides)
        return [self.counters[id] for id in sorted(ids) if id in self.counters]

    def _count(self, wanted: Collection[Counter], members: Mapping[int, list[int]]) -> None:
        """Count these, which are in the order of `with_pools`."""
        began = self._clock()
        counts: dict[Counter, tuple[int, int]] = {}
        for _ in range(_LOOKS):
            before, counts = counts, self._survey.look(wanted, members)
            newcomers = self._survey.newcomers(wanted, members)
            # What changes while it is counted may be seen twice; more than was let in cannot be.
            credible = all(self._is_credible(c, counts[c][0]) for c in wanted if c.limited)
            if newcomers is None and (credible or counts == before):
                break
            members = newcomers or members
        # Who still sleeps after the count was not counted with what it made: it is not there yet.
        firm = {r: self.reservations.firm(r) for r in {c.resource for c in wanted}}
        for counter, (count, leaving) in counts.items():
            asleep = firm[counter.resource]
            held = count + self._reserved(counter, asleep)
            reserved = leaving + self._reserved(counter, self.reservations.pending.keys() - asleep)
            counter.recount(held, reserved)
            self._keep_stirred(counter)
            self._void_credit(counter)
            if counter.limited and self.census.one_each(counter.resource):
                self._found[counter.id] = self._survey.pids(counter, members)
            if self.census.slow(counter.resource):
                now = self._clock()
                self._lasting[counter.id] = now + _SLOW_SHARE * (now - began)
        self.tally.recounts += 1
        self.tally.recounting += int((self._clock() - began) * 1e9)

    def _is_credible(self, counter: Counter, count: int) -> bool:
        """Whether there may be so much: nothing comes while no call is let through.

        Then what exceeds the limit was there when that was lowered.
        """
        if count <= min(counter.charged, counter.limit):
            return True
        return not (self.reservations.pending or self.census.movable(counter.resource))

    def is_full(self, counter: Counter, amount: int) -> bool:
        """Whether there is no room for so much more, for certain and without a count.

        It was full when it was last counted, and enough of those who were there then still are.
        """
        if counter.pooled or counter.ceiling < counter.limit:
            return False
        if counter.held + amount <= counter.ceiling:
            return False
        enough = counter.ceiling - amount + 1
        if enough <= 0:
            return True
        groups = self._survey.groups(counter.id)
        found = self._found.get(counter.id, ())
        return self.census.holds(counter.resource, found, groups, enough)

    def witness(self, pid: int, group: int) -> None:
        """A process has come to this group, and may have left it by the next recount."""
        held: dict[str, int] = {}
        for counter in map(self.counters.get, self._survey.counters(group)):
            if counter is None or counter.interval or self.census.slow(counter.resource):
                continue
            if counter.resource not in held:
                held[counter.resource] = self.census.count(counter.resource, [pid])
            counter.witness(held[counter.resource])

    def _witness_above(self, counted: Iterable[Counter]) -> None:
        """What one of these holds is held wherever all its groups count: so much was seen there.

        Else the peak of a container could be below that of one in it, which was counted alone.
        """
        for counter in counted:
            groups = self._survey.groups(counter.id)
            if counter.borrowers or not groups:
                continue
            for above in map(self.counters.get, self._survey.counters(next(iter(groups)))):
                if (
                    above is not None
                    and above.resource == counter.resource
                    and above.maxheld < counter.held
                    and not above.interval
                    and groups <= self._survey.groups(above.id)
                ):
                    above.witness(counter.held)

    def recount_groups(self, *groups: int) -> None:
        """Count the counters that any of these groups counts in."""
        ids = {id for group in groups for id in self._survey.counters(group)}
        self.recount(self.counters[id] for id in sorted(ids))

    def _reserved(self, counter: Counter, tids: Iterable[int]) -> int:
        """What these threads have reserved in ``counter``."""
        return self.reservations.amount(counter, self._survey.groups(counter.id), tids)

    # -- what was charged meanwhile ------------------------------------------------

    def book(self) -> None:
        """Bring ``admitted`` of all counters up to date.

        Bills know how much of what was paid in advance has been used, so that the calls
        need not be counted one by one.
        """
        for bill in self._unbooked:
            self.stir(counter for counter, _ in bill.entries)
            if calls := bill.take_admitted():
                if bill.nr is not None:
                    self.tally.calls[bill.nr] += calls
                resources = {resource for resource, _ in bill.note.demand}
                for counter in map(self.counters.get, self._survey.counters(bill.note.groups[0])):
                    if counter is not None and counter.resource in resources:
                        counter.admitted += calls
                        self._stirred.add(counter.id)  # so that it is told, whoever is left
        self._unbooked = {bill for bill in self._unbooked if bill.credit}

    def stir(self, counters: Iterable[Counter]) -> None:
        """Something was charged here."""
        self._stirred.update(counter.id for counter in counters)

    def _void_credit(self, counter: Counter) -> None:
        """What was paid in advance is not in a recount, so it cannot be used any more."""
        for bill in self._prepaid.pop(counter.id, ()):
            bill.void()
