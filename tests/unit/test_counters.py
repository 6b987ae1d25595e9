"""Counted resources: what is charged, recounted and refused, for one and for all ancestors."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.core.counter import Counter, charge, without_room
from governor.core.forest import Forest
from governor.errors import GovernorError
from governor.units import UNLIMITED
from tests.unit.toys import Mood, loader

amounts = st.integers(0, 2**40)
counters = st.builds(
    lambda limit, charged: _counter(limit, charged),
    st.one_of(amounts, st.just(UNLIMITED)),
    amounts,
)


def _counter(limit: int, charged: int) -> Counter:
    counter = Counter(1, "tasks", limit)
    counter.charged = charged
    return counter


@given(st.lists(counters, max_size=6), amounts)
def test_room_is_what_no_ancestor_lacks(path: list[Counter], amount: int) -> None:
    full = [c for c in path if c.charged > c.limit - amount]
    assert [c for c, _ in without_room((c, amount) for c in path)] == full


@given(st.lists(counters, max_size=6), amounts)
def test_a_charge_lands_in_every_counter(path: list[Counter], amount: int) -> None:
    before = [(c.charged, c.held, c.maxheld, c.failcnt) for c in path]
    charge(((c, amount) for c in path), times=3)
    after = [(c.charged - 3 * amount, c.held, c.maxheld, c.failcnt) for c in path]
    assert before == after


@given(st.lists(st.tuples(amounts, amounts), min_size=1))
def test_recounts_replace_charges_and_the_highest_is_kept(counts: list[tuple[int, int]]) -> None:
    counter = _counter(5, 10**6)
    for held, reserved in counts:
        counter.recount(held, reserved)
        assert (counter.held, counter.charged) == (held, held + reserved)
    assert counter.maxheld == max(held for held, _ in counts)


def test_refusals_are_counted() -> None:
    counter = _counter(0, 0)
    counter.refuse()
    counter.refuse()
    assert (counter.failcnt, counter.charged, counter.held) == (2, 0, 0)


def test_no_limit_is_no_limit() -> None:
    assert not Counter(1, "tasks").limited
    assert Counter(1, "tasks", 0).limited


@pytest.fixture
def forest() -> Forest:
    forest = Forest(loader(Mood()))
    forest.mount("one", ["alpha"])
    forest.mkdir("one", "/a")
    return forest


def test_a_limit_reads_as_it_may_be_written(forest: Forest) -> None:
    container = forest.lookup("one", "/a")
    limit = forest.control_file(container, "alpha.limit")
    assert limit.read(container) == "max"
    pairs: list[tuple[int | str, int | str]]
    pairs = [(64, 64), ("4k", 4000), ("0", 0), ("max", "max"), (0, 0)]
    for written, read in pairs:
        forest.write(container, "alpha.limit", written)
        assert limit.read(container) == read
    assert limit.writable


def test_lowering_a_limit_below_what_is_held_is_not_refused(forest: Forest) -> None:
    container = forest.lookup("one", "/a")
    counter = container.states["alpha"]
    assert isinstance(counter, Counter)
    counter.recount(9)
    forest.write(container, "alpha.limit", 3)
    assert (counter.limit, counter.held) == (3, 9)
    assert without_room([(counter, 1)]) == [(counter, 1)]


@pytest.mark.parametrize("value", [-1, "-1", "", "1.5", "lots", str(2**63), True])
def test_a_bad_limit_is_einval_and_says_what_is_allowed(forest: Forest, value: int | str) -> None:
    container = forest.lookup("one", "/a")
    with pytest.raises(GovernorError) as caught:
        forest.write(container, "alpha.limit", value)
    assert caught.value.errno == errno.EINVAL
    assert "alpha.limit of one:/a" in caught.value.message
    assert "allowed are" in caught.value.message
    assert forest.control_file(container, "alpha.limit").read(container) == "max"


@pytest.mark.parametrize("file", ["alpha.held", "alpha.maxheld", "alpha.failcnt"])
def test_figures_are_read_only(forest: Forest, file: str) -> None:
    container = forest.lookup("one", "/a")
    with pytest.raises(GovernorError) as caught:
        forest.write(container, file, 1)
    assert caught.value.errno == errno.EACCES
    assert forest.control_file(container, file).read(container) == 0
    assert not forest.control_file(container, file).writable
