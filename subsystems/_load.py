"""The load of a container: what it used in the last complete interval, in percent of one CPU.

Intervals are those of the hierarchy: they begin and end for all its containers at once. The
seeds' cpu_acct (message 9767) has percent of all CPUs in the interval under way, which is worth
nothing just after its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from governor.core.usage import Meter
from governor.subsystem import Subsystem, Value
from governor.units import parse_duration

DEFAULT: Final = 10.0
"""Seconds over which the load is taken at first, as in the seeds."""
LONGEST: Final = 86400.0
_NS: Final = 1_000_000_000


class Period:
    """The interval under way in a hierarchy, ``seconds`` long; it began at ``began``."""

    __slots__ = ("began", "seconds")

    def __init__(self) -> None:
        self.seconds = DEFAULT
        self.began: float | None = None


class Account(Meter):
    """What was used in a container: in all, and in the last complete interval of ``period``.

    ``mark`` is the total when the interval under way began.
    """

    __slots__ = ("load", "mark", "period")

    def __init__(self, period: Period) -> None:
        super().__init__("cpu")
        self.period = period
        self.load = self.mark = 0

    def begin(self) -> None:
        """An interval begins."""
        self.mark = self.total

    def end(self, seconds: float) -> None:
        """An interval of ``seconds`` has ended."""
        self.load = int((self.total - self.mark) * 100 / (seconds * _NS))


def turn(period: Period, accounts: Iterable[Account], now: float) -> None:
    """The totals are those of ``now``: end the interval when it has been long enough."""
    elapsed = None if period.began is None else now - period.began
    if elapsed is not None and elapsed < period.seconds:
        return
    for account in accounts:
        if elapsed is not None:
            account.end(elapsed)
        account.begin()
    period.began = now


def parse_interval(value: Value) -> float:
    """Seconds; ValueError for less than the time between two samples, or more than a day."""
    seconds = parse_duration(value)
    if not Subsystem.interval <= seconds <= LONGEST:
        raise ValueError(f"allowed are {Subsystem.interval:g}s to 1d")
    return seconds
