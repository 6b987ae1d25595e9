"""Two results side by side: what has become slower, what faster, and what nobody can say.

Rows are compared by their ratios to their base, so that a faster machine is no faster governor; a
row that is a base by its times, which tells of the machine.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from governor.bench import statistics
from governor.bench.result import Result
from governor.bench.statistics import Estimate

SMALLEST: Final = 1.02
"""Less than this factor is never told: programs laid out otherwise in memory differ as much."""
SAME: Final = 1.05
"""A change that is surely less than this factor is called none."""
FALSE_ALARMS: Final = 0.05
"""The probability that in a comparison of equals any row at all is called slower or faster."""


class Change(enum.Enum):
    """What may be said of a row."""

    SLOWER = "SLOWER"
    FASTER = "faster"
    SAME = "same"
    NOISE = "noise"
    """The noise is larger than the difference, if there is one."""


class Row(NamedTuple):
    """One operation in one surrounding: old and new median in ns, and how the figure changed.

    ``absolute``: times were compared, for want of a base, so it may be the machine that changed.
    """

    section: str
    operation: str
    surrounding: str
    old: float
    new: float
    found: Estimate
    change: Change
    absolute: bool


class Comparison(NamedTuple):
    """All rows that both results have, those that only one has, and facts that differ."""

    rows: list[Row]
    only_old: list[str]
    only_new: list[str]
    differences: dict[str, tuple[object, object]]

    @property
    def slower(self) -> bool:
        """Whether governor, rather than the machine, has become slower anywhere."""
        return any(row.change is Change.SLOWER and not row.absolute for row in self.rows)


_FACTS: Final = ("kernel", "cpu", "cpus_usable", "frequency_governor", "python", "libc", "governor")

_Key = tuple[str, str, str]


class _Series(NamedTuple):
    """The samples of one row and those of its base."""

    values: list[float]
    base: str
    of_base: list[float]


def compare(old: Result, new: Result) -> Comparison:
    """Compare two results."""
    before, after = dict(_series(old)), dict(_series(new))
    both = [key for key in before if key in after]
    confidence = 1 - FALSE_ALARMS / max(len(both), 1)
    rows = [_row(key, before[key], after[key], confidence) for key in both]
    return Comparison(
        rows,
        _missing(before, after),
        _missing(after, before),
        {
            fact: (old.before.get(fact), new.before.get(fact))
            for fact in _FACTS
            if old.before.get(fact) != new.before.get(fact)
        },
    )


def _missing(here: Iterable[_Key], there: Collection[_Key]) -> list[str]:
    """Return what is only here: a section by its name when nothing of it is there."""
    sections = {section for section, _, _ in there}
    names = (" ".join(key) if key[0] in sections else key[0] for key in here if key not in there)
    return list(dict.fromkeys(names))


def _series(result: Result) -> Iterator[tuple[_Key, _Series]]:
    """Give every row of a result."""
    for section, part in result.parts.items():
        for operation, row in part.samples.items():
            base = next(iter(row))
            for name, values in row.items():
                yield (section, operation, name), _Series(values, base, row[base])


def _row(key: _Key, before: _Series, after: _Series, confidence: float) -> Row:
    absolute = before.base != after.base or before.base == key[2]
    old, new = (
        series.values if absolute else _ratios(series.values, series.of_base)
        for series in (before, after)
    )
    found = statistics.change(new, old, confidence)
    medians = statistics.median(before.values), statistics.median(after.values)
    return Row(*key, *medians, found, judge(found), absolute)


def _ratios(values: list[float], base: list[float]) -> list[float]:
    return [value / other for value, other in zip(values, base, strict=True)]


def judge(found: Estimate) -> Change:
    """Say what may be said of a change, by its whole interval."""
    if found.low > SMALLEST:
        return Change.SLOWER
    if found.high < 1 / SMALLEST:
        return Change.FASTER
    if found.low > 1 / SAME and found.high < SAME:
        return Change.SAME
    return Change.NOISE
