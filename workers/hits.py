"""Telling of bounds that were met: at once the first time, then together, now and then.

A program that is refused may try again thousands of times a second; whoever listens wants to
know of it at once, and not thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable

from governor.core.counter import Counter
from governor.wire.agent import JobHit
from workers import tasks

INTERVAL = 0.1
"""Seconds between two tellings of the same bound and job, at least."""

_Key = tuple[int, str, int]
"""Counter, bound, job."""


class Hits:
    """What is to be told of; times are seconds of ``clock``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.untold: dict[_Key, JobHit] = {}
        """What nobody has been told of yet."""
        # When there may be told of it next.
        self._next: dict[_Key, float] = {}

    def refused(self, counter: Counter, job: int, tid: int) -> None:
        """A call of this job's thread was refused at the limit, or at a barrier below it."""
        below = counter.ceiling < counter.limit and counter.charged < counter.limit
        self._note(counter, "barrier" if below else "limit", job, tid)

    def passed(self, counter: Counter, job: int, tid: int) -> None:
        """A privileged call of this job's thread went over the barrier."""
        self._note(counter, "passed", job, tid)

    def _note(self, counter: Counter, bound: str, job: int, tid: int) -> None:
        key = counter.id, bound, job
        times = self.untold[key].times + 1 if key in self.untold else 1
        self.untold[key] = JobHit(counter.id, bound, job, times, counter.held, tid)

    def wait(self) -> float | None:
        """Seconds until there is something to tell, 0 for now; None while there is nothing."""
        now = self._clock()
        return min((max(0.0, self._next.get(key, now) - now) for key in self.untold), default=None)

    def take(self) -> list[JobHit]:
        """What is due to be told; nothing more of the same bound and job for a while."""
        now = self._clock()
        return self._take([key for key in self.untold if now >= self._next.get(key, now)])

    def take_all(self, counter: int | None = None, job: int | None = None) -> list[JobHit]:
        """All that was not told yet, or all of one counter or job, due or not."""
        return self._take(
            [key for key in self.untold if counter in (None, key[0]) and job in (None, key[2])]
        )

    def _take(self, keys: list[_Key]) -> list[JobHit]:
        self._next.update(dict.fromkeys(keys, self._clock() + INTERVAL))
        hits = [self.untold.pop(key) for key in keys]
        return [hit._replace(pid=tasks.process_of(hit.pid) or hit.pid) for hit in hits]

    def forget(self, counter: int | None = None, job: int | None = None) -> None:
        """The counter is gone, or all tasks of the job are; what was untold is `take_all`'s."""
        for key in [key for key in self._next if key[0] == counter or key[2] == job]:
            del self._next[key]
