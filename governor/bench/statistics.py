"""Medians, their confidence intervals, and when not to conclude.

Pure functions over samples. Intervals are order statistics of the samples themselves (the interval
of the sign test): they assume no distribution, need no resampling and are the same on every run.
Samples of two surroundings are compared in pairs taken moments apart, so that a machine that grows
slower during a run does not show as a difference.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

CONFIDENCE: Final = 0.95

SHARES: Final = (
    *(percent / 100 for percent in range(100)),
    *(0.995, 0.999, 0.9995, 0.9999, 1.0),
)
"""Of which a distribution keeps the quantiles: every percent, and more of the slow end."""

_FAR: Final = 3.5
"""Modified z-scores beyond which a sample counts as an outlier (Iglewicz and Hoaglin, 1993)."""
_ENOUGH: Final = 400
"""Samples of which more would only make the pairs of all with all too many."""


class Estimate(NamedTuple):
    """A median, the interval it lies in with 95 % confidence, and the spread of single samples.

    ``low`` and ``high`` are infinite when there are too few samples (under six) for any interval;
    ``spread`` is the median absolute deviation.
    """

    value: float
    low: float
    high: float
    spread: float
    samples: int

    @property
    def conclusive(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def excludes(self, value: float) -> bool:
        """Whether the estimate differs from ``value`` by more than the noise."""
        return not self.low <= value <= self.high


class Verdict(enum.Enum):
    """What may be said about a bound: met, not met, or nothing, and why nothing."""

    OK = "ok"
    MISSED = "MISSED"
    NOISE = "noise"
    """The noise is larger than the difference."""
    ABSENT = "absent"
    """One of the surroundings compared is missing."""


def median(values: Iterable[float]) -> float:
    """Return the middle value, or the mean of the middle two; raises ValueError for no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values have no median")
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return math.fsum(ordered[middle - 1 : middle + 1]) / 2


def deviation(values: Sequence[float]) -> float:
    """Return the median absolute deviation from the median."""
    centre = median(values)
    return median(abs(value - centre) for value in values)


def outliers(values: Sequence[float]) -> list[int]:
    """Return where the values are that lie too far from the median to be of the same kind.

    They stay in every figure: medians bear them, and they may be what somebody looks for.
    """
    centre, spread = median(values), deviation(values)
    far = _FAR * spread / 0.6745
    return [at for at, value in enumerate(values) if abs(value - centre) > far > 0]


def quantiles(values: Sequence[float]) -> list[float]:
    """Return, for each of SHARES, the least value that this share of the values does not exceed."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [ordered[min(max(math.ceil(share * len(ordered)) - 1, 0), last)] for share in SHARES]


def interval_rank(count: int, confidence: float = CONFIDENCE) -> int | None:
    """Return the rank k for which the k-th smallest and k-th largest sample enclose the median.

    Counted from 1. The number of samples below the true median is binomial(count, 1/2), so k is
    the largest with P(fewer than k below) <= (1 - confidence) / 2. None when even the extremes are
    not enough.
    """
    tail, rank = 0, 0
    while (tail + math.comb(count, rank)) / 2**count <= (1 - confidence) / 2:
        tail += math.comb(count, rank)
        rank += 1
    return rank or None


def estimate(values: Sequence[float]) -> Estimate:
    """Return the median of ``values`` with its interval; raises ValueError for no values."""
    ordered = sorted(values)
    rank = interval_rank(len(ordered))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (-math.inf, math.inf)
    finite = [value for value in ordered if math.isfinite(value)]
    spread = deviation(finite) if finite else math.inf
    return Estimate(median(ordered), low, high, spread, len(ordered))


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Return the median of the paired quotients ``above / below``."""
    return estimate([a / b for a, b in zip(above, below, strict=True)])


def difference(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Return the median of the paired differences ``above - below``."""
    return estimate([a - b for a, b in zip(above, below, strict=True)])


def excess_ratio(
    subject: Sequence[float], reference: Sequence[float], base: Sequence[float]
) -> Estimate | None:
    """Return how many times ``reference``'s excess over ``base`` the ``subject``'s excess is.

    None when ``reference`` does not exceed ``base`` by more than the noise, for then the quotient
    means nothing. The value is the quotient of the medians; the interval comes from the pairs, of
    which one whose reference shows no excess counts as infinitely large (or as zero, when its
    subject shows none either).
    """
    below = difference(reference, base)
    if not below.low > 0 or not below.conclusive:
        return None
    pairs = zip(
        (s - b for s, b in zip(subject, base, strict=True)),
        (r - b for r, b in zip(reference, base, strict=True)),
        strict=True,
    )
    quotients = estimate([a / b if b > 0 else math.inf if a > 0 else 0.0 for a, b in pairs])
    return quotients._replace(value=difference(subject, base).value / below.value)


def change(
    after: Sequence[float], before: Sequence[float], confidence: float = CONFIDENCE
) -> Estimate:
    """Return how many times ``before`` the values ``after`` are, for samples that are no pairs.

    It is the median of the quotients of all with all (Hodges and Lehmann), with the interval of the
    rank sum test (Mann and Whitney), for which the samples need not follow any distribution, only
    the same one but for a factor.
    """
    above, below = _thinned(after), _thinned(before)
    quotients = sorted(a / b for a in above for b in below)
    pairs = len(quotients)
    width = NormalDist().inv_cdf((1 + confidence) / 2)
    deviate = math.sqrt(pairs * (len(above) + len(below) + 1) / 12)
    rank = math.floor(pairs / 2 - width * deviate)
    low, high = (quotients[rank - 1], quotients[-rank]) if rank > 0 else (-math.inf, math.inf)
    count = min(len(after), len(before))
    return Estimate(median(quotients), low, high, deviation(quotients), count)


def _thinned(values: Sequence[float]) -> Sequence[float]:
    """Return at most _ENOUGH of the values, evenly taken."""
    return values[:: math.ceil(len(values) / _ENOUGH)]


def judge(found: Estimate | None, bound: float) -> Verdict:
    """Say whether ``found`` is at most ``bound``, or that its interval leaves that open."""
    if found is None or not found.conclusive:
        return Verdict.NOISE
    if found.high <= bound:
        return Verdict.OK
    return Verdict.MISSED if found.low > bound else Verdict.NOISE
