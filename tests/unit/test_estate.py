"""What one agent leaves, the next one finds; what there is no room for harms nobody."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import estate as module
from workers.estate import CALL, COUNTER, ENTRY, LISTENER, Estate, KeptCounter

Next = Callable[[], Estate]


@pytest.fixture
def next_agent() -> Iterator[Next]:
    """Gives the estate as each agent in turn has it."""
    descriptor = module.make()
    yield lambda: Estate(descriptor)
    os.close(descriptor)


def request(id: int) -> bytes:
    return id.to_bytes(8, "little").ljust(module.REQUEST_SIZE, b"\1")


def test_only_who_comes_later_is_a_successor(next_agent: Next) -> None:
    assert [next_agent().successor for _ in range(3)] == [False, True, True]


def test_received_and_kept_calls_are_found(next_agent: Next) -> None:
    estate = next_agent()
    estate.slot(7)[: module.REQUEST_SIZE] = request(100)
    kept = [estate.add(CALL, 7, request(id)) for id in (2**64 - 1, 5, 6)]
    estate.free(kept[1])
    found = [(job, call) for _, job, call in next_agent().calls()]
    assert found == [(7, request(100)), (7, request(2**64 - 1)), (7, request(6))]


def test_counters_whose_figures_have_changed_are_named_once(next_agent: Next) -> None:
    estate = next_agent()
    counters = {id: KeptCounter(estate, id, "tasks", 9) for id in (5, 2, 8)}
    assert (estate.take_changed(), estate.take_changed()) == ([2, 5, 8], [])
    counters[8].recount(3)
    counters[2].refuse()
    assert (estate.take_changed(), estate.take_changed()) == ([2, 8], [])
    counters[5].reset("failcnt")
    assert estate.take_changed() == [5]


def test_a_slot_is_more_than_python_would_bounce(next_agent: Next) -> None:
    assert len(next_agent().slot(1)) > 1024


def test_listeners_and_entries_are_found_by_their_owners(next_agent: Next) -> None:
    estate = next_agent()
    estate.slot(3)
    estate.add(ENTRY, 9, b"body")
    after = next_agent()
    assert (after.owners(LISTENER), after.owners(ENTRY)) == ([3], [9])
    record = after.find(ENTRY, 9)
    assert record is not None
    assert after.body(record).rstrip(b"\0") == b"body"
    after.drop(LISTENER, 3)
    assert next_agent().owners(LISTENER) == []


def test_tickets_are_never_given_twice(next_agent: Next) -> None:
    assert [next_agent().new_ticket() for _ in range(3)] == [1, 2, 3]


def test_a_counter_goes_on(next_agent: Next) -> None:
    counter = KeptCounter(next_agent(), 4, "tasks", 10)
    counter.recount(7, 2)
    counter.recount(3)
    counter.refuse()
    after = KeptCounter(next_agent(), 4, "tasks", 10)
    figures = (after.failcnt, after.maxheld, after.minheld, after.held)
    assert figures == (1, 7, 0, 3)
    after.reset("maxheld")
    after.reset("failcnt")
    last = KeptCounter(next_agent(), 4, "tasks", 10)
    assert (last.failcnt, last.maxheld) == (0, 3)


def test_the_highest_that_was_seen_on_the_way_goes_on(next_agent: Next) -> None:
    counter = KeptCounter(next_agent(), 5, "tasks", 10)
    counter.recount(2)
    counter.witness(3)
    counter.witness(1)
    after = KeptCounter(next_agent(), 5, "tasks", 10)
    assert (after.held, after.maxheld) == (2, 3)


def test_a_rate_goes_on_in_its_interval(next_agent: Next) -> None:
    counter = KeptCounter(next_agent(), 4, "tasks", 10)
    counter.interval = 60
    counter.begin(1000.25)
    counter.charged += 3
    counter.recount(counter.charged)
    after = KeptCounter(next_agent(), 4, "tasks", 10)
    assert (after.charged, after.since) == (3, 1000.25)


def test_a_refusal_under_way_is_found_until_it_is_over(next_agent: Next) -> None:
    estate = next_agent()
    assert estate.last_refusal() is None
    estate.refusing(4, 9, 7, 2**64 - 2, 64)
    assert next_agent().last_refusal() == (4, 9, 7, 2**64 - 2)
    estate.refused(True)
    assert next_agent().last_refusal() is None


def test_refusals_are_known_by_job_until_nobody_will_ask(next_agent: Next) -> None:
    estate = next_agent()
    for counter, job, waited in ((4, 7, True), (4, 7, True), (4, 8, True), (5, 7, False)):
        estate.refusing(counter, 1, job, 1, 64)
        estate.refused(waited)
    estate.refused_to(9, 4, 63)
    estate = next_agent()
    assert sorted(estate.refusals()) == [
        [7, 4, 2, 64], [7, 5, 0, 0], [8, 4, 1, 64], [9, 4, 1, 63]
    ]  # fmt: skip
    estate.forget_refusals(job=7)
    assert sorted(next_agent().refusals()) == [[8, 4, 1, 64], [9, 4, 1, 63]]
    estate.forget_refusals(counter=4)
    assert next_agent().refusals() == []


def test_a_refusal_that_was_answered_counts_once_wherever_the_agent_has_died(
    next_agent: Next,
) -> None:
    next_agent().refusing(4, 1, 7, 1, 64)
    estate = next_agent()
    estate.refused(True)
    assert estate.refusals() == [[7, 4, 1, 64]]
    first = module._REFUSAL * module._WORDS
    estate.words[first] = 1  # it was counted, and that is not known
    estate = next_agent()
    estate.refused(True)
    assert estate.refusals() == [[7, 4, 1, 64]]


def test_without_room_there_is_a_place_that_nobody_inherits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SIZE", 4096)
    descriptor = module.make()
    try:
        estate = Estate(descriptor)
        for id in range(100):
            estate.add(CALL, 1, request(id + 1))
            assert len(estate.slot(2)) > 1024
            KeptCounter(estate, id, "tasks", 10).refuse()
        found = [call for _, _, call in Estate(descriptor).calls()]
        assert 0 < len(found) < 100
        assert Estate(descriptor).owners(COUNTER) != []
    finally:
        os.close(descriptor)


@given(st.lists(st.one_of(st.integers(1, 40), st.none()), max_size=60))
def test_whatever_is_added_and_freed_the_rest_is_there(steps: list[int | None]) -> None:
    """A number is added; None frees the oldest."""
    descriptor = module.make()
    try:
        estate = Estate(descriptor)
        there: list[tuple[int, int]] = []
        for step in steps:
            if step is not None:
                there.append((estate.add(CALL, step, request(step)), step))
            elif there:
                estate.free(there.pop(0)[0])
        found = sorted((record, job) for record, job, _ in Estate(descriptor).calls())
        assert found == sorted(there)
    finally:
        os.close(descriptor)
