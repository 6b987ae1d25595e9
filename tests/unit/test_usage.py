"""The CPU ledger, rule by rule: whose time is whose, and what may arrive in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.core.usage import CpuLedger, Meter, Row, Use
from tests.unit.test_usage_machine import SPAWNER, TICK, times


def row(pid: int, ppid: int, own: int, group: int = 1, children: int = 0, discards: int = 0) -> Row:
    return Row(pid, pid, ppid, group, own, children, discards, user=0)


def drained(ledger: CpuLedger) -> dict[int, int]:
    """What each group has used, whatever kind of time it was."""
    return {group: use.cpu for group, use in ledger.drain().items()}


@pytest.fixture
def ledger() -> CpuLedger:
    return CpuLedger()


def test_what_was_used_before_joining_is_not_the_groups(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(500))
    assert drained(ledger) == {}
    ledger.observe([row(10, SPAWNER, own=700)])
    assert drained(ledger) == {1: 200}
    ledger.reap(10, 10, group=1, use=Use(900))
    assert drained(ledger) == {1: 200}
    assert drained(ledger) == {}


def test_a_child_reaped_by_its_parent_is_counted_in_whole_ticks_until_the_end(
    ledger: CpuLedger,
) -> None:
    ledger.enter(10, 10, group=1, base=Use(0))
    ledger.observe([row(10, SPAWNER, own=5), row(11, 10, own=TICK + 9)])
    assert drained(ledger) == {1: TICK + 14}
    ledger.observe([row(10, SPAWNER, own=5, children=TICK)])
    assert drained(ledger) == {}, "what was published is never taken back"
    ledger.reap(10, 10, group=1, use=Use(TICK + 20))
    assert drained(ledger) == {1: 6}


def test_a_child_in_a_sample_older_than_its_parents_end_is_not_counted_again(
    ledger: CpuLedger,
) -> None:
    """The parent reaped it and was reaped itself: a report may overtake the sample, or follow."""
    for report_first in (True, False):
        ledger = CpuLedger()
        ledger.enter(10, 10, group=1, base=Use(0))
        sample = [row(10, SPAWNER, own=5), row(11, 10, own=700), row(12, 11, own=70)]
        if report_first:
            ledger.reap(10, 10, group=1, use=Use(775))
        ledger.observe(sample)
        if not report_first:
            ledger.reap(10, 10, group=1, use=Use(775))
        assert drained(ledger) == {1: 775}
        ledger.observe([])
        assert drained(ledger) == {}


def test_an_orphan_counts_again_once_a_sample_shows_its_new_parent(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(0))
    ledger.observe([row(10, SPAWNER, own=5), row(11, 10, own=700)])
    ledger.reap(10, 10, group=1, use=Use(5))
    assert drained(ledger) == {1: 5}
    ledger.observe([row(11, SPAWNER, own=800)])
    assert drained(ledger) == {1: 800}
    ledger.reap(11, 11, group=1, use=Use(900))
    assert drained(ledger) == {1: 100}


def test_a_process_that_joined_while_a_sample_was_taken_keeps_its_base(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(500))
    for _ in range(3):
        ledger.observe([])
    ledger.observe([row(10, SPAWNER, own=700)])
    assert drained(ledger) == {1: 200}


def test_a_move_splits_what_was_used(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(100))
    ledger.move(10, group=2, use=Use(400))
    ledger.reap(10, 10, group=2, use=Use(1000))
    assert drained(ledger) == {1: 300, 2: 600}


def test_a_move_of_a_process_without_a_clock_any_more_loses_nothing(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(100))
    ledger.observe([row(10, SPAWNER, own=400)])
    ledger.move(10, group=2, use=Use(0))
    ledger.reap(10, 10, group=2, use=Use(1000))
    assert drained(ledger) == {1: 300, 2: 600}
    ledger.move(99, group=2, use=Use(5))
    assert drained(ledger) == {}


def test_a_report_may_be_the_first_to_tell_of_a_move(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(100))
    ledger.observe([row(10, SPAWNER, own=400)])
    assert drained(ledger) == {1: 300}
    ledger.reap(10, 10, group=2, use=Use(1000))
    ledger.move(10, group=2, use=Use(400))
    assert drained(ledger) == {2: 600}


def test_a_sample_may_be_the_first_to_tell_of_a_move(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(100))
    ledger.observe([row(10, SPAWNER, own=400, group=2)])
    ledger.observe([row(10, SPAWNER, own=600, group=2)])
    assert drained(ledger) == {1: 300, 2: 200}


def test_children_of_a_process_that_ignores_sigchld_stay_counted(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(0))
    for _ in range(2):
        ledger.observe([row(10, SPAWNER, own=5, discards=1), row(11, 10, own=700)])
    ledger.observe([row(10, SPAWNER, own=5, discards=1)])
    ledger.reap(10, 10, group=1, use=Use(10))
    assert drained(ledger) == {1: 710}


def test_children_reaped_before_their_parent_began_to_ignore_sigchld_count_once(
    ledger: CpuLedger,
) -> None:
    ledger.enter(10, 10, group=1, base=Use(0))
    ledger.observe([row(10, SPAWNER, own=5), row(11, 10, own=TICK)])
    ledger.observe([row(10, SPAWNER, own=5, children=TICK, discards=1)])
    assert drained(ledger) == {1: TICK + 5}
    ledger.reap(10, 10, group=1, use=Use(TICK + 5))
    assert drained(ledger) == {}


def test_a_pid_that_comes_back_is_another_process(ledger: CpuLedger) -> None:
    ledger.enter(10, 1, group=1, base=Use(0))
    ledger.enter(10, 2, group=1, base=Use(500))
    ledger.reap(10, 1, group=1, use=Use(70))
    ledger.reap(10, 2, group=1, use=Use(600))
    assert drained(ledger) == {1: 170}


def test_a_ring_of_parents_does_no_harm(ledger: CpuLedger) -> None:
    ledger.observe([row(10, 11, own=5), row(11, 10, own=6)])
    assert drained(ledger) == {1: 11}


def test_a_group_id_starts_from_nothing_when_it_comes_back(ledger: CpuLedger) -> None:
    ledger.reap(10, 10, group=1, use=Use(500))
    assert drained(ledger) == {1: 500}
    ledger.forget(1)
    ledger.reap(11, 11, group=1, use=Use(20))
    assert drained(ledger) == {1: 20}


def test_what_a_process_from_outside_has_used_stays_after_its_end() -> None:
    ledger = CpuLedger()
    ledger.enter(10, 1, group=1, base=Use(500), outside=True)
    ledger.observe([Row(10, 1, 1, 1, 900, 0, 0, 0)])
    assert drained(ledger) == {1: 400}
    ledger.observe([])
    assert drained(ledger) == {}
    ledger.observe([Row(11, 2, 1, 1, 50, 0, 0, 0)])
    assert drained(ledger) == {1: 50}


# -- user and system ----------------------------------------------------------------------


def user_row(own: int, user: int, pid: int = 10) -> Row:
    return Row(pid, pid, SPAWNER, 1, own, 0, 0, user)


def test_the_user_part_follows_the_same_flow(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=Use(500, 400))
    ledger.observe([user_row(own=900, user=600)])
    assert ledger.drain() == {1: Use(400, 200)}
    ledger.move(10, group=2, use=Use(1000, 700))
    ledger.reap(10, 10, group=2, use=Use(1500, 800))
    assert ledger.drain() == {1: Use(100, 100), 2: Use(500, 100)}


def test_an_estimate_is_mended_by_what_comes_next(ledger: CpuLedger) -> None:
    """All of it looked like user time before the first tick; none of it was."""
    ledger.enter(10, 10, group=1, base=Use())
    ledger.observe([user_row(own=1000, user=1000)])
    assert ledger.drain() == {1: Use(1000, 1000)}
    ledger.observe([user_row(own=1500, user=0)])
    assert ledger.drain() == {1: Use(500, 0)}, "published is published"
    ledger.reap(10, 10, group=1, use=Use(5000, 1200))
    assert ledger.drain() == {1: Use(3500, 200)}


uses = st.builds(lambda cpu, part: Use(cpu, cpu * part // 100), times, st.integers(0, 100))


@given(uses, uses)
def test_what_was_used_in_between_is_something_that_can_be_used(late: Use, early: Use) -> None:
    between = late.since(early)
    assert 0 <= between.user <= between.cpu == max(0, late.cpu - early.cpu)
    assert early.plus(between).since(early) == between
    assert late.since(late) == Use()


@given(st.lists(uses, max_size=20))
def test_neither_part_of_what_is_published_ever_falls(seen: list[Use]) -> None:
    """Whatever the clocks say, even when they run backwards."""
    ledger, meter = CpuLedger(), Meter("cpu")
    ledger.enter(10, 10, group=1, base=Use())
    for use in seen:
        before = meter.total, meter.user, meter.total - meter.user
        ledger.observe([user_row(use.cpu, use.user)])
        for used in ledger.drain().values():
            meter.add(*used)
        after = meter.total, meter.user, meter.total - meter.user
        assert all(old <= new for old, new in zip(before, after, strict=True))
    assert meter.total == max((use.cpu for use in seen), default=0)
