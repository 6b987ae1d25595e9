"""The CPU ledger, rule by rule: whose time is whose, and what may arrive in which order."""

from __future__ import annotations

import pytest

from governor.core.usage import CpuLedger, Row
from tests.unit.test_usage_machine import SPAWNER, TICK


def row(pid: int, ppid: int, own: int, group: int = 1, children: int = 0, discards: int = 0) -> Row:
    return Row(pid, pid, ppid, group, own, children, discards)


@pytest.fixture
def ledger() -> CpuLedger:
    return CpuLedger()


def test_what_was_used_before_joining_is_not_the_groups(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=500)
    assert ledger.drain() == {}
    ledger.observe([row(10, SPAWNER, own=700)])
    assert ledger.drain() == {1: 200}
    ledger.reap(10, 10, group=1, cpu=900)
    assert ledger.drain() == {1: 200}
    assert ledger.drain() == {}


def test_a_child_reaped_by_its_parent_is_counted_in_whole_ticks_until_the_end(
    ledger: CpuLedger,
) -> None:
    ledger.enter(10, 10, group=1, base=0)
    ledger.observe([row(10, SPAWNER, own=5), row(11, 10, own=TICK + 9)])
    assert ledger.drain() == {1: TICK + 14}
    ledger.observe([row(10, SPAWNER, own=5, children=TICK)])
    assert ledger.drain() == {}, "what was published is never taken back"
    ledger.reap(10, 10, group=1, cpu=TICK + 20)
    assert ledger.drain() == {1: 6}


def test_a_child_in_a_sample_older_than_its_parents_end_is_not_counted_again(
    ledger: CpuLedger,
) -> None:
    """The parent reaped it and was reaped itself: a report may overtake the sample, or follow."""
    for report_first in (True, False):
        ledger = CpuLedger()
        ledger.enter(10, 10, group=1, base=0)
        sample = [row(10, SPAWNER, own=5), row(11, 10, own=700), row(12, 11, own=70)]
        if report_first:
            ledger.reap(10, 10, group=1, cpu=775)
        ledger.observe(sample)
        if not report_first:
            ledger.reap(10, 10, group=1, cpu=775)
        assert ledger.drain() == {1: 775}
        ledger.observe([])
        assert ledger.drain() == {}


def test_an_orphan_counts_again_once_a_sample_shows_its_new_parent(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=0)
    ledger.observe([row(10, SPAWNER, own=5), row(11, 10, own=700)])
    ledger.reap(10, 10, group=1, cpu=5)
    assert ledger.drain() == {1: 5}
    ledger.observe([row(11, SPAWNER, own=800)])
    assert ledger.drain() == {1: 800}
    ledger.reap(11, 11, group=1, cpu=900)
    assert ledger.drain() == {1: 100}


def test_a_process_that_joined_while_a_sample_was_taken_keeps_its_base(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=500)
    for _ in range(3):
        ledger.observe([])
    ledger.observe([row(10, SPAWNER, own=700)])
    assert ledger.drain() == {1: 200}


def test_a_move_splits_what_was_used(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=100)
    ledger.move(10, group=2, cpu=400)
    ledger.reap(10, 10, group=2, cpu=1000)
    assert ledger.drain() == {1: 300, 2: 600}


def test_a_move_of_a_process_without_a_clock_any_more_loses_nothing(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=100)
    ledger.observe([row(10, SPAWNER, own=400)])
    ledger.move(10, group=2, cpu=0)
    ledger.reap(10, 10, group=2, cpu=1000)
    assert ledger.drain() == {1: 300, 2: 600}
    ledger.move(99, group=2, cpu=5)
    assert ledger.drain() == {}


def test_a_report_may_be_the_first_to_tell_of_a_move(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=100)
    ledger.observe([row(10, SPAWNER, own=400)])
    assert ledger.drain() == {1: 300}
    ledger.reap(10, 10, group=2, cpu=1000)
    ledger.move(10, group=2, cpu=400)
    assert ledger.drain() == {2: 600}


def test_a_sample_may_be_the_first_to_tell_of_a_move(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=100)
    ledger.observe([row(10, SPAWNER, own=400, group=2)])
    ledger.observe([row(10, SPAWNER, own=600, group=2)])
    assert ledger.drain() == {1: 300, 2: 200}


def test_children_of_a_process_that_ignores_sigchld_stay_counted(ledger: CpuLedger) -> None:
    ledger.enter(10, 10, group=1, base=0)
    for _ in range(2):
        ledger.observe([row(10, SPAWNER, own=5, discards=1), row(11, 10, own=700)])
    ledger.observe([row(10, SPAWNER, own=5, discards=1)])
    ledger.reap(10, 10, group=1, cpu=10)
    assert ledger.drain() == {1: 710}


def test_children_reaped_before_their_parent_began_to_ignore_sigchld_count_once(
    ledger: CpuLedger,
) -> None:
    ledger.enter(10, 10, group=1, base=0)
    ledger.observe([row(10, SPAWNER, own=5), row(11, 10, own=TICK)])
    ledger.observe([row(10, SPAWNER, own=5, children=TICK, discards=1)])
    assert ledger.drain() == {1: TICK + 5}
    ledger.reap(10, 10, group=1, cpu=TICK + 5)
    assert ledger.drain() == {}


def test_a_pid_that_comes_back_is_another_process(ledger: CpuLedger) -> None:
    ledger.enter(10, 1, group=1, base=0)
    ledger.enter(10, 2, group=1, base=500)
    ledger.reap(10, 1, group=1, cpu=70)
    ledger.reap(10, 2, group=1, cpu=600)
    assert ledger.drain() == {1: 170}


def test_a_ring_of_parents_does_no_harm(ledger: CpuLedger) -> None:
    ledger.observe([row(10, 11, own=5), row(11, 10, own=6)])
    assert ledger.drain() == {1: 11}


def test_a_group_id_starts_from_nothing_when_it_comes_back(ledger: CpuLedger) -> None:
    ledger.reap(10, 10, group=1, cpu=500)
    assert ledger.drain() == {1: 500}
    ledger.forget(1)
    ledger.reap(11, 11, group=1, cpu=20)
    assert ledger.drain() == {1: 20}


def test_what_a_process_from_outside_has_used_stays_after_its_end() -> None:
    ledger = CpuLedger()
    ledger.enter(10, 1, group=1, base=500, outside=True)
    ledger.observe([Row(10, 1, 1, 1, 900, 0, 0)])
    assert ledger.drain() == {1: 400}
    ledger.observe([])
    assert ledger.drain() == {}
    ledger.observe([Row(11, 2, 1, 1, 50, 0, 0)])
    assert ledger.drain() == {1: 50}
