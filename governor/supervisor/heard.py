"""Which refusals somebody has been told of: each is to be told once, whichever agent it was."""

from __future__ import annotations

from governor.wire.agent import JobHit


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

    def missing(self, counter: int, failcnt: int) -> int:
        """How many of so many nobody was told of; from now on they are. Negative after a reset."""
        missing = failcnt - self._told.get(counter, 0)
        self._told[counter] = failcnt
        return missing

    def has_all(self, refused: int) -> bool:
        """Whether these are all that there were, ``refused`` in number."""
        return refused == self._known + self._since

    def all_known(self, refused: int) -> None:
        """So many are known. What was heard meanwhile may be later, and so does not count."""
        self._known, self._since = refused, 0
