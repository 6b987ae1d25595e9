"""Who is told what happens to the jobs of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from governor.batch.plan import JobPlan
    from governor.report import JobReport


class Running(NamedTuple):
    """A job that runs: since when (monotonic clock) and in which containers."""

    name: str
    since: float
    containers: Sequence[str]


class Now(NamedTuple):
    """What is going on. ``waiting`` jobs have not ended and do not run.

    ``delayed`` of them have failed, and wait for their next attempt.
    """

    running: Sequence[Running]
    waiting: int
    delayed: int = 0


class Listener:
    """Is told of starts and ends in their order; a subclass acts on those it cares for."""

    def started(self, job: JobPlan, attempt: int) -> None:
        """A job was started, for the first time when ``attempt`` is 1."""

    def retrying(self, report: JobReport, seconds: float) -> None:
        """A job has failed, and is started again after so many seconds."""

    def finished(self, report: JobReport) -> None:
        """A job has come to its end, which is on record; or it was skipped."""

    def tick(self, now: Now) -> None:
        """Called a few times a second."""
