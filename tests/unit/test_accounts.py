"""The agent's books, rule by rule: who is refused, what is void, what is counted when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from governor.core.counter import Counter
from governor.units import UNLIMITED
from tests.unit.fake_census import (
    CLONE_WITH_PIDFD,
    COUNTS,
    FORK,
    OPEN,
    PIPE,
    RESOURCES,
    FakeCensus,
    Flight,
)
from workers.accounts import Accounts, Verdict
from workers.bills import Demand, Note
from workers.passages import Passages


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
    accounts.recount()  # some were there before, as after a takeover


def judge(accounts: Accounts, group: int, demand: Demand) -> tuple[Verdict, int | None]:
    verdict, counter = accounts.judge(accounts.terms[group].bill(demand), set())
    return verdict, None if counter is None else counter.id


class Looked(Counter):
    """Says when it is counted."""

    __slots__ = ()
    looks: ClassVar[list[int]] = []

    def recount(self, held: int, reserved: int = 0) -> None:
        super().recount(held, reserved)
        self.looks.append(self.id)


def test_a_count_of_everything_looks_where_somebody_is_or_was(kernel: FakeCensus) -> None:
    accounts = Accounts(kernel, make=Looked)

    def looks() -> list[int]:
        Looked.looks.clear()
        accounts.recount()
        return Looked.looks

    for group in range(1, 1001):
        accounts.set_counter(group, "tasks", 9)
        accounts.set_plan(group, {"tasks": [group]}, {"tasks": [group]}, None)
    assert looks() == list(range(1, 1001)), "an agent before this one may have left figures"
    assert looks() == []
    process = kernel.start(group=7)
    assert looks() == [7]
    assert accounts.prepay(accounts.terms[400].bill(FORK))
    assert looks() == [7, 400]
    assert looks() == [7, 400], "what was paid in advance is void from now on"
    assert looks() == [7]
    kernel.exit(process)
    kernel.reap(process)
    assert looks() == [7], "it held something"
    assert looks() == []


def test_calls_are_told_of_where_nothing_is_limited_and_nobody_is_left(
    kernel: FakeCensus,
) -> None:
    accounts = Accounts(kernel, make=Looked)
    accounts.set_counter(1, "tasks", UNLIMITED)
    accounts.set_plan(1, {}, {"tasks": [1]}, None)
    accounts.recount()
    bill = accounts.terms[1].bill(FORK)
    assert accounts.prepay(bill)
    bill.credit -= 1
    Looked.looks.clear()
    accounts.recount()
    assert Looked.looks == [1]
    assert accounts.counters[1].admitted == 1


def test_what_an_agent_has_left_where_nobody_comes_again_is_counted(kernel: FakeCensus) -> None:
    def make(id: int, resource: str, limit: int) -> Counter:
        counter = Counter(id, resource, limit)
        counter.recount(3)
        return counter

    accounts = Accounts(kernel, make=make)
    accounts.set_counter(1, "tasks", 9)
    accounts.recount()
    assert (accounts.counters[1].held, accounts.counters[1].maxheld) == (0, 3)


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
    accounts.reservations.pending[process.pid] = Note((1,), FORK)
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
    kernel.start(group=1).threads.add(99)  # how many a process has, takes a count
    plan(accounts, {2: 2})
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
    accounts.reservations.pending[process.pid] = Note((1,), FORK)
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
    accounts.reservations.pending[process.pid] = Note((1,), OPEN)
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
    accounts.recount_groups(1)
    assert 2 not in accounts.counters
    assert accounts.counters[1].held == 0, "no group that is known counts there"


def test_reservations_of_threads_long_gone_do_not_pile_up(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    accounts.reservations.prune()
    for tid in range(10_000, 15_000):
        accounts.reservations.pending[tid] = Note((1,), FORK)
    accounts.reservations.prune()
    assert not accounts.reservations.pending


def test_groups_with_hidden_files_are_told(kernel: FakeCensus, accounts: Accounts) -> None:
    seen, hidden = kernel.start(group=1), kernel.start(group=3)
    kernel.unreadable.update({hidden.pid, 7})
    assert kernel.unreadable_groups(kernel.members()) == [3]
    kernel.exit(hidden)
    kernel.reap(hidden)
    assert kernel.unreadable_groups(kernel.members()) == []
    assert seen.pid not in kernel.unreadable


# -- barriers, rates and pools ------------------------------------------------------------


def never() -> bool:
    raise AssertionError("nobody needs to know whether the caller is privileged")


def test_a_barrier_stops_the_ordinary_and_the_limit_everybody(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    plan(accounts, {2: 3})
    accounts.set_barrier(2, 2)
    bill = accounts.terms[1].bill(FORK)
    counter = accounts.counters[2]
    assert accounts.judge(bill, set(), never) == (Verdict.ADMIT, None)
    kernel.start(group=1)
    assert accounts.judge(bill, set()) == (Verdict.REFUSE, counter)
    assert accounts.judge(bill, set(), lambda: True) == (Verdict.ADMIT, counter)
    kernel.start(group=1)
    for privileged in (True, False):
        assert accounts.judge(bill, set(), lambda p=privileged: p) == (Verdict.REFUSE, counter)  # type: ignore[misc]


def test_over_the_barrier_a_privileged_caller_is_told_of_once(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    plan(accounts, {2: 9})
    accounts.set_barrier(2, 1)
    bill = accounts.terms[1].bill(FORK)
    crossed = []
    for _ in range(3):
        crossed.append(accounts.judge(bill, set(), lambda: True)[1])
        kernel.start(group=1)
    assert crossed == [accounts.counters[2], None, None]


def test_nobody_asks_who_is_privileged_where_there_is_no_barrier(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    plan(accounts, {2: 1})
    bill = accounts.terms[1].bill(FORK)
    assert accounts.judge(bill, set(), never)[0] is Verdict.REFUSE


def test_a_new_barrier_voids_what_was_paid_in_advance(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    plan(accounts, {2: 1000})
    bill = accounts.terms[1].bill(FORK)
    assert accounts.prepay(bill)
    accounts.set_barrier(2, 1)
    assert bill.credit == 0
    assert not accounts.prepay(bill)


class Seconds:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_refuses_at_once_until_its_interval_is_over(kernel: FakeCensus) -> None:
    clock = Seconds()
    accounts = Accounts(kernel, clock)
    accounts.set_counter(8, "tasks", 3)
    accounts.set_interval(8, 2.5)
    accounts.set_plan(1, {"tasks": [8]}, {}, None)
    rate, bill = accounts.counters[8], accounts.terms[1].bill(FORK)
    for _ in range(3):
        assert accounts.prepay(bill)
        bill.credit -= 1
    kernel.watch = lambda: pytest.fail("there is nothing to be counted")
    assert not accounts.prepay(bill)
    assert accounts.judge(bill, set()) == (Verdict.REFUSE, rate)
    assert rate.held == 3, "who is told of the refusal is told what was held"
    clock.now += 2.4
    assert accounts.judge(bill, set()) == (Verdict.REFUSE, rate)
    clock.now += 0.1
    assert accounts.judge(bill, set()) == (Verdict.ADMIT, None)
    accounts.recount()
    assert (rate.held, rate.maxheld) == (1, 3)
    clock.now += 60
    accounts.recount()
    assert (rate.held, rate.maxheld) == (0, 3)


def test_a_rate_beside_a_limit_is_charged_for_admitted_calls_only(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    kernel.start(group=1)
    accounts.set_counter(2, "tasks", 1)
    accounts.set_counter(8, "tasks", 1)
    accounts.set_interval(8, 3600)
    accounts.set_plan(1, {"tasks": [2, 8]}, {"tasks": [2]}, None)
    accounts.recount()
    assert judge(accounts, 1, FORK) == (Verdict.REFUSE, 2)
    assert accounts.counters[8].charged == 0
    accounts.set_counter(2, "tasks", 2)
    assert judge(accounts, 1, FORK) == (Verdict.ADMIT, None)
    assert judge(accounts, 1, FORK) == (Verdict.REFUSE, 8)


def test_bills_are_worked_out_again_when_a_counter_becomes_a_rate_or_a_borrower(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    plan(accounts, {2: 8, 3: 8, 1: 8})
    assert not accounts.terms[1].bill(FORK).singly
    accounts.set_interval(2, 1)
    assert accounts.terms[1].bill(FORK).singly
    assert not accounts.terms[3].bill(FORK).singly
    accounts.set_lender(3, 1, 0)
    assert accounts.terms[3].bill(FORK).singly
    accounts.set_lender(3, 0, 0)
    assert not accounts.terms[3].bill(FORK).singly


def test_who_borrows_from_a_counter_that_is_gone_stands_alone(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    plan(accounts, {})
    accounts.set_lender(2, 1, 3)
    accounts.set_lender(3, 2, 1)
    accounts.drop_counter(2)
    assert accounts.counters[3].lender is None
    assert not accounts.counters[1].borrowers


def test_a_reset_starts_from_what_is_held_now(kernel: FakeCensus, accounts: Accounts) -> None:
    others = [kernel.start(group=1) for _ in range(3)]
    plan(accounts, {2: 8})
    for other in others[1:]:
        kernel.exit(other)
        kernel.reap(other)
    accounts.reset(2, "maxheld")
    accounts.reset(2, "minheld")
    counter = accounts.counters[2]
    assert (counter.held, counter.minheld, counter.maxheld) == (1, 1, 1)


def test_a_count_that_takes_long_is_not_made_again_at_once(kernel: FakeCensus) -> None:
    """Those who are refused again and again leave the agent time for others."""
    clock = Seconds()
    accounts = Accounts(kernel, clock)
    for id, resource in RESOURCES.items():
        accounts.set_counter(id, resource, UNLIMITED)
    kernel.slow_to_count = {"tasks"}

    def look() -> None:
        clock.now += 0.01

    kernel.start(group=1)
    plan(accounts, {2: 1, 1: 5})
    bill = accounts.terms[1].bill(FORK)
    assert not accounts.too_soon(bill, set()), "the first count took no time"
    kernel.watch = look
    began = clock.now
    assert judge(accounts, 1, FORK) == (Verdict.REFUSE, 2)
    took = clock.now - began
    assert accounts.too_soon(bill, set())
    assert not accounts.too_soon(bill, {accounts.counters[2]}), "this count is still good"
    clock.now += 20 * took
    assert not accounts.too_soon(bill, set())
    accounts.set_counter(2, "tasks", 2)
    assert judge(accounts, 1, FORK) == (Verdict.ADMIT, None), "whoever has room does not wait"


def test_a_new_group_has_nobody_whom_to_count(kernel: FakeCensus, accounts: Accounts) -> None:
    accounts.set_counter(1, "tasks", 5)
    accounts.set_plan(1, {"tasks": [1]}, {"tasks": [2, 1]}, None)
    kernel.watch = lambda: pytest.fail("there is nothing to be counted")
    accounts.set_plan(2, {"tasks": [1]}, {"tasks": [2, 1]}, None)
    accounts.set_plan(1, {"tasks": [1]}, {"tasks": [2, 1]}, None)


def test_a_new_group_counts_what_others_have_not_been_charged_for(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    accounts.set_plan(1, {}, {"tasks": [1]}, None)
    kernel.start(group=1)
    accounts.set_counter(1, "tasks", 5)
    accounts.set_plan(2, {"tasks": [1]}, {"tasks": [1]}, None)
    assert accounts.counters[1].charged == 1


def test_who_moves_is_charged_at_once_with_all_it_has_and_may_get(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    plan(accounts, {1: 9, 2: 9, 3: 9, 7: 9})
    process = kernel.start(group=1)
    process.threads |= {process.pid + 1000}
    process.descriptors = [1, 2]
    accounts.recount()
    accounts.reservations.pending[process.pid] = Note((1,), PIPE)
    process.group = 3
    Passages(accounts).charge([(process.pid, 1, 3)])
    charged = {id: accounts.counters[id].charged for id in (1, 2, 3, 7)}
    assert charged == {1: 2, 2: 2, 3: 2, 7: 2}, "what both have is charged already"
    process.group = 1
    Passages(accounts).charge([(process.pid, 2, 1)])
    assert accounts.counters[7].charged == 6, "two files, and two more that are on the way"


def test_who_comes_and_goes_between_two_recounts_was_there(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    plan(accounts, {2: 5})
    brief = kernel.start(group=1)
    accounts.witness(brief.pid, 1)
    kernel.exit(brief)
    kernel.reap(brief)
    accounts.recount()
    highest = {id: accounts.counters[id].maxheld for id in RESOURCES}
    assert highest == {1: 1, 2: 1, 3: 0, 4: 1, 5: 1, 6: 0, 7: 0}
    assert {counter.held for counter in accounts.counters.values()} == {0}


def test_what_takes_long_to_count_is_not_counted_on_the_way(
    kernel: FakeCensus, accounts: Accounts
) -> None:
    plan(accounts, {2: 5})
    kernel.slow_to_count.add("tasks")
    accounts.witness(kernel.start(group=1).pid, 1)
    assert accounts.counters[2].maxheld == 0


class TestWhatIsFullForCertain:
    @pytest.fixture
    def counts(self, kernel: FakeCensus, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many were looked at in each count."""
        found: list[int] = []
        count = kernel.count

        def noted(resource: str, pids: Sequence[int]) -> int:
            found.append(len(pids))
            return count(resource, pids)

        monkeypatch.setattr(kernel, "count", noted)
        return found

    def test_who_is_there_yet_is_not_counted_again(
        self, kernel: FakeCensus, accounts: Accounts, counts: list[int]
    ) -> None:
        crowd = [kernel.start(group=1) for _ in range(5)]
        plan(accounts, {2: 9})
        counts.clear()
        for limit in (5, 3, 0):
            accounts.set_counter(2, "tasks", limit)
            assert judge(accounts, 1, FORK) == (Verdict.REFUSE, 2)
        assert counts == []
        accounts.set_counter(2, "tasks", 4)
        for process in crowd[:2]:
            kernel.exit(process)
            assert judge(accounts, 1, FORK) == (Verdict.REFUSE, 2), "nobody has waited for it"
            kernel.reap(process)
        assert judge(accounts, 1, FORK) == (Verdict.ADMIT, None)
        assert set(counts) == {3}
        assert accounts.counters[2].charged == 4

    def test_who_has_left_is_not_there_any_more(
        self, kernel: FakeCensus, accounts: Accounts
    ) -> None:
        process = kernel.start(group=1)
        plan(accounts, {2: 1})
        assert judge(accounts, 1, FORK) == (Verdict.REFUSE, 2)
        process.group = 3
        Passages(accounts).charge([(process.pid, 1, 3)])
        assert judge(accounts, 1, FORK) == (Verdict.ADMIT, None)

    def test_nothing_fits_into_less_than_it_asks_for(
        self, kernel: FakeCensus, accounts: Accounts, counts: list[int]
    ) -> None:
        kernel.start(group=1)
        plan(accounts, {7: 0})
        counts.clear()
        assert judge(accounts, 1, OPEN) == (Verdict.REFUSE, 7)
        assert counts == []

    def test_it_is_looked_at_once_where_nothing_can_come(
        self, kernel: FakeCensus, accounts: Accounts, counts: list[int]
    ) -> None:
        for _ in range(3):
            kernel.start(group=1)
        plan(accounts, {2: 9})
        accounts.set_counter(2, "tasks", 1)
        counts.clear()
        accounts.recount([accounts.counters[2]])
        assert counts == [3]
        assert accounts.counters[2].held == 3


def test_a_count_of_one_is_seen_above_it(kernel: FakeCensus, accounts: Accounts) -> None:
    plan(accounts, {})
    process = kernel.start(group=1)
    accounts.recount([accounts.counters[2]])
    kernel.exit(process)
    kernel.reap(process)
    accounts.recount()
    highest = {id: accounts.counters[id].maxheld for id in RESOURCES}
    assert highest == {1: 1, 2: 1, 3: 0, 4: 1, 5: 0, 6: 0, 7: 0}, "5 has only a part of 2"
