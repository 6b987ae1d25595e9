"""Counts, durations and CPU lists: what is read, what is refused, and writing as the inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import units


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("64", 64), (" 7 ", 7), ("4k", 4000), ("2M", 2_000_000), ("1G", 10**9), (12, 12)],
)
def test_counts_are_read(text: str | int, count: int) -> None:
    assert units.parse_count(text) == count


def test_max_is_no_limit() -> None:
    assert units.parse_count("max") == units.UNLIMITED
    assert units.format_count(units.UNLIMITED) == "max"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "1.5",
        "k",
        "4K",
        "4 k",
        "0x10",
        "1e3",
        "inf",
        "٣",
        str(2**63),
        "9" * 30,
        "99G9",
        True,
        -5,
    ],
)
def test_other_counts_are_refused_with_what_is_allowed(text: str | int) -> None:
    with pytest.raises(ValueError, match="whole numbers from 0"):
        units.parse_count(text)


@given(st.integers(min_value=0, max_value=units.UNLIMITED))
def test_counts_come_back_from_their_spelling(count: int) -> None:
    assert units.parse_count(units.format_count(count)) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10), ("1m30s", 90), ("250ms", 0.25), ("2h", 7200), (1.5, 1.5), (3, 3), ("1.5", 1.5),
        ("0", 0),
        ("1d2h3m4s5ms", 93784.005), ("2h 05m", 7500), (" 4.2 s ", 4.2), ("0.5m", 30), ("90m", 5400),
    ],
)  # fmt: skip
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-1s",
        "1x",
        "s",
        "30s1m",
        "1m2m",
        "1 5s",
        "1e3",
        ".5s",
        "nan",
        -1,
        float("nan"),
        float("inf"),
        10**400,
        "9" * 400,
        "9" * 400 + "d",
        True,
    ],
)
def test_other_durations_are_refused_with_what_is_allowed(text: str | float) -> None:
    with pytest.raises(ValueError, match="1m30s"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"), (0.0004, "0 ms"), (0.25, "250 ms"), (0.9999, "1.0 s"), (4.21, "4.2 s"),
        (59.94, "59.9 s"), (59.97, "1m00s"), (90, "1m30s"),
        (3599.6, "1h00m"), (7500, "2h05m"), (3 * 86400, "3d00h"),
    ],
)  # fmt: skip
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=90 * 86400))
def test_a_written_duration_is_near_what_was_meant(seconds: float) -> None:
    text = units.format_duration(seconds)
    assert len(text) <= 7
    assert units.parse_duration(text) == pytest.approx(seconds, rel=0.06, abs=0.0006)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", []),
        ("3", [3]),
        ("0-3,5", [0, 1, 2, 3, 5]),
        (" 0 , 2 - 3 ", [0, 2, 3]),
        ("1,1-2,2", [1, 2]),
        ("007", [7]),
    ],
)
def test_cpu_lists_are_read(text: str, cpus: list[int]) -> None:
    assert units.parse_cpus(text) == frozenset(cpus)


@pytest.mark.parametrize(
    "text", ["-1", "3-1", "a", "0-", "1,,2", "1,", "0-999999999", "8192", "1 2", "0x1", "1;2"]
)
def test_other_cpu_lists_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="such as 0-3,5"):
        units.parse_cpus(text)


@given(st.frozensets(st.integers(min_value=0, max_value=units.LARGEST_CPU), max_size=40))
def test_cpu_lists_come_back_from_their_spelling(cpus: frozenset[int]) -> None:
    assert units.parse_cpus(units.format_cpus(cpus)) == cpus


def test_cpu_lists_are_written_with_ranges() -> None:
    assert units.format_cpus({5, 0, 1, 2, 3}) == "0-3,5"
    assert units.format_cpus(()) == ""
