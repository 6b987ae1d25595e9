"""Values as systemd writes them: sizes, time spans, percentages, lists, ``infinity``.

The rules are those of systemd.syntax(7), systemd.time(7) and systemd.resource-control(5), and not
governor's own: 4K is 4096 here, and 4000 in a control file. What comes from a unit file means what
it meant there. Every parser raises ValueError with a message that says what is allowed; None
stands for ``infinity``, no limit.
"""

from __future__ import annotations

import re
from typing import Final

from governor.units import format_cpus, parse_numbers

INFINITY: Final = "infinity"

_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,9})?)\s*([KMGTPE]?)B?", re.ASCII)
_FACTORS = {letter: 1024**power for power, letter in enumerate(["", *"KMGTPE"])}

_UNITS: Final = {
    **dict.fromkeys(["us", "usec", "µs", "μs"], 1e-6),
    **dict.fromkeys(["ms", "msec"], 1e-3),
    **dict.fromkeys(["s", "sec", "second", "seconds"], 1.0),
    **dict.fromkeys(["m", "min", "minute", "minutes"], 60.0),
    **dict.fromkeys(["h", "hr", "hour", "hours"], 3600.0),
    **dict.fromkeys(["d", "day", "days"], 86400.0),
    **dict.fromkeys(["w", "week", "weeks"], 7 * 86400.0),
    **dict.fromkeys(["M", "month", "months"], 30.44 * 86400.0),
    **dict.fromkeys(["y", "year", "years"], 365.25 * 86400.0),
}
"""Units of time in seconds; a month is 30.44 days and a year 365.25 (systemd.time(7))."""

_SPAN = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-zµμ]*)", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)%", re.ASCII)


def parse_whole(text: str) -> int | None:
    """A whole number from 0; systemd takes no suffix here."""
    if text == INFINITY:
        return None
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return int(text)
    raise ValueError(f"{text!r} is not a number: allowed are such as 64, and infinity")


def parse_size(text: str) -> int | None:
    """Bytes: ``512M`` is 512 * 1024 * 1024."""
    if text == INFINITY:
        return None
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _FACTORS[match[2]]) if match else 2**63
    if size >= 2**63:
        raise ValueError(
            f"{text!r} is not a size: allowed are bytes, with K, M, G or T for powers of 1024, "
            f"and infinity"
        )
    return size


def parse_span(text: str) -> float | None:
    """Seconds: ``90``, ``5min 20s``, ``1h30m``."""
    if text == INFINITY:
        return None
    seconds, at = 0.0, 0
    spelling = text.strip()
    while match := _SPAN.match(spelling, at):
        unit = match[2] or "s"
        if unit not in _UNITS:
            break
        seconds, at = seconds + float(match[1]) * _UNITS[unit], match.end()
    if not spelling or at < len(spelling):
        raise ValueError(
            f"{text!r} is not a time span: allowed are seconds and such as 500ms, 5min 20s or 1h"
        )
    return seconds


def parse_some_span(text: str) -> float | None:
    """A time span that is longer than nothing."""
    seconds = parse_span(text)
    if seconds == 0:
        raise ValueError(f"{text!r} is no time at all: leave it out, or give one such as 10s")
    return seconds


def parse_some(text: str) -> int | None:
    """A whole number from 1."""
    number = parse_whole(text)
    if number == 0:
        raise ValueError("0 leaves no room for the command itself: allowed are 1, 2, ...")
    return number


def percent(text: str) -> float | None:
    """The part of 1 that ``25%`` is; None for what is no percentage. ValueError: over 100 %."""
    match = _PERCENT.fullmatch(text)
    if match is None:
        return None
    if float(match[1]) > 100:
        raise ValueError(f"{text!r} is more than all there is: allowed are 0% to 100%")
    return float(match[1]) / 100


def parse_list(text: str, words: str) -> str:
    """A list such as ``0-3,5 7`` in the spelling of control files; ``words`` says of what."""
    numbers = parse_numbers(re.sub(r"[\s,]+", ",", text.strip()).strip(","), words)
    if not numbers:
        raise ValueError(f"{text!r} names no {words}: allowed are such as 0-3,5")
    return format_cpus(numbers)


def parse_rlimit(text: str, unit: str) -> tuple[int | None, int | None]:
    """The soft and the hard limit in ``VALUE`` or ``SOFT:HARD``; None is no limit.

    ``unit``: of what it is a limit, ``count``, ``bytes``, ``seconds`` or ``microseconds``.
    """
    soft, colon, hard = text.partition(":")
    bounds = _rlimit(soft, unit), _rlimit(hard if colon else soft, unit)
    if bounds[1] is not None and (bounds[0] is None or bounds[0] > bounds[1]):
        raise ValueError(f"{text!r}: the soft limit, which is first, is over the hard one")
    return bounds


def _rlimit(text: str, unit: str) -> int | None:
    if unit == "count":
        return parse_whole(text)
    if unit == "bytes":
        return parse_size(text)
    if text.isascii() and text.isdigit():
        return parse_whole(text)  # without a unit it is the limit's own
    seconds = parse_span(text)
    if seconds is None:
        return None
    # A part of a second would be none: rounded up, as systemd does.
    return -int(-seconds // 1) if unit == "seconds" else round(seconds * 1e6)
