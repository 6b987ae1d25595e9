"""The agent's books: charge on trap, recount on pressure, then and only then refuse.

Ends are not trapped, so what is charged only grows until it meets a limit. Then the group
is counted from the kernel. Calls that were let through and may not have happened yet are
reservations, added to what was counted; the next trap of the same thread replaces its
reservation, since a thread is in one call at a time.
"""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Callable, Collection, Iterable, Mapping

from governor.core.counter import Counter, Entry, at_barrier, charge, flow, with_pools, without_room
from workers.bills import Bill, Terms
from workers.bills import Verdict as Verdict
from workers.census import Census
from workers.counting import Counting

_MANY_UNBOOKED = 1024
_CREDIT_MAX = 256
_CREDIT_SHARE = 8

Call = tuple[int, int]
"""A trapped call: its job and its id."""
_NO_CALL: Call = (0, 0)


class Accounts(Counting):
    """Terms of groups, and what their calls are charged by them."""

    def __init__(
        self,
        census: Census,
        clock: Callable[[], float] = time.monotonic,
        make: Callable[[int, str, int], Counter] = Counter,
        note: Callable[[Call, list[tuple[int, int, int]]], None] | None = None,
    ) -> None:
        """``make(id, resource, limit)`` makes a counter.

        ``note(call, rates)`` is told before a call is charged to rates: counter, amount, sum.
        """
        super().__init__(census, clock)
        self._note = note or _note_nothing
        self._make = make
        self.terms: dict[int, Terms] = {}
        # How many groups are charged in each counter.
        self._charging: Counts[Counter] = Counts()

    # -- plans ---------------------------------------------------------------------

    def set_counter(self, id: int, resource: str, limit: int) -> None:
        """A counter exists or has a new limit, which holds from the next charge on."""
        counter = self.counters.get(id)
        if counter is None:
            self.counters[id] = self._make(id, resource, limit)
            # What an agent before this one has left there is over, even if nobody comes again.
            self._keep_stirred(self.counters[id])
        else:
            counter.limit = limit
            self._void_credit(counter)

    def set_barrier(self, id: int, barrier: int) -> None:
        """Ordinary callers are refused at ``barrier`` from the next charge on."""
        self.counters[id].barrier = barrier
        self._void_credit(self.counters[id])

    def set_interval(self, id: int, interval: float) -> None:
        """The counter is a rate: its limit holds for ``interval`` seconds."""
        self.counters[id].interval = interval
        self._forget_bills()

    def set_lender(self, id: int, lender: int, guarantee: int) -> None:
        """The counter borrows what it holds over ``guarantee`` from ``lender``; 0: from none."""
        counter = self.counters[id]
        counter.borrow(self.counters[lender] if lender else None, guarantee)
        self._forget_bills()
        self.recount([counter])

    def _forget_bills(self) -> None:
        """What has to be charged call by call may be other bills than before."""
        self.book()
        for terms in self.terms.values():
            terms.bills.clear()

    def reset(self, id: int, figure: str) -> None:
        """Start a figure again from what is held now, or ``failcnt`` from 0."""
        counter = self.counters[id]
        self.book()
        self.recount([counter])
        counter.reset(figure)

    def set_plan(
        self,
        group: int,
        charges: Mapping[str, list[int]],
        counts: Mapping[str, list[int]],
        cpus: frozenset[int] | None,
    ) -> None:
        """Take over a group's plan. Counters that were not charged so far start from a recount.

        Nobody is in a group before it has a plan, so that a new one adds nothing to them.
        """
        self.book()
        before = self.terms.get(group)
        live = {r: [self.counters[id] for id in ids] for r, ids in charges.items()}
        terms = self.terms[group] = Terms(group, live, cpus)
        counted = [id for ids in counts.values() for id in ids]
        self._survey.index(group, counted)
        # An agent before this one may have left figures in them.
        self._stirred.update(counted, (counter.id for counter in terms.charged))
        if before is None:
            self._charging.update(terms.charged)
            self.recount(c for c in terms.charged if self._is_charged_in_part(c))
        else:
            self._charging.subtract(before.charged)
            self._charging.update(terms.charged)
            self.recount(terms.charged - before.charged)

    def _is_charged_in_part(self, counter: Counter) -> bool:
        """Whether there are groups that count in it and have not heard yet that it is charged."""
        return self._charging[counter] < len(self._survey.groups(counter.id))

    def drop_plan(self, group: int) -> None:
        """Nobody is in this group any more."""
        self.book()
        if (terms := self.terms.pop(group, None)) is not None:
            self._charging.subtract(terms.charged)
        self._stirred.update(self._survey.counters(group))
        self._survey.index(group, [])

    def drop_counter(self, id: int) -> None:
        """The container of this counter is gone, and with it what was borrowed."""
        counter = self.counters.pop(id, None)
        self._stirred.discard(id)
        self._lasting.pop(id, None)
        self._found.pop(id, None)
        self._survey.drop(id)
        if counter is not None:
            del self._charging[counter]
            self._void_credit(counter)
            counter.borrow(None)
            for borrower in list(counter.borrowers):
                borrower.borrow(None)

    # -- charging ------------------------------------------------------------------

    def prepay(self, bill: Bill, call: Call = _NO_CALL) -> bool:
        """Charge a bill some times in advance, without a recount; False without room for one.

        ``call``: what it is charged for now.
        """
        if bill.singly:
            return self._pay_once(bill, call)
        times = _CREDIT_MAX
        for counter, amount in bill.entries:
            # A share of the room only, lest others should meet the limit before it is used up.
            room = (counter.ceiling - counter.charged) // amount
            times = min(times, room // _CREDIT_SHARE or room)
        if times <= 0:
            return False
        charge(bill.entries, times)
        for counter, _ in bill.entries:
            self._prepaid.setdefault(counter.id, []).append(bill)
        bill.prepay(times)
        self._unbooked.add(bill)
        return True

    def _pay_once(self, bill: Bill, call: Call) -> bool:
        """Charge a bill for one call; False without room. A credit would outlive its interval."""
        self._begin_intervals(bill)
        due = bill.due()
        if without_room(due):
            return False
        self._charge(due, call)
        bill.prepay(1)
        self._unbooked.add(bill)
        return True

    def _begin_intervals(self, bill: Bill) -> None:
        """Begin anew where the interval of a rate is over."""
        for counter, _ in bill.entries:
            if counter.interval:
                counter.begin(self._clock())

    def charge_unasked(self, bill: Bill) -> None:
        """Charge what the caller may have got without a call."""
        charge(bill.entries)
        self.stir(counter for counter, _ in bill.entries)

    def judge(
        self,
        bill: Bill,
        recounted: set[Counter],
        privileged: Callable[[], bool] = lambda: False,
        call: Call = _NO_CALL,
    ) -> tuple[Verdict, Counter | None]:
        """Charge a bill if there is room, after a recount if need be.

        ``recounted`` are counters that need no other recount in this round; it grows.
        ``privileged`` tells whether the caller may pass barriers, and is asked at one only;
        ``call`` is what is charged.
        A counter comes with a refusal, a wait, and where a privileged caller passes its barrier.
        """
        self._begin_intervals(bill)
        lacking = without_room(bill.due())
        rates = [(counter, amount) for counter, amount in lacking if counter.interval]
        if over := without_room(rates, at_barrier(rates) and privileged()):
            over[0][0].tick(self._clock())
            return Verdict.REFUSE, over[0][0]  # time alone makes room there
        short = [c for c, _ in lacking if not c.interval and c not in recounted]
        if short and self.is_full(short[0], dict(lacking)[short[0]]):
            return Verdict.REFUSE, short[0]
        if short:
            recounted.update(self._make_room(short, bill))
            lacking = without_room(bill.due())
        passes = at_barrier(lacking) and privileged()
        if over := without_room(lacking, passes):
            return self._denial(bill, over, passes)
        crossed = [counter for counter, _ in lacking if counter.charged <= counter.barrier]
        self._charge(bill.due(), call)
        bill.paid += 1
        self._unbooked.add(bill)
        if len(self._unbooked) > _MANY_UNBOOKED:  # amounts of memory come in any number
            self.book()
        return Verdict.ADMIT, crossed[0] if crossed else None

    def _charge(self, due: list[Entry], call: Call) -> None:
        """Charge what is due for a call.

        What has been made is in no recount, so that a rate's figures are right at once, or never.
        """
        rates = [(counter, amount) for counter, amount in due if counter.interval]
        if rates:
            self._note(call, [(c.id, amount, c.charged + amount) for c, amount in rates])
        charge(due)
        for counter, _ in rates:
            counter.recount(counter.charged)

    def take_back(self, rates: Iterable[tuple[int, int, int]]) -> None:
        """A call for which `note` was told this will be charged again, if it was at all."""
        for id, amount, charged in rates:
            counter = self.counters.get(id)
            if counter is not None and counter.charged == charged:
                counter.recount(charged - amount)

    def too_soon(self, bill: Bill, recounted: Collection[Counter]) -> bool:
        """Whether what a bill lacks room in takes long to count, and was counted just now."""
        if not self._lasting:
            return False
        short = (counter for counter, _ in without_room(bill.due()) if counter not in recounted)
        return any(self._clock() < self._lasting.get(counter.id, 0) for counter in short)

    def _denial(self, bill: Bill, over: list[Entry], passes: bool) -> tuple[Verdict, Counter]:
        """What becomes of a call that some counters lack room for.

        It waits if there would be room but for reservations that may turn out to be void.
        """
        bounds = {c: c.limit if passes else c.ceiling for c, _ in over}
        for counter, amount in flow(bill.entries, "held"):
            if counter in bounds and counter.held + amount > bounds[counter]:
                return Verdict.REFUSE, counter
        return Verdict.WAIT, over[0][0]

    def _make_room(self, short: list[Counter], bill: Bill) -> list[Counter]:
        """Recount exactly, and return, those for which a quick figure is not low enough."""
        self.reservations.settle()
        members = self._survey.members()
        amounts = dict(bill.due())
        # What is borrowed is only known when the whole pool is counted.
        exact = [counter for counter in short if counter.pooled]
        single = [counter for counter in short if not counter.pooled]
        figures = {
            c: self.census.at_most(c.resource, self._survey.pids(c, members)) for c in single
        }
        disturbed = self._survey.newcomers(single, members) is not None
        for counter, quick in figures.items():
            charged = self._reserved(counter, self.reservations.pending) + (quick or 0)
            if disturbed or quick is None or charged + amounts[counter] > counter.ceiling:
                exact.append(counter)
            else:
                counter.charged = charged
                self._void_credit(counter)
        exact = with_pools(exact)
        self._count(exact, members)
        self._witness_above(exact)
        return exact

    def renewed(self, bill: Bill) -> Bill:
        """The bill of a call that has waited, by the plan that its group has now."""
        terms = self.terms.get(bill.note.groups[0])
        return bill if terms is None else terms.bill(bill.note.demand)


def _note_nothing(call: Call, rates: list[tuple[int, int, int]]) -> None:
    """Nobody is there who would go on."""
