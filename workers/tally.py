"""What an agent has had to do: traps by system call, how long answers took, recounts."""

from __future__ import annotations

from collections import Counter as Counts

from governor.wire.agent import LATENCY_BOUNDS, Trapped


class Tally:
    """Sums since the beginning, or since they were last taken."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.calls: Counts[int] = Counts()
        """Traps by the number of the system call."""
        self.answers = [[0] * (len(LATENCY_BOUNDS) + 2) for _ in range(2)]
        """As in `Trapped`."""
        self.recounts = 0
        self.recounting = 0

    def answered(self, closely: bool, ns: int) -> None:
        """An answer took so long."""
        row = self.answers[closely]
        row[0] += ns
        bounds = enumerate(LATENCY_BOUNDS, 1)
        row[next((place for place, bound in bounds if ns <= bound), -1)] += 1

    def take(self) -> Trapped | None:
        """All of it, to begin anew; None when there is nothing."""
        if not self.calls and not self.recounts:
            return None
        calls = [[nr, times] for nr, times in self.calls.items()]
        taken = Trapped(calls, self.answers, self.recounts, self.recounting)
        self._begin()
        return taken

    def add(self, told: Trapped) -> None:
        """Somebody else has done this."""
        for nr, times in told.calls:
            self.calls[nr] += times
        for row, more in zip(self.answers, told.answers, strict=True):
            row[:] = map(int.__add__, row, more)
        self.recounts += told.recounts
        self.recounting += told.recounting
