from __future__ import annotations

import json
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.bench import machine, operations, report, runner, statistics, targets
from governor.bench.operations import OPERATIONS, Operation
from governor.bench.runner import Settings
from governor.bench.statistics import Estimate, Verdict
from governor.bench.targets import Kind
from governor.errors import GovernorError

FINITE = st.floats(min_value=0.1, max_value=1e9)
SAMPLES = st.lists(FINITE, min_size=1, max_size=60)


def spread_around(centre: float, count: int = 21) -> list[float]:
    """Samples in no order, half a percent apart, whose median is ``centre``."""
    half = count // 2
    return [centre * (1 + ((i * 8) % count - half) * 0.005) for i in range(count)]


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


class FakeVariant:
    """Takes as long as it is told, and can fail from its n-th run on."""

    def __init__(self, name: str, nanoseconds: float, fails_at: int | None = None) -> None:
        self.name = name
        self.runs: list[tuple[str, int]] = []
        self._nanoseconds = nanoseconds
        self._fails_at = fails_at

    def run(self, operation: str, count: int) -> float:
        self.runs.append((operation, count))
        if self._fails_at is not None and len(self.runs) >= self._fails_at:
            raise GovernorError(5, f"{self.name} broke")
        return self._nanoseconds


OPEN = Operation("open", "open+close", 10)


def ignore(_: str) -> None:
    """Show no progress."""


def test_a_sample_takes_its_time_in_every_variant() -> None:
    slow, fast = FakeVariant("slow", 1000.0), FakeVariant("fast", 10.0)
    runner.measure([OPEN], [slow, fast], Settings(2, 0.001, 60.0), ignore)
    assert [count for _, count in slow.runs] == [10, 1000, 1000]
    assert [count for _, count in fast.runs] == [10, 100_000, 100_000]


def test_a_variant_that_fails_is_left_out_and_told() -> None:
    good, bad = FakeVariant("good", 7.0), FakeVariant("bad", 7.0, fails_at=3)
    measured = runner.measure([OPEN], [good, bad], Settings(4, 0.001, 60.0), ignore)
    assert measured.samples == {"open": {"good": [7.0] * 4}}
    assert "bad broke" in measured.failed["bad"]
    assert len(bad.runs) == 3


def test_no_round_begins_after_the_deadline_but_one_always_runs() -> None:
    ticks = iter([0.0, 61.0])
    variant = FakeVariant("only", 7.0)
    settings = Settings(9, 0.001, 60.0)
    measured = runner.measure([OPEN], [variant], settings, ignore, clock=lambda: next(ticks))
    assert measured.rounds == 1
    assert measured.samples == {"open": {"only": [7.0]}}


def test_every_variant_is_first_in_turn() -> None:
    variants = [FakeVariant(name, 1.0) for name in "abc"]
    orders = ["".join(v.name for v in runner.rotated(variants, turn)) for turn in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_only_names_what_there_is() -> None:
    assert operations.parse_only("open, fork") == ["fork", "open"]
    with pytest.raises(ValueError, match='no operation "oven": allowed are fork, thread, open'):
        operations.parse_only("open,oven")


def sample_result() -> report.Result:
    """A run in which the governor meets every target but the start-up one."""
    cost = {"ungoverned": 1.0, "floor": 3.0, "governed-1": 4.0, "governed-8": 4.1}
    samples = {"open": {name: spread_around(1000.0 * times) for name, times in cost.items()}}
    samples["startup"] = {
        "true": spread_around(1e6),
        "governor run -- true": spread_around(300e6),
    }
    facts = machine.describe()
    return report.Result(facts, facts, 21, samples, {}, {"cgroup-v1": "not mounted"})


def test_targets_are_judged_only_for_what_was_measured() -> None:
    outcomes = targets.check(sample_result().samples)
    verdicts = {outcome.target.text: outcome.verdict for outcome in outcomes}
    assert verdicts == {
        "a trap of open+close <= 1.6x of the floor's": Verdict.OK,
        "open+close <= 12 us over ungoverned": Verdict.OK,
        "open+close: 8 hierarchies <= 1.05x of 1": Verdict.OK,
        "governor run -- true <= 120 ms over true": Verdict.MISSED,
    }


def test_a_target_without_its_variant_is_not_met() -> None:
    samples = sample_result().samples
    del samples["open"]["governed-1"]
    verdicts = [o.verdict for o in targets.check(samples) if o.target.operation == "open"]
    assert verdicts == [Verdict.ABSENT] * 3


def test_targets_speak_of_operations_there_are() -> None:
    known = {operation.name for operation in OPERATIONS} | {operations.STARTUP}
    assert {target.operation for target in targets.TARGETS} <= known
    assert {target.kind for target in targets.TARGETS} == set(Kind)


def test_the_table_shows_ratios_verdicts_and_reasons() -> None:
    text = report.to_text(sample_result())
    assert "4.000x" in text
    assert "1.50x" in text
    assert "MISSED governor run -- true" in text
    assert "cgroup-v1 skipped: not mounted" in text


def test_the_json_has_its_documented_keys() -> None:
    found = json.loads(json.dumps(report.to_json(sample_result()), allow_nan=False))
    keys = {"version", "machine", "rounds", "operations", "targets", "failed", "skipped"}
    assert found.keys() == keys
    assert found["version"] == 1
    figures = found["operations"]["open"]["governed-1"]
    assert figures.keys() == {"ns", "ratio", "excess_ns", "excess_ratio", "samples_ns"}
    assert figures["ratio"]["median"] == pytest.approx(4.0)
    assert figures["ratio"].keys() == {"median", "low", "high", "spread", "samples"}


def test_json_without_enough_samples_has_no_interval() -> None:
    result = sample_result()
    few = {op: {v: s[:3] for v, s in row.items()} for op, row in result.samples.items()}
    found = json.loads(json.dumps(report.to_json(result._replace(samples=few)), allow_nan=False))
    assert found["operations"]["open"]["governed-1"]["ratio"]["low"] is None
    assert {target["verdict"] for target in found["targets"]} == {"noise"}
