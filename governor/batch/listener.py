"""What a runner tells those who follow a batch: what is shown, logged and written of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from governor.batch.plan import JobPlan
from governor.report import JobReport


class Running(NamedTuple):
    """A job that runs: since when (monotonic clock) and in which containers."""

    name: str
    since: float
    containers: Sequence[str]


class Now(NamedTuple):
    """What goes on now. ``waiting`` jobs are to come, ``delayed`` of these wait for a retry."""

    running: Sequence[Running]
    waiting: int
    delayed: int = 0


class Listener:
    """Hears what happens to jobs; nothing here does anything. None of these may raise."""

    def started(self, job: JobPlan, attempt: int) -> None:
        """A job has just been started, for the ``attempt``-th time, from 1."""

    def retrying(self, report: JobReport, seconds: float) -> None:
        """An attempt has failed as ``report`` says, and another one comes after ``seconds``."""

    def finished(self, report: JobReport) -> None:
        """A job has come to its end, which is on record, or was skipped."""

    def tick(self, now: Now) -> None:
        """Time has passed; called a few times a second."""
