"""The agent's books against a simulated kernel: exact limits, true refusals, honest figures."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.core.counter import FIGURES, Counter
from governor.units import UNLIMITED
from tests.unit.fake_census import (
    CLONE_WITH_PIDFD,
    COUNTS,
    FORK,
    GROUPS,
    OPEN,
    PIPE,
    RESOURCES,
    FakeCensus,
    Flight,
)
from workers.accounts import Accounts, Verdict
from workers.bills import Bill, Demand
from workers.passages import Passages

groups = st.sampled_from(sorted(COUNTS))
limits = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, UNLIMITED])
barriers = st.sampled_from([0, 1, 2, 3, 4, 5, UNLIMITED, UNLIMITED])
demands = st.sampled_from([FORK, PIPE, OPEN, CLONE_WITH_PIDFD])
calls = st.tuples(demands, st.booleans(), st.booleans())
"""What is asked for, whether it makes a thread, whether the caller is privileged."""
interludes: st.SearchStrategy[list[int]] = st.one_of(
    st.builds(list), st.lists(st.integers(0, 30), min_size=1, max_size=10)
)


class Waiting(NamedTuple):
    """A trapped call that has not been answered."""

    tid: int
    bill: Bill
    thread: bool
    privileged: bool


class AccountsMachine(RuleBasedStateMachine):
    """The agent's loop without its sockets: traps, plans and moves in any order."""

    @initialize(
        limits=st.fixed_dictionaries({id: limits for id in RESOURCES}),
        files=st.lists(st.tuples(groups, st.integers(0, 2)), min_size=1, max_size=4),
    )
    def begin(self, limits: dict[int, int], files: list[tuple[int, int]]) -> None:
        self.kernel = FakeCensus()
        self.most: dict[int, int] = {}
        self.accounts = Accounts(self.kernel)
        self.waiting: list[Waiting] = []
        self.failcnt = dict.fromkeys(RESOURCES, 0)
        self.seen = dict.fromkeys(RESOURCES, 0)
        self.least = dict.fromkeys(RESOURCES, 0)
        self.held = dict.fromkeys(RESOURCES, 0)
        self.below = dict.fromkeys(RESOURCES, 0)
        for id, resource in RESOURCES.items():
            self.accounts.set_counter(id, resource, limits[id])
        for group, count in files:
            self.kernel.start(group).descriptors = [*range(count), *range(count)]
        self.set_plans()
        self.accounts.recount()  # those with files were there before the plans

    # -- helpers -------------------------------------------------------------------

    def set_plans(self) -> None:
        for group, counts in COUNTS.items():
            charges = {
                resource: [id for id in ids if self.accounts.counters[id].limited]
                for resource, ids in counts.items()
            }
            self.accounts.set_plan(group, charges, counts, None)

    def live(self, id: int) -> int:
        return self.kernel.live(RESOURCES[id], GROUPS[id])

    def coming(self, id: int) -> int:
        return self.kernel.coming(RESOURCES[id], GROUPS[id])

    def blocked(self) -> set[int]:
        return {call.tid for call in self.waiting}

    def judge(
        self,
        bill: Bill,
        between: list[int],
        recounted: set[Counter] | None = None,
        privileged: bool = False,
    ) -> tuple[Verdict, Counter | None]:
        """Judge, with things happening meanwhile; check the verdict against the truth."""
        recounted = set() if recounted is None else recounted
        if not recounted:
            self.most = dict.fromkeys(RESOURCES, 0)

        def watch() -> None:
            self.most = {id: max(most, self.live(id)) for id, most in self.most.items()}

        watch()
        self.kernel.between, self.kernel.watch = list(between), watch
        asked = 0

        def ask() -> bool:
            nonlocal asked
            asked += 1
            return privileged

        verdict, counter = self.accounts.judge(bill, recounted, ask)
        self.kernel.between, self.kernel.watch = [], lambda: None
        if asked:
            assert any(c.barrier < c.limit for c, _ in bill.entries), "asked without a barrier"
        if verdict is Verdict.ADMIT:
            if counter is not None:
                assert privileged
                assert counter.ceiling < counter.charged <= counter.limit, "no barrier was crossed"
        elif counter is not None:
            amounts = {counter.id: amount for counter, amount in bill.entries}
            if verdict is Verdict.REFUSE:
                bound = counter.limit if privileged else counter.ceiling
                assert self.most[counter.id] + amounts[counter.id] > bound, "a stale refusal"
            else:
                assert any(
                    not GROUPS[counter.id].isdisjoint(note.groups)
                    and counter.resource in dict(note.demand)
                    for note in self.accounts.reservations.pending.values()
                ), "a wait for nothing"
        return verdict, counter

    def answer(self, call: Waiting, between: list[int]) -> None:
        """What a listener does with a trapped call."""
        bill = call.bill
        if bill.credit or self.accounts.prepay(bill):
            bill.credit -= 1
            self.accounts.reservations.doubtful.pop(call.tid, None)
            self.admit(call)
        else:
            self.accounts.reservations.drop(call.tid)
            self.consider(call, between, set())

    def consider(self, call: Waiting, between: list[int], recounted: set[Counter]) -> None:
        """What the agent does with a call that a listener could not admit."""
        verdict, counter = self.judge(call.bill, between, recounted, call.privileged)
        if verdict is Verdict.WAIT:
            self.waiting.append(call)
        elif verdict is Verdict.REFUSE:
            assert counter is not None
            counter.refuse()
            self.failcnt[counter.id] += 1
        elif call.tid in self.kernel.callers():
            self.admit(call)

    def admit(self, call: Waiting) -> None:
        self.accounts.reservations.pending[call.tid] = call.bill.note
        process = self.kernel.process_of(call.tid)
        self.kernel.flights[call.tid] = Flight(process, dict(call.bill.note.demand), call.thread)
        for counter, _ in call.bill.entries:
            total = self.live(counter.id) + self.coming(counter.id)
            bound = counter.limit if call.privileged else counter.ceiling
            assert total <= bound, f"{counter} is exceeded by {total - bound}"

    # -- the agent's work ----------------------------------------------------------

    @rule(group=groups, between=interludes)
    def place(self, group: int, between: list[int]) -> None:
        """A job's first process is charged like any other task."""
        verdict, counter = self.judge(self.accounts.terms[group].bill(FORK), between)
        if verdict is Verdict.ADMIT:
            self.kernel.start(group)
            self.accounts.recount_groups(group)
        else:
            assert counter is not None
            counter.refuse()
            self.failcnt[counter.id] += 1

    @rule(data=st.data(), calls=st.lists(calls, min_size=1, max_size=4))
    def trap(self, data: st.DataObject, calls: list[tuple[Demand, bool, bool]]) -> None:
        for demand, thread, privileged in calls:
            callers = sorted(set(self.kernel.callers()) - self.blocked())
            if callers:
                tid = data.draw(st.sampled_from(callers))
                self.kernel.doubted.discard(tid)
                bill = self.accounts.terms[self.kernel.process_of(tid).group].bill(demand)
                self.answer(Waiting(tid, bill, thread, privileged), data.draw(interludes))

    @precondition(lambda self: self.kernel.flights)
    @rule(data=st.data(), between=interludes)
    def trap_again(self, data: st.DataObject, between: list[int]) -> None:
        """A signal sends a call that was let through back to be trapped once more."""
        tid = data.draw(st.sampled_from(sorted(self.kernel.flights)))
        flight = self.kernel.flights[tid]
        self.kernel.land(tid, succeeds=False)
        bill = self.accounts.terms[flight.process.group].bill(tuple(flight.demand.items()))
        self.answer(Waiting(tid, bill, flight.thread, False), between)

    @precondition(lambda self: self.waiting)
    @rule(between=interludes)
    def look_again(self, between: list[int]) -> None:
        waiting, self.waiting = self.waiting, []
        recounted: set[Counter] = set()
        for call in waiting:
            call = call._replace(bill=self.accounts.renewed(call.bill))
            self.consider(call, between, recounted)

    @rule(id=st.sampled_from(sorted(RESOURCES)), limit=limits)
    def set_limit(self, id: int, limit: int) -> None:
        self.accounts.set_counter(id, RESOURCES[id], limit)
        self.set_plans()

    @rule(id=st.sampled_from(sorted(RESOURCES)), barrier=barriers)
    def set_barrier(self, id: int, barrier: int) -> None:
        self.accounts.set_barrier(id, barrier)
        self.set_plans()

    @rule(id=st.sampled_from(sorted(RESOURCES)), figure=st.sampled_from(FIGURES))
    def reset(self, id: int, figure: str) -> None:
        counter = self.accounts.counters[id]
        self.accounts.reset(id, figure)
        if figure == "failcnt":
            self.failcnt[id] = 0
        else:
            assert getattr(counter, figure) == counter.held
            self.seen[id] = counter.maxheld
            self.least[id] = counter.minheld
            if figure == "maxheld":
                self.below[id] = 0

    @rule(id=st.sampled_from(sorted(RESOURCES)), limit=st.integers(0, 6))
    def set_another_limit(self, id: int, limit: int) -> None:
        """Plans stay as they are when a limited counter gets another limit."""
        if self.accounts.counters[id].limited:
            self.accounts.set_counter(id, RESOURCES[id], limit)

    @precondition(lambda self: self.kernel.flights)
    @rule(data=st.data())
    def fall_asleep(self, data: st.DataObject) -> None:
        """A call that makes a file has it, and waits for something."""
        tid = data.draw(st.sampled_from(sorted(self.kernel.flights)))
        if "tasks" not in self.kernel.flights[tid].demand:
            self.kernel.asleep.add(tid)

    @precondition(lambda self: self.kernel.processes)
    @rule(data=st.data(), group=groups)
    def move(self, data: st.DataObject, group: int) -> None:
        """A process moves with its charge, its threads and what they have under way."""
        process = self.kernel.processes[data.draw(st.sampled_from(sorted(self.kernel.processes)))]
        source, process.group = process.group, group
        known = {process.pid: process.tasks} if data.draw(st.booleans()) else {}
        Passages(self.accounts).charge([(process.pid, source, group)], known)
        self.waiting = [
            call._replace(bill=self.accounts.terms[group].bill(call.bill.note.demand))
            if call.tid in process.threads
            else call
            for call in self.waiting
        ]

    @rule(between=interludes)
    def recount(self, between: list[int]) -> None:
        self.kernel.between = list(between)
        self.accounts.recount()
        self.kernel.between = []

    # -- what happens without the agent --------------------------------------------

    @precondition(lambda self: self.kernel.flights)
    @rule(data=st.data(), succeeds=st.booleans(), evident=st.booleans())
    def land(self, data: st.DataObject, succeeds: bool, evident: bool) -> None:
        tid = data.draw(st.sampled_from(sorted(self.kernel.flights)))
        self.kernel.land(tid, succeeds)
        if not evident:
            self.kernel.doubted.add(tid)

    @rule()
    def everything_becomes_evident(self) -> None:
        self.kernel.doubted.clear()

    @precondition(lambda self: self.kernel.processes)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(self.kernel.processes)))
        process = self.kernel.processes[pid]
        if process.threads:
            self.kernel.exit(process)
        else:
            self.kernel.reap(process)

    @precondition(lambda self: self.kernel.callers())
    @rule(data=st.data())
    def close_or_dup(self, data: st.DataObject) -> None:
        process = self.kernel.process_of(data.draw(st.sampled_from(sorted(self.kernel.callers()))))
        if process.descriptors:
            descriptor = process.descriptors.pop()
            process.descriptors.extend([descriptor] * data.draw(st.sampled_from([0, 2])))

    # -- what always holds ---------------------------------------------------------

    @invariant()
    def threads_that_are_gone_wait_no_more(self) -> None:
        alive = set(self.kernel.callers())
        self.waiting = [call for call in self.waiting if call.tid in alive]

    @invariant()
    def what_is_charged_is_never_less_than_the_truth(self) -> None:
        for id, counter in self.accounts.counters.items():
            if counter.limited:
                assert counter.charged >= self.live(id) + self.coming(id)

    @invariant()
    def what_a_count_of_everything_leaves_out_holds_nothing(self) -> None:
        accounts = self.accounts
        known = accounts._stirred | {c.id for bill in accounts._unbooked for c, _ in bill.entries}
        for id, counter in accounts.counters.items():
            assert id in known or (counter.held, counter.charged) == (0, 0)

    @invariant()
    def figures_are_honest(self) -> None:
        for id, counter in self.accounts.counters.items():
            assert counter.failcnt == self.failcnt[id]
            assert counter.maxheld >= max(self.seen[id], counter.held)
            assert counter.minheld <= min(self.least[id], counter.held)
            self.seen[id] = counter.maxheld
            self.least[id] = counter.minheld

    @invariant()
    def what_was_held_in_one_was_held_above_it(self) -> None:
        for id, counter in self.accounts.counters.items():
            if counter.held != self.held[id]:  # it was counted, perhaps alone
                self.held[id] = counter.held
                for other, resource in RESOURCES.items():
                    if resource == counter.resource and GROUPS[id] <= GROUPS[other]:
                        self.below[other] = max(self.below[other], counter.held)
        for id, counter in self.accounts.counters.items():
            assert counter.maxheld >= self.below[id]

    def teardown(self) -> None:
        """Once all is quiet a recount is the truth, and nothing has to wait."""
        if not hasattr(self, "kernel"):
            return
        for tid in list(self.kernel.flights):
            self.kernel.land(tid)
        self.kernel.doubted.clear()
        self.accounts.recount()
        for id, counter in self.accounts.counters.items():
            assert counter.held == counter.charged == self.live(id)
        assert not self.accounts.reservations.pending
        assert not self.accounts.reservations.doubtful
        for group in COUNTS:
            verdict, _ = self.judge(self.accounts.terms[group].bill(CLONE_WITH_PIDFD), [])
            assert verdict is not Verdict.WAIT


TestAccounts = AccountsMachine.TestCase
# Steps are cheap and what may go wrong takes several of them in one order.
TestAccounts.settings = settings(max_examples=200)
