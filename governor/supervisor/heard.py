"""Which refusals somebody has been told of: each is to be told once, whichever agent it was."""

from __future__ import annotations

from collections.abc import Mapping

from governor.core.counter import Counter
from governor.wire.agent import JobHit, Refusals


class Heard:
    """Counts what was told, by counter, and all since a moment when everything was known."""

    def __init__(self) -> None:
        self._told: dict[int, int] = {}
        self._known = 0
        self._since = 0

    def begin(self, counter: int, failcnt: int) -> None:
        """Somebody else has told of so many before."""
        self._told[counter] = failcnt

    def forget(self, counter: int) -> None:
        """The counter is gone."""
        self._told.pop(counter, None)

    def told(self, hit: JobHit) -> None:
        """Somebody has been told of these refusals."""
        if hit.bound != "passed":
            self._told[hit.counter] = self._told.get(hit.counter, 0) + hit.times

    def heard(self, hit: JobHit) -> None:
        """The agent has told of them, unasked or not."""
        self._since += hit.times * (hit.bound != "passed")

    def untold(self, message: Refusals, counters: Mapping[int, Counter]) -> list[JobHit]:
        """What nobody was told of, at these counters; from now on they are.

        There is less than was told of where the figure has been reset.
        """
        hits = []
        for id, failcnt in message.figures:
            if id in counters:
                missing = failcnt - self._told.get(id, 0)
                self._told[id] = failcnt
                if missing > 0:
                    hits.append(JobHit(id, "limit", 0, missing, counters[id].held, 0))
        return hits

    def has_all(self, refused: int) -> bool:
        """Whether these are all that there were, ``refused`` in number."""
        return refused == self._known + self._since

    def all_known(self, refused: int) -> None:
        """So many are known. What was heard meanwhile may be later, and so does not count."""
        self._known, self._since = refused, 0
