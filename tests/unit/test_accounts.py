"""The agent's books against a simulated kernel: exact limits, true refusals, honest figures."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.core.counter import Counter
from governor.units import UNLIMITED
from tests.unit.fake_census import FakeCensus, Flight
from workers.accounts import Accounts, Bill, Demand, Note, Verdict

FORK: Demand = (("tasks", 1),)
PIPE: Demand = (("files", 2),)
OPEN: Demand = (("files", 1),)
CLONE_WITH_PIDFD: Demand = (("tasks", 1), ("files", 1))

RESOURCES = {1: "tasks", 2: "tasks", 3: "tasks", 4: "tasks", 5: "tasks", 6: "files", 7: "files"}
"""Counters 1 (root), 2, 3 of a hierarchy, 4 (root), 5 of another; files 6 (root), 7."""

COUNTS = {
    1: {"tasks": [2, 1, 5, 4], "files": [7, 6]},
    2: {"tasks": [2, 1, 4], "files": [6]},
    3: {"tasks": [3, 1, 5, 4], "files": [7, 6]},
    4: {"tasks": [1, 4], "files": [6]},
}
"""What the processes of each group count in, the container before its ancestors."""

GROUPS = {id: {g for g, c in COUNTS.items() if id in c[r]} for id, r in RESOURCES.items()}

groups = st.sampled_from(sorted(COUNTS))
limits = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, UNLIMITED])
demands = st.sampled_from([FORK, PIPE, OPEN, CLONE_WITH_PIDFD])
interludes = st.one_of(st.just([]), st.lists(st.integers(0, 30), min_size=1, max_size=10))


class Waiting(NamedTuple):
    """A trapped call that has not been answered."""

    tid: int
    bill: Bill
    thread: bool


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
        for id, resource in RESOURCES.items():
            self.accounts.set_counter(id, resource, limits[id])
        for group, count in files:
            self.kernel.start(group).descriptors = [*range(count), *range(count)]
        self.set_plans()

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
        self, bill: Bill, between: list[int], recounted: set[Counter] | None = None
    ) -> tuple[Verdict, Counter | None]:
        """Judge, with things happening meanwhile; check the verdict against the truth."""
        recounted = set() if recounted is None else recounted
        if not recounted:
            self.most = dict.fromkeys(RESOURCES, 0)

        def watch() -> None:
            self.most = {id: max(most, self.live(id)) for id, most in self.most.items()}

        watch()
        self.kernel.between, self.kernel.watch = list(between), watch
        verdict, counter = self.accounts.judge(bill, recounted)
        self.kernel.between, self.kernel.watch = [], lambda: None
        if counter is not None:
            amounts = {counter.id: amount for counter, amount in bill.entries}
            if verdict is Verdict.REFUSE:
                assert self.most[counter.id] + amounts[counter.id] > counter.limit, "a stale refusal"
            else:
                assert any(
                    not GROUPS[counter.id].isdisjoint(note.groups) and counter.resource in dict(note.demand)
                    for note in self.accounts.pending.values()
                ), "a wait for nothing"
        else:
            assert verdict is Verdict.ADMIT
        return verdict, counter

    def answer(self, call: Waiting, between: list[int]) -> None:
        """What a listener does with a trapped call."""
        bill = call.bill
        if bill.credit or self.accounts.prepay(bill):
            bill.credit -= 1
            self.accounts.doubtful.pop(call.tid, None)
            self.admit(call)
        else:
            self.accounts.settle_thread(call.tid)
            self.consider(call, between, set())

    def consider(self, call: Waiting, between: list[int], recounted: set[Counter]) -> None:
        """What the agent does with a call that a listener could not admit."""
        verdict, counter = self.judge(call.bill, between, recounted)
        if verdict is Verdict.WAIT:
            self.waiting.append(call)
        elif verdict is Verdict.REFUSE:
            assert counter is not None
            counter.refuse()
            self.failcnt[counter.id] += 1
        elif call.tid in self.kernel.callers():
            self.admit(call)

    def admit(self, call: Waiting) -> None:
        self.accounts.pending[call.tid] = call.bill.note
        process = self.kernel.process_of(call.tid)
        self.kernel.flights[call.tid] = Flight(process, dict(call.bill.note.demand), call.thread)
        for counter, _ in call.bill.entries:
            total = self.live(counter.id) + self.coming(counter.id)
            assert total <= counter.limit, f"{counter} is exceeded by {total - counter.limit}"

    # -- the agent's work ----------------------------------------------------------

    @rule(group=groups, between=interludes)
    def place(self, group: int, between: list[int]) -> None:
        """A job's first process is charged like any other task."""
        verdict, counter = self.judge(self.accounts.terms[group].bill(FORK), between)
        if verdict is Verdict.ADMIT:
            self.kernel.start(group)
            self.accounts.recount_group(group)
        else:
            assert counter is not None
            counter.refuse()
            self.failcnt[counter.id] += 1

    @rule(data=st.data(), calls=st.lists(st.tuples(demands, st.booleans()), min_size=1, max_size=4))
    def trap(self, data: st.DataObject, calls: list[tuple[Demand, bool]]) -> None:
        for demand, thread in calls:
            callers = sorted(set(self.kernel.callers()) - self.blocked())
            if callers:
                tid = data.draw(st.sampled_from(callers))
                self.kernel.doubted.discard(tid)
                bill = self.accounts.terms[self.kernel.process_of(tid).group].bill(demand)
                self.answer(Waiting(tid, bill, thread), data.draw(interludes))

    @precondition(lambda self: self.kernel.flights)
    @rule(data=st.data(), between=interludes)
    def trap_again(self, data: st.DataObject, between: list[int]) -> None:
        """A signal sends a call that was let through back to be trapped once more."""
        tid = data.draw(st.sampled_from(sorted(self.kernel.flights)))
        flight = self.kernel.flights[tid]
        self.kernel.land(tid, succeeds=False)
        bill = self.accounts.terms[flight.process.group].bill(tuple(flight.demand.items()))
        self.answer(Waiting(tid, bill, flight.thread), between)

    @precondition(lambda self: self.waiting)
    @rule(between=interludes)
    def look_again(self, between: list[int]) -> None:
        waiting, self.waiting = self.waiting, []
        recounted: set[Counter] = set()
        for call in waiting:
            self.consider(call, between, recounted)

    @rule(id=st.sampled_from(sorted(RESOURCES)), limit=limits)
    def set_limit(self, id: int, limit: int) -> None:
        self.accounts.set_counter(id, RESOURCES[id], limit)
        self.set_plans()

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
        process.group = group
        self.accounts.moved(process.pid, group)
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
    def figures_are_honest(self) -> None:
        for id, counter in self.accounts.counters.items():
            assert counter.failcnt == self.failcnt[id]
            assert counter.maxheld >= max(self.seen[id], counter.held)
            self.seen[id] = counter.maxheld

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
        assert not self.accounts.pending
        assert not self.accounts.doubtful
        for group in COUNTS:
            verdict, _ = self.judge(self.accounts.terms[group].bill(CLONE_WITH_PIDFD), [])
            assert verdict is not Verdict.WAIT


