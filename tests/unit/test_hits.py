"""Telling of bounds that were met: at once, then no more than ten times a second, none lost."""

from __future__ import annotations

import os
import threading
from collections import Counter as Multiset

from hypothesis import given
from hypothesis import strategies as st

from governor.core.counter import Counter
from governor.wire.agent import JobHit
from workers.hits import INTERVAL, Hits
from workers.tasks import process_of

GONE = 2**22 + 1
"""No thread has this id: it is over the largest pid_max."""


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def full(id: int = 1, limit: int = 4, charged: int = 4) -> Counter:
    counter = Counter(id, "tasks", limit)
    counter.recount(charged)
    return counter


def test_the_first_hit_is_told_at_once_and_the_next_ones_together() -> None:
    clock = Clock()
    hits = Hits(clock)
    assert hits.wait() is None
    hits.refused(full(), 7, GONE)
    assert hits.wait() == 0
    assert hits.take() == [JobHit(1, "limit", 7, 1, 4, GONE)]
    assert hits.wait() is None
    for tid in (GONE, GONE, GONE + 1):
        hits.refused(full(), 7, tid)
    assert hits.take() == []
    wait = hits.wait()
    assert wait is not None
    clock.now += wait
    assert hits.take() == [JobHit(1, "limit", 7, 3, 4, GONE + 1)]


def test_bounds_and_counters_do_not_wait_for_each_other() -> None:
    hits = Hits(Clock())
    counter = full(1, limit=9)
    counter.barrier = 4
    hits.refused(full(2), 7, GONE)
    assert len(hits.take()) == 1
    hits.refused(counter, 7, GONE)
    hits.passed(counter, 7, GONE)
    counter.recount(9)
    hits.refused(counter, 7, GONE)
    assert [hit.bound for hit in hits.take()] == ["barrier", "passed", "limit"]


def test_a_counter_that_is_gone_is_told_of_a_last_time() -> None:
    hits = Hits(Clock())
    hits.refused(full(1), 7, GONE)
    hits.refused(full(2), 7, GONE)
    assert [hit.counter for hit in hits.take_all(counter=1)] == [1]
    hits.forget(counter=1)
    assert [hit.counter for hit in hits.take()] == [2]
    hits.forget(counter=2)
    hits.refused(full(2), 7, GONE)
    assert len(hits.take()) == 1, "an id that is used again begins anew"


def test_jobs_do_not_wait_for_each_other() -> None:
    hits = Hits(Clock())
    for job in (1, 2, 1):
        hits.refused(full(), job, GONE)
    assert [(hit.job, hit.times) for hit in hits.take()] == [(1, 2), (2, 1)]
    hits.refused(full(), 1, GONE)
    hits.refused(full(), 2, GONE)
    assert hits.take() == []
    assert [hit.job for hit in hits.take_all(job=2)] == [2]
    assert [hit.job for hit in hits.take_all()] == [1]


@given(st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 3)), max_size=50))
def test_every_hit_is_told_once_and_none_too_often(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    hits = Hits(clock)
    noted: Multiset[int] = Multiset()
    told: Multiset[int] = Multiset()
    last: dict[int, float] = {}

    def tell() -> None:
        for hit in hits.take():
            told[hit.counter] += hit.times
            assert clock.now - last.get(hit.counter, 0) >= INTERVAL * 0.999
            last[hit.counter] = clock.now

    for pause, id in steps:
        clock.now += pause
        hits.refused(full(id), 7, GONE)
        noted[id] += 1
        tell()
    clock.now += INTERVAL
    tell()
    assert told == noted
    assert hits.wait() is None


def test_a_thread_is_told_as_its_process() -> None:
    seen: list[int | None] = []
    thread = threading.Thread(target=lambda: seen.append(process_of(threading.get_native_id())))
    thread.start()
    thread.join()
    assert seen == [os.getpid()]
    assert process_of(GONE) is None
