"""Values as systemd writes them; the expectations are those of its manual pages."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.cli import systemd
from governor.units import parse_cpus


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # systemd.time(7), "Parsing Time Spans"
        ("2 h", 7200),
        ("2hours", 7200),
        ("48hr", 48 * 3600),
        ("1y 12month", 365.25 * 86400 + 12 * 30.44 * 86400),
        ("55s500ms", 55.5),
        ("300ms20s 5day", 0.3 + 20 + 5 * 86400),
        ("5min 20s", 320),
        ("50", 50),
        ("0.5", 0.5),
        ("20us", 0.00002),
        ("infinity", None),
    ],
)
def test_spans(text: str, seconds: float | None) -> None:
    assert systemd.parse_span(text) == (seconds and pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("4K", 4096),
        ("512M", 512 << 20),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        ("1GB", 1 << 30),
        ("infinity", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert systemd.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "unit", "limits"),
    [
        ("64", "count", (64, 64)),
        ("64:infinity", "count", (64, None)),
        ("1K:1M", "bytes", (1024, 1 << 20)),
        ("1ms", "seconds", (1, 1)),
        ("90", "seconds", (90, 90)),
        ("5min", "seconds", (300, 300)),
        ("250", "microseconds", (250, 250)),
        ("1s:infinity", "microseconds", (10**6, None)),
    ],
)
def test_limits_of_processes(text: str, unit: str, limits: tuple[int | None, int | None]) -> None:
    assert systemd.parse_rlimit(text, unit) == limits


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (systemd.parse_span, ""),
        (systemd.parse_span, "soon"),
        (systemd.parse_span, "-1"),
        (systemd.parse_span, "1fortnight"),
        (systemd.parse_some_span, "0"),
        (systemd.parse_size, "1k"),
        (systemd.parse_size, "-1"),
        (systemd.parse_size, "9" * 20 + "E"),
        (systemd.parse_whole, "4k"),
        (systemd.parse_whole, "4.0"),
        (systemd.parse_some, "0"),
        (systemd.percent, "101%"),
    ],
)
def test_what_is_refused(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=r"allowed|leave"):
        parse(text)


def test_the_soft_limit_is_not_over_the_hard_one() -> None:
    for text in ("5:3", "infinity:3"):
        with pytest.raises(ValueError, match="soft"):
            systemd.parse_rlimit(text, "count")


@given(st.frozensets(st.integers(0, 200), min_size=1), st.sampled_from([" ", ",", ", ", "\t"]))
def test_lists(numbers: frozenset[int], between: str) -> None:
    text = between.join(map(str, sorted(numbers)))
    assert parse_cpus(systemd.parse_list(text, "CPUs")) == numbers


@given(st.text(max_size=12))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (systemd.parse_span, systemd.parse_size, systemd.parse_whole, systemd.percent):
        with contextlib.suppress(ValueError):
            parse(text)
