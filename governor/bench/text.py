"""How numbers are written in the tables."""

from __future__ import annotations

from governor.bench.statistics import Estimate


def duration(nanoseconds: float) -> str:
    """Return a duration with three or four digits and the unit that fits."""
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if abs(nanoseconds) >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.1f} ns"


def times(ratio: float) -> str:
    """Return a factor; three decimals where these can mean anything."""
    return f"{number(ratio)}x"


def number(ratio: float) -> str:
    """Return a factor without its unit."""
    decimals = 4 if abs(ratio) < 0.1 else 3 if abs(ratio) < 10 else 1
    return f"{ratio:.{decimals}f}"


def interval(found: Estimate) -> str:
    """Return the interval of a factor."""
    return f"{number(found.low)}-{number(found.high)}" if found.conclusive else "too few"


def size(number_of_bytes: float) -> str:
    """Return a number of bytes, in units of 1000."""
    for factor, unit in ((1e6, "MB"), (1e3, "kB")):
        if abs(number_of_bytes) >= factor:
            return f"{number_of_bytes / factor:.2f} {unit}"
    return f"{number_of_bytes:.0f} B"
