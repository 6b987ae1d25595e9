"""When each job ran: a bar for each on a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from governor.page.element import Element, element
from governor.report import (
    FAILED,
    INTERRUPTED,
    NOT_RUN,
    OK,
    SKIPPED,
    TIMEOUT,
    Attempt,
    JobReport,
    attempt_of,
)
from governor.units import format_duration

MOST_JOBS: Final = 1000
"""Jobs with a bar; the table has all."""

KINDS: Final = {
    OK: "ok", FAILED: "failed", TIMEOUT: "timeout", INTERRUPTED: "interrupted",
    NOT_RUN: "not-run", SKIPPED: "not-run",
}  # fmt: skip
"""Classes of the style sheet by status."""

_MARKS: Final = {OK: "✓", FAILED: "✗", TIMEOUT: "◷", INTERRUPTED: "■", NOT_RUN: "·", SKIPPED: "·"}
"""So that nobody depends on colours."""


def status(job: JobReport) -> Element:
    """How a job ended, in colour and in words."""
    more = ", earlier" if job.earlier else f", exit {job.exit_code}" if job.exit_code else ""
    words = f"{_MARKS.get(job.status, '?')} {job.status}{more}"
    return element("span", words, class_=f"status {KINDS.get(job.status, 'not-run')}")


def timeline(jobs: Sequence[JobReport], whole: float) -> Element:
    """The bars, with a scale above them."""
    rows = [_row(job, whole) for job in jobs[:MOST_JOBS]]
    more = len(jobs) - MOST_JOBS
    note = [element("p", f"{more:,} more are in the table below", class_="muted")] * (more > 0)
    return element("div", _scale(whole), *rows, *note, class_="timeline")


def _scale(whole: float) -> Element:
    marks = (format_duration(whole * part / 4) if part else "0 s" for part in range(5))
    ticks = element("div", *(element("span", mark) for mark in marks), class_="ticks")
    return element("div", element("div"), ticks, element("div"), class_="job")


def _bar(name: str, attempt: Attempt, whole: float) -> Element | None:
    """A bar for one start of a job, if it is known when that was."""
    if attempt.began_seconds is None:
        return None
    left = min(100.0, attempt.began_seconds / whole * 100)
    width = min(100.0 - left, attempt.wall_seconds / whole * 100)
    place = f"left:{left:.2f}%;width:{width:.2f}%"
    kind = f"bar {KINDS.get(attempt.status, 'not-run')}"
    words = (
        f"{name}: {attempt.status}, from {format_duration(attempt.began_seconds)}, "
        f"{format_duration(attempt.wall_seconds)} long"
    )
    return element("div", style=place, class_=kind, title=words)


def _row(job: JobReport, whole: float) -> Element:
    """Name, bar, and how it ended; a job of which it is not known when it began has no place."""
    attempts = job.attempts or [attempt_of(job)]
    bars = [_bar(job.name, attempt, whole) for attempt in attempts if whole > 0]
    length = format_duration(job.wall_seconds) if job.exit_code is not None else ""
    return element(
        "div",
        element("div", job.name, class_="name", title=job.name),
        element("div", *(bar for bar in bars if bar is not None), class_="track"),
        element("div", status(job), " ", element("span", length, class_="muted"), class_="end"),
        class_="job",
    )