TestAccounts = AccountsMachine.TestCase
# Steps are cheap and what may go wrong takes several of them in one order.
TestAccounts.settings = settings(max_examples=500)


# -- and what is worth saying one by one --------------------------------------------------


@pytest.fixture
def kernel() -> FakeCensus:
    return FakeCensus()


@pytest.fixture
def accounts(kernel: FakeCensus) -> Accounts:
    accounts = Accounts(kernel)
    for id, resource in RESOURCES.items():
        accounts.set_counter(id, resource, UNLIMITED)
    return accounts


def plan(accounts: Accounts, limits: dict[int, int]) -> None:
    for id, limit in limits.items():
        accounts.set_counter(id, RESOURCES[id], limit)
    for group, counts in COUNTS.items():
        charges = {r: [id for id in ids if id in limits] for r, ids in counts.items()}
        accounts.set_plan(group, charges, counts, None)


def judge(accounts: Accounts, group: int, demand: Demand) -> tuple[Verdict, int | None]:
    verdict, counter = accounts.judge(accounts.terms[group].bill(demand), set())
    return verdict, counter and counter.id


@pytest.mark.parametrize(("limits", "met"), [({2: 1, 1: 1}, 2), ({1: 1, 4: 1}, 1), ({4: 1}, 4)])
def test_the_refusal_is_the_nearest_containers_whose_limit_is_met(
    kernel: FakeCensus, accounts: Accounts, limits: dict[int, int], met: int
) -> None:
    kernel.start(group=1)
    plan(accounts, limits)
    assert judge(accounts, 1, FORK) == (Verdict.REFUSE, met)


