"""The human spellings of numbers: counts, durations, flags and lists of CPUs.

Used by control files, batch files, the command line and reports alike, so that ``4k``, ``max``,
``1m30s`` and ``0-3,5`` mean the same everywhere. Every parser raises ValueError with a message that
says what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

UNLIMITED: Final = 2**63 - 1
"""The count that stands for "no limit", spelt ``max`` in control files and reports as in cgroup."""

LARGEST_CPU: Final = 8191
"""The highest CPU number of Linux (CONFIG_NR_CPUS); it keeps ``0-999999999`` cheap to refuse."""

LARGEST_NODE: Final = 1023
"""The highest number of a memory node of Linux (CONFIG_NODES_SHIFT)."""

_COUNT = re.compile(r"(\d{1,19})([kMG]?)", re.ASCII)
_COUNT_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}

_SECONDS_PER = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(
    r"\s*".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?)\s*{unit}(?![a-z]))?" for unit in _SECONDS_PER),
    re.ASCII,
)
_BARE_SECONDS = re.compile(r"\d+(?:\.\d+)?", re.ASCII)

_CPU_RANGE = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?", re.ASCII)


class OutOfRange(ValueError):
    """A number that is larger than the kernel has room for (ERANGE)."""


def parse_flag(value: str | int) -> bool:
    """Return whether a flag, ``0`` or ``1``, is set. Raises ValueError for anything else."""
    spelling = "" if isinstance(value, bool) else str(value).strip()
    if spelling not in ("0", "1"):
        raise ValueError(f"{_quoted(value)} is not a flag: allowed are 0 and 1")
    return spelling == "1"


def parse_count(text: str | int) -> int:
    """Return the count written as ``64``, ``4k`` (4000), ``2M``, ``1G`` or ``max`` (UNLIMITED).

    Raises ValueError for anything else, a negative number included.
    """
    spelling = str(text).strip()
    if spelling == "max":
        return UNLIMITED
    match = None if isinstance(text, bool) else _COUNT.fullmatch(spelling)
    if match is None or int(match[1]) * _COUNT_FACTORS[match[2]] > UNLIMITED:
        raise ValueError(
            f"{_quoted(text)} is not a count: allowed are whole numbers from 0, with k, M or G "
            f'for thousands, millions or billions, and "max" for no limit'
        )
    return int(match[1]) * _COUNT_FACTORS[match[2]]


def format_count(count: int) -> str:
    """Return the spelling that `parse_count` reads back: plain digits, or ``max``."""
    return "max" if count >= UNLIMITED else str(count)


def parse_duration(value: str | int | float) -> float:
    """Return the seconds in ``10s``, ``1m30s``, ``250 ms``, ``2h``, ``1d`` or a bare number.

    Raises ValueError for anything else, a negative number or an empty text included.
    """
    seconds = math.nan if isinstance(value, bool) else _seconds_in(value)
    if 0 <= seconds < math.inf:
        return seconds
    raise ValueError(
        f"{_quoted(value)} is not a duration: allowed are such as 10s, 250ms, 1m30s, 2h, 1d "
        f"or a number of seconds, not below zero"
    )


def _seconds_in(value: str | int | float) -> float:
    """The seconds, infinity where there is no number for so many, NaN for what is no duration."""
    try:
        if isinstance(value, int | float):
            return float(value)
    except OverflowError:
        return math.inf
    spelling = str(value).strip()
    if _BARE_SECONDS.fullmatch(spelling):
        return float(spelling)
    match = _DURATION.fullmatch(spelling)
    if not spelling or match is None:
        return math.nan
    return sum(float(match[unit] or 0) * size for unit, size in _SECONDS_PER.items())


def format_duration(seconds: float) -> str:
    """Return seconds for people in seven characters at most, as 250 ms, 4.2 s, 1m30s, 2h05m."""
    if round(seconds * 1000) < 1000:
        return f"{round(seconds * 1000)} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24:02d}h"


def parse_cpus(text: str) -> frozenset[int]:
    """Return the CPU numbers in a list such as ``0-3,5``; see `parse_numbers`."""
    return parse_numbers(text, "CPUs")


def parse_numbers(text: str, words: str, largest: int = LARGEST_CPU) -> frozenset[int]:
    """Return the numbers in a list such as ``0-3,5``; an empty text is the empty set.

    The format is the kernel's (cpuset(7), "List Format"). Raises ValueError, which says what
    ``words`` a list has, for anything else, and OutOfRange for a number above ``largest``.
    """
    numbers: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        match = _CPU_RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= largest:
            refusal = OutOfRange if first <= last else ValueError
            raise refusal(
                f"{_quoted(part.strip())} is not a list of {words}: allowed are numbers and rising "
                f"ranges from 0 to {largest} with commas between, such as 0-3,5"
            )
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


def format_cpus(cpus: Iterable[int]) -> str:
    """Return the shortest list that `parse_cpus` reads back, such as ``0-3,5``."""
    ranges: list[tuple[int, int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1] = (ranges[-1][0], cpu)
        else:
            ranges.append((cpu, cpu))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _quoted(value: object) -> str:
    """Return a value as it was written, in double quotes when it was text."""
    return f'"{value}"' if isinstance(value, str) else str(value)
