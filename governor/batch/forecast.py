"""How long a batch will still take: a guess that says nothing before there is a ground for it.

What a job takes is what it took the last time, if that is on record, or else the mean of the jobs
that have ended in this run. It is unknown before `ENOUGH` of those have ended. What is left is
shared by as many jobs as run at once, and takes at least as long as the longest chain of jobs that
come after one another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Final

from governor.batch.history import Ended, History
from governor.batch.schedule import graph
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
    """What is known of the time that jobs take. ``known``: seconds by name, from earlier runs.

    ``after``: what jobs come after, by name, without cycles.
    """

    def __init__(
        self, known: Mapping[str, float], parallel: int, after: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._known = known
        self._parallel = parallel
        self._before = graph(after) if any(after.values()) else {}
        self._order = list(TopologicalSorter(self._before).static_order())
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
        left: dict[object, float] = {}
        for name, ran in jobs:
            if (takes := self.expected(name)) is None:
                return None
            left[name] = max(0.0, takes - ran)
        # Where all have run for longer than expected, nothing is known of how long they will.
        return max(sum(left.values()) / self._parallel, self._longest(left)) or None

    def _longest(self, left: Mapping[object, float]) -> float:
        """Return the seconds of the longest chain of these; a job that has ended takes none."""
        ends = dict(left)
        for node in self._order:
            before = max((ends[one] for one in self._before.get(node, ())), default=0.0)
            ends[node] = before + left.get(node, 0.0)
        return max(ends.values(), default=0.0)

    def expected(self, name: str) -> float | None:
        """Return how many seconds a job takes, None while that is not known."""
        if name in self._known:
            return self._known[name]
        return self._seconds / self._count if self._count >= ENOUGH else None
