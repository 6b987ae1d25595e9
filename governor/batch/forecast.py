"""How long a batch will still take: a guess that says nothing before there is a ground for it.

What a job takes is what it took the last time, if that is on record, or else the mean of the jobs
that have ended in this run. It is unknown before `ENOUGH` of those have ended. What is left is
shared by as many jobs as run at once, and takes at least as long as the longest job does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from governor.batch.history import Ended, History
from governor.report import OK

ENOUGH: Final = 3
"""So many jobs have to end before their mean stands for others."""


def durations(history: History) -> dict[str, float]:
    """Return the seconds that jobs took when they last succeeded, as far as it is on record."""
    return {
        name: event.report.wall_seconds
        for name, event in history.jobs.items()
        if isinstance(event, Ended) and event.report.status == OK
    }


class Forecast:
    """What is known of the time that jobs take. ``known``: seconds by name, from earlier runs."""

    def __init__(self, known: Mapping[str, float], parallel: int) -> None:
        self._known = known
        self._parallel = parallel
        self._count = 0
        self._seconds = 0.0

    def ended(self, seconds: float) -> None:
        """A job has ended that ran for so long."""
        self._count += 1
        self._seconds += seconds

    def left(self, running: Sequence[tuple[str, float]], waiting: Collection[str]) -> float | None:
        """Return the seconds until the end; None while there is nothing to tell it by.

        ``running``: names, and for how long they have been; ``waiting``: names of jobs to come.
        """
        jobs = [*running, *((name, 0.0) for name in waiting)]
        expected = [(self.expected(name), ran) for name, ran in jobs]
        left = [max(0.0, takes - ran) for takes, ran in expected if takes is not None]
        if len(left) < len(jobs):
            return None
        # Where all have run for longer than expected, nothing is known of how long they will.
        return max(sum(left) / self._parallel, max(left, default=0.0)) or None

    def expected(self, name: str) -> float | None:
        """Return how many seconds a job takes, None while that is not known."""
        if name in self._known:
            return self._known[name]
        return self._seconds / self._count if self._count >= ENOUGH else None
