"""Telling of bounds that were met: at once the first time, then together, now and then.

A program that is refused may try again thousands of times a second; whoever listens wants to
know of it at once, and not thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable

from governor.core.counter import Counter
from governor.wire.agent import Hit
from workers import tasks

INTERVAL = 0.1
"""Seconds between two tellings of the same bound, at least."""


class Hits:
    """What is to be told of; times are seconds of ``clock``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.untold: dict[tuple[int, str], Hit] = {}
        """What nobody has been told of yet, by counter and bound."""
        # When there may be told of it next.
        self._next: dict[tuple[int, str], float] = {}

    def refused(self, counter: Counter, tid: int) -> None:
        """A call of this thread was refused at the limit, or at a barrier below it."""
        below = counter.ceiling < counter.limit and counter.charged < counter.limit
        self._note(counter, "barrier" if below else "limit", tid)

    def passed(self, counter: Counter, tid: int) -> None:
        """A privileged call of this thread went over the barrier."""
        self._note(counter, "passed", tid)

    def _note(self, counter: Counter, bound: str, tid: int) -> None:
        key = counter.id, bound
        times = self.untold[key].times + 1 if key in self.untold else 1
        self.untold[key] = Hit(counter.id, bound, times, counter.held, tid)

    def wait(self) -> float | None:
        """Seconds until there is something to tell, 0 for now; None while there is nothing."""
        now = self._clock()
        return min((max(0.0, self._next.get(key, now) - now) for key in self.untold), default=None)

    def take(self, counter: int | None = None) -> list[Hit]:
        """What is to be told now: what is due, or all of one counter.

        Of each bound nothing more is told for a while.
        """
        now = self._clock()
        if counter is None:
            due = [key for key in self.untold if now >= self._next.get(key, now)]
        else:
            due = [key for key in self.untold if key[0] == counter]
        self._next.update(dict.fromkeys(due, now + INTERVAL))
        hits = [self.untold.pop(key) for key in due]
        return [hit._replace(pid=tasks.process_of(hit.pid) or hit.pid) for hit in hits]

    def forget(self, counter: int) -> None:
        """The counter is gone."""
        for key in [key for key in self._next.keys() | self.untold.keys() if key[0] == counter]:
            self._next.pop(key, None)
            self.untold.pop(key, None)
