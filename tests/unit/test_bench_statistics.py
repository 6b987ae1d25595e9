from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.bench import statistics
from governor.bench.statistics import Estimate, Verdict
from tests.unit.bench_results import spread_around

FINITE = st.floats(min_value=0.1, max_value=1e9)
SAMPLES = st.lists(FINITE, min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("values", "middle"),
    [([3.0], 3.0), ([1.0, 9.0], 5.0), ([9.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 100.0], 3.0)],
)
def test_median(values: list[float], middle: float) -> None:
    assert statistics.median(values) == middle


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        statistics.median([])


def test_the_deviation_ignores_an_outlier() -> None:
    assert statistics.deviation([1.0, 2.0, 3.0, 4.0, 1e9]) == 1.0


@pytest.mark.parametrize(
    ("count", "rank"),
    # The usual table of the sign test's 95 % intervals.
    [(5, None), (6, 1), (8, 1), (9, 2), (15, 4), (20, 6), (25, 8), (50, 18), (100, 40)],
)
def test_interval_ranks_are_those_of_the_sign_test(count: int, rank: int | None) -> None:
    assert statistics.interval_rank(count) == rank


@given(SAMPLES)
def test_an_interval_encloses_its_median(values: list[float]) -> None:
    found = statistics.estimate(values)
    assert found.low <= found.value <= found.high
    assert found.conclusive == (len(values) >= 6)
    assert min(values) <= found.value <= max(values)


@given(SAMPLES, st.randoms())
def test_the_order_of_samples_does_not_matter(values: list[float], random: Random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert statistics.estimate(shuffled) == statistics.estimate(values)


def test_pairs_cancel_a_machine_that_grows_slower() -> None:
    base = [100.0 * (1 + i) for i in range(20)]
    twice = [2 * value for value in base]
    found = statistics.ratio(twice, base)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    assert statistics.estimate(base).excludes(10.0)
    assert not statistics.estimate(base).excludes(1000.0)


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        statistics.ratio([1.0, 2.0], [1.0])


def test_excess_ratio_compares_what_is_added() -> None:
    base = [10.0] * 9
    found = statistics.excess_ratio([16.0] * 9, [14.0] * 9, base)
    assert found is not None
    assert (found.value, found.low, found.high) == (1.5, 1.5, 1.5)


def test_excess_ratio_refuses_when_the_reference_drowns_in_noise() -> None:
    base = spread_around(100.0)
    reference = list(reversed([value + 0.1 for value in base]))
    assert statistics.excess_ratio(spread_around(110.0), reference, base) is None
    assert statistics.excess_ratio([9.0] * 3, [8.0] * 3, [7.0] * 3) is None, "too few to say"


def test_a_pair_without_excess_counts_as_infinite_and_lies_outside_the_interval() -> None:
    base, subject = [10.0] * 9, [16.0] * 9
    found = statistics.excess_ratio(subject, [14.0] * 8 + [9.0], base)
    assert found is not None
    assert (found.value, found.low, found.high, found.samples) == (1.5, 1.5, 1.5, 9)
    assert statistics.excess_ratio(subject, [14.0] * 7 + [9.0] * 2, base) is None


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Estimate(1.0, 0.9, 1.1, 0.1, 20), Verdict.OK),
        (Estimate(1.0, 0.9, 1.2, 0.1, 20), Verdict.OK),
        (Estimate(1.3, 1.25, 1.4, 0.1, 20), Verdict.MISSED),
        (Estimate(1.1, 0.9, 1.3, 0.1, 20), Verdict.NOISE),
        (Estimate(9.0, -math.inf, math.inf, 0.1, 3), Verdict.NOISE),
        (None, Verdict.NOISE),
    ],
)
def test_a_bound_is_met_missed_or_left_open(found: Estimate | None, verdict: Verdict) -> None:
    assert statistics.judge(found, 1.2) is verdict


@given(SAMPLES)
def test_quantiles_rise_to_the_slowest(values: list[float]) -> None:
    found = statistics.quantiles(values)
    assert len(found) == len(statistics.SHARES)
    assert found == sorted(found)
    assert (found[0], found[-1]) == (min(values), max(values))
    assert set(found) <= set(values)


def test_a_quantile_is_the_least_value_that_the_share_does_not_exceed() -> None:
    found = dict(zip(statistics.SHARES, statistics.quantiles([*range(1, 101)]), strict=True))
    assert (found[0.01], found[0.5], found[0.99], found[0.999], found[1.0]) == (1, 50, 99, 100, 100)


def test_outliers_are_told_by_their_place() -> None:
    assert statistics.outliers([1.0, 1.1, 0.9, 50.0, 1.05, 0.95, 1.0]) == [3]
    assert statistics.outliers([1.0, 1.0, 1.0, 9.0]) == [], "without any spread nothing is far"


@given(SAMPLES, st.floats(min_value=0.5, max_value=2.0))
def test_outliers_do_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    scaled = [value * 2.0 ** round(unit) for value in values]
    assert statistics.outliers(scaled) == statistics.outliers(values)


@given(SAMPLES)
def test_nothing_changed_between_a_result_and_itself(values: list[float]) -> None:
    found = statistics.change(values, values)
    assert found.low <= 1.0 <= found.high
    assert found.value == pytest.approx(1.0)


@given(SAMPLES, SAMPLES)
def test_a_change_back_is_the_inverse(old: list[float], new: list[float]) -> None:
    there, back = statistics.change(new, old), statistics.change(old, new)
    assert there.conclusive == back.conclusive
    if there.conclusive:
        assert there.low == pytest.approx(1 / back.high)
        assert there.high == pytest.approx(1 / back.low)


@given(SAMPLES, SAMPLES, st.integers(min_value=-8, max_value=8))
def test_a_change_scales_with_the_samples(old: list[float], new: list[float], power: int) -> None:
    factor = 2.0**power
    found = statistics.change([value * factor for value in new], old)
    once = statistics.change(new, old)
    assert found.value == pytest.approx(once.value * factor)
    assert (found.low, found.high) == (once.low * factor, once.high * factor)


@given(SAMPLES, SAMPLES)
def test_more_confidence_is_a_wider_interval(old: list[float], new: list[float]) -> None:
    narrow, wide = (statistics.change(new, old, confidence) for confidence in (0.9, 0.999))
    assert wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high


def test_an_interval_of_a_change_covers_as_often_as_it_says() -> None:
    random = Random(7)
    covered = 0
    for _ in range(300):
        old, new = ([random.lognormvariate(0, 0.2) for _ in range(20)] for _ in range(2))
        found = statistics.change(new, old)
        covered += found.low <= 1.0 <= found.high
    assert covered > 300 * 0.9


def test_thousands_of_samples_are_thinned_before_all_are_paired_with_all() -> None:
    found = statistics.change([2.0] * 10_000, [1.0] * 9_999)
    assert (found.value, found.low, found.high, found.samples) == (2.0, 2.0, 2.0, 9_999)
