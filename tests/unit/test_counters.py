"""Counted resources: what is charged, recounted and refused, for one and for all ancestors."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.core.container import Container
from governor.core.counter import FIGURES, Counter, charge, without_room
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


def test_held_is_read_only(forest: Forest) -> None:
    container = forest.lookup("one", "/a")
    with pytest.raises(GovernorError) as caught:
        forest.write(container, "alpha.held", 0)
    assert caught.value.errno == errno.EACCES
    assert not forest.control_file(container, "alpha.held").writable


# -- figures that are reset ---------------------------------------------------------------


@pytest.mark.parametrize(("figure", "reset"), [("maxheld", 4), ("minheld", 4), ("failcnt", 0)])
@pytest.mark.parametrize("zero", [0, "0"])
def test_a_zero_resets_a_figure(forest: Forest, figure: str, reset: int, zero: int | str) -> None:
    container = forest.lookup("one", "/a")
    counter = of(container)
    for held in (9, 1, 4):
        counter.recount(held)
    counter.refuse()
    before = {name: getattr(counter, name) for name in FIGURES}
    assert before == {"maxheld": 9, "minheld": 0, "failcnt": 1}
    forest.write(container, f"alpha.{figure}", zero)
    after = {name: getattr(counter, name) for name in FIGURES}
    assert after == before | {figure: reset}
    assert counter.resets == {figure}
    assert counter.held == 4


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("value", [1, -1, "", "max", "00", False, "zero"])
def test_nothing_else_can_be_written_to_a_figure(
    forest: Forest, figure: str, value: int | str
) -> None:
    container = forest.lookup("one", "/a")
    of(container).recount(3)
    with pytest.raises(GovernorError, match="allowed is 0, which resets it") as caught:
        forest.write(container, f"alpha.{figure}", value)
    assert caught.value.errno == errno.EINVAL
    assert not of(container).resets


def test_the_lowest_that_was_held_is_told_from_a_reset_on(forest: Forest) -> None:
    """As in the seeds a counter begins with nothing held, so that its minheld is 0."""
    counter = of(forest.lookup("one", "/a"))
    counter.recount(5)
    assert counter.minheld == 0
    counter.reset("minheld")
    for held in (8, 6, 7):
        counter.recount(held)
    assert (counter.minheld, counter.maxheld) == (5, 8)
    counter.recount(2)
    assert counter.minheld == 2


# -- barriers -----------------------------------------------------------------------------


def test_a_barrier_follows_the_limit_unless_it_is_set(forest: Forest) -> None:
    container = forest.lookup("one", "/a")
    barrier = forest.control_file(container, "alpha.barrier")
    forest.write(container, "alpha.limit", 8)
    assert (barrier.read(container), of(container).ceiling) == ("max", 8)
    forest.write(container, "alpha.barrier", 5)
    assert (barrier.read(container), of(container).ceiling) == (5, 5)
    forest.write(container, "alpha.limit", "max")
    assert of(container).ceiling == 5
    forest.write(container, "alpha.limit", 6)
    forest.write(container, "alpha.barrier", "max")
    assert of(container).ceiling == 6


def test_a_barrier_alone_limits(forest: Forest) -> None:
    container = forest.lookup("one", "/a")
    assert not of(container).limited
    forest.write(container, "alpha.barrier", 0)
    assert of(container).limited


@pytest.mark.parametrize(
    ("file", "value", "line"),
    [
        (
            "alpha.barrier",
            9,
            "alpha.barrier of one:/a cannot be 9: allowed is alpha.limit, 8, or less, "
            "or max to follow it",
        ),
        (
            "alpha.limit",
            4,
            "alpha.limit of one:/a cannot be 4: it must not be below alpha.barrier, which is 5",
        ),
    ],
)
def test_a_barrier_is_never_over_the_limit(
    forest: Forest, file: str, value: int, line: str
) -> None:
    container = forest.lookup("one", "/a")
    forest.write(container, "alpha.limit", 8)
    forest.write(container, "alpha.barrier", 5)
    with pytest.raises(GovernorError) as caught:
        forest.write(container, file, value)
    assert (caught.value.errno, caught.value.message) == (errno.EINVAL, line)
    assert (of(container).barrier, of(container).limit, of(container).ceiling) == (5, 8, 5)


@given(st.lists(st.tuples(st.sampled_from(["limit", "barrier"]), amounts | st.just(UNLIMITED))))
def test_the_ceiling_is_the_lower_of_both_bounds(writes: list[tuple[str, int]]) -> None:
    counter = Counter(1, "tasks")
    bounds = {"limit": UNLIMITED, "barrier": UNLIMITED}
    for bound, value in writes:
        setattr(counter, bound, value)
        bounds[bound] = value
        assert counter.ceiling == min(bounds.values())
        assert {name: getattr(counter, name) for name in bounds} == bounds


@given(st.lists(st.tuples(counters, amounts), max_size=6), amounts)
def test_the_privileged_have_room_up_to_the_limit(
    path: list[tuple[Counter, int]], amount: int
) -> None:
    for counter, barrier in path:
        counter.barrier = barrier
    entries = [(counter, amount) for counter, _ in path]
    ordinary = [c for c, _ in path if c.charged + amount > min(c.barrier, c.limit)]
    assert [c for c, _ in without_room(entries)] == ordinary
    over = [c for c, _ in path if c.charged + amount > c.limit]
    assert [c for c, _ in without_room(entries, privileged=True)] == over


# -- rates --------------------------------------------------------------------------------


@given(
    st.integers(0, 5),
    st.floats(0.1, 10),
    st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=60),
)
def test_a_rate_admits_no_more_than_its_limit_in_an_interval(
    limit: int, interval: float, waits: list[tuple[float, bool]]
) -> None:
    """The naive model: an interval begins with the first charge after the last one is over."""
    counter = Counter(1, "tasks", limit, interval=interval)
    now = begun = 0.0
    charged: list[int] = []
    for wait, wants in waits:
        now += wait
        if wants:
            counter.begin(now)
            if not charged or now - begun >= interval:
                charged.append(0)
                begun = now
            fits = charged[-1] < limit
            assert bool(without_room([(counter, 1)])) is not fits
            if fits:
                charge([(counter, 1)])
                charged[-1] += 1
        else:
            counter.tick(now)
            running = charged and now - begun < interval
            assert counter.held == (charged[-1] if running else 0)
            assert counter.maxheld == max(charged, default=0)


@pytest.fixture
def forest() -> Forest:
    forest = Forest(loader(Mood()))
    forest.mount("one", ["alpha"])
    forest.mkdir("one", "/a")
    return forest


def of(container: Container) -> Counter:
    """The counter of a container."""
    counter = container.states["alpha"]
    assert isinstance(counter, Counter)
    return counter