def test_another_groups_tasks_count_in_a_common_ancestor(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    kernel.start(group=3)
    plan(accounts, {1: 2, 2: 5, 3: 5})
    assert judge(accounts, 3, FORK) == (Verdict.REFUSE, 1)


def test_room_is_made_by_an_end_that_nobody_has_told_of(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    other = kernel.start(group=1)
    plan(accounts, {2: 2})
    assert judge(accounts, 1, FORK)[0] is Verdict.REFUSE
    kernel.exit(other)
    assert judge(accounts, 1, FORK)[0] is Verdict.REFUSE, "a zombie still is a task"
    kernel.reap(other)
    assert judge(accounts, 1, FORK)[0] is Verdict.ADMIT


def test_a_pipe_needs_room_for_both_ends(kernel: FakeCensus, accounts: Accounts) -> None:
    kernel.start(group=1).descriptors = [1, 1, 2]
    plan(accounts, {7: 3})
    assert judge(accounts, 1, PIPE) == (Verdict.REFUSE, 7)
    assert judge(accounts, 1, OPEN) == (Verdict.ADMIT, None)


def test_a_refused_call_charges_nothing(kernel: FakeCensus, accounts: Accounts) -> None:
    """There is room for the task and none for the file."""
    kernel.start(group=1).descriptors = [1]
    plan(accounts, {2: 5, 7: 1})
    assert judge(accounts, 1, CLONE_WITH_PIDFD) == (Verdict.REFUSE, 7)
    assert accounts.counters[2].charged == 1


def test_a_call_that_only_doubt_stands_against_waits(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    process = kernel.start(group=1)
    plan(accounts, {2: 2})
    assert judge(accounts, 1, FORK)[0] is Verdict.ADMIT
    accounts.pending[process.pid] = Note((1,), FORK)
    kernel.doubted.add(process.pid)
    assert judge(accounts, 1, FORK) == (Verdict.WAIT, 2)
    kernel.doubted.clear()  # the fork had failed
    assert judge(accounts, 1, FORK)[0] is Verdict.ADMIT


def test_one_recount_serves_all_that_wait_but_a_quick_figure_does_not(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    """Files were dropped since the last recount: nobody is refused for what it had found."""
    process = kernel.start(group=1)
    process.descriptors = [1, 2, 3, 4]
    plan(accounts, {7: 4})
    assert accounts.counters[7].held == 4
    process.descriptors = [1, 1, 1]
    recounted: set[Counter] = set()
    bill = accounts.terms[1].bill(OPEN)
    assert accounts.judge(bill, recounted) == (Verdict.ADMIT, None)
    assert accounts.judge(bill, recounted) == (Verdict.ADMIT, None)


def test_the_recount_of_this_round_is_not_made_twice(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    plan(accounts, {2: 1})
    recounted: set[Counter] = set()
    asked = []
    kernel.watch = lambda: asked.append(1)
    bill = accounts.terms[1].bill(FORK)
    assert accounts.judge(bill, recounted)[0] is Verdict.REFUSE
    assert recounted == {accounts.counters[2]}
    asked.clear()
    assert accounts.judge(bill, recounted)[0] is Verdict.REFUSE
    assert asked == []


@pytest.mark.parametrize("moment", range(6))
def test_a_child_that_appears_during_the_count_is_counted_once_or_waited_for(
    kernel: FakeCensus, accounts: Accounts, moment: int
) -> None:
    process = kernel.start(group=1)
    plan(accounts, {2: 2})
    accounts.pending[process.pid] = Note((1,), FORK)
    kernel.flights[process.pid] = Flight(process, dict(FORK), thread=False)
    moments = iter(range(100))

    def land() -> None:
        if next(moments) == moment and kernel.flights:
            kernel.land(process.pid)

    kernel.watch = land
    accounts.recount([accounts.counters[2]])
    assert accounts.counters[2].charged >= 2
    assert accounts.counters[2].held <= 2


@pytest.mark.parametrize("moment", range(7))
def test_an_accept_that_ends_during_the_count_is_no_reason_to_refuse(
    kernel: FakeCensus, accounts: Accounts, moment: int
) -> None:
    process = kernel.start(group=1)
    plan(accounts, {7: 2})
    accounts.pending[process.pid] = Note((1,), OPEN)
    kernel.flights[process.pid] = Flight(process, dict(OPEN), thread=False)
    kernel.asleep.add(process.pid)
    moments = iter(range(100))

    def land() -> None:
        if next(moments) == moment and kernel.flights:
            kernel.land(process.pid)

    kernel.watch = land
    accounts.recount([accounts.counters[7]])
    assert accounts.counters[7].held <= 1
    assert accounts.counters[7].charged >= 1


def test_credit_is_void_when_a_quick_figure_replaces_what_was_charged(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    process = kernel.start(group=1)
    plan(accounts, {7: 64})
    opening = accounts.terms[1].bill(OPEN)
    assert accounts.prepay(opening)
    assert opening.credit
    process.descriptors = list(range(accounts.counters[7].charged))
    accounts.counters[7].charged = 63
    assert judge(accounts, 1, PIPE)[0] is Verdict.ADMIT
    assert opening.credit == 0


def test_credit_is_void_when_the_limit_changes(kernel: FakeCensus, accounts: Accounts) -> None:
    kernel.start(group=1)
    plan(accounts, {2: 1000})
    bill = accounts.terms[1].bill(FORK)
    assert accounts.prepay(bill)
    accounts.set_counter(2, "tasks", 1)
    assert bill.credit == 0
    assert not accounts.prepay(bill)


def test_credit_is_a_share_of_the_room_and_fits_every_counter(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    for limit in range(1, 200):
        plan(accounts, {2: limit, 1: 1000})
        bill = accounts.terms[1].bill(FORK)
        paid = accounts.prepay(bill)
        assert paid == (limit > 1)
        assert accounts.counters[2].charged == 1 + bill.credit <= limit
        assert accounts.counters[1].charged == 1 + bill.credit


def test_a_lowered_limit_denies_what_comes_next_and_raised_admits_it(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    for _ in range(4):
        kernel.start(group=1)
    plan(accounts, {2: 8})
    for limit, verdict in [(3, Verdict.REFUSE), (4, Verdict.REFUSE), (5, Verdict.ADMIT)]:
        plan(accounts, {2: limit})
        assert judge(accounts, 1, FORK)[0] is verdict
    assert accounts.counters[2].maxheld == 4


def test_without_limits_nothing_is_counted(kernel: FakeCensus, accounts: Accounts) -> None:
    plan(accounts, {})

    def fail() -> None:
        raise AssertionError("the kernel was asked")

    kernel.watch = fail
    kernel.start(group=1)
    assert judge(accounts, 1, CLONE_WITH_PIDFD) == (Verdict.ADMIT, None)


def test_a_plan_or_counter_dropped_is_forgotten(kernel: FakeCensus, accounts: Accounts) -> None:
    kernel.start(group=1)
    plan(accounts, {2: 2})
    accounts.drop_plan(1)
    accounts.drop_plan(2)
    for id in (2,):
        accounts.drop_counter(id)
    accounts.drop_plan(99)
    accounts.drop_counter(99)
    accounts.recount()
    accounts.recount_group(1)
    assert 2 not in accounts.counters
    assert accounts.counters[1].held == 0, "no group that is known counts there"


def test_reservations_of_threads_long_gone_do_not_pile_up(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    accounts.prune()
    for tid in range(10_000, 15_000):
        accounts.pending[tid] = Note((1,), FORK)
    accounts.prune()
    assert not accounts.pending


def test_groups_with_hidden_files_are_told(kernel: FakeCensus, accounts: Accounts) -> None:
    seen, hidden = kernel.start(group=1), kernel.start(group=3)
    kernel.unreadable.update({hidden.pid, 7})
    assert accounts.unreadable_groups(kernel.members()) == [3]
    kernel.exit(hidden)
    kernel.reap(hidden)
    assert accounts.unreadable_groups(kernel.members()) == []
    assert seen.pid not in kernel.unreadable


