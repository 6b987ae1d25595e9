"""How callers are woken up when they are answered: where the agent runs, or where the kernel likes.

A synchronous wake-up (Linux 6.6) makes the caller run next on this CPU, and the agent run where
the caller was. That saves most of the latency of a trap when nobody else waits for an answer. Of
several callers it makes a queue for one CPU. It is the better way all the same where traps
come so fast that the agent is what everybody waits for.
"""

from __future__ import annotations

INTERVAL = 0.02
"""Seconds between two choices while traps arrive."""
_ELSEWHERE = 30e-6
"""About what it takes longer, in seconds, to wake somebody on another CPU, which may sleep."""
_MANY_CALLERS = 4
"""One change of caller in so many traps, or more, means that several run at once."""


class WakeUp:
    """Chooses for all listeners together, by the traps of the last interval.

    ``turns`` has who trapped each time it was somebody else than before, ``traps`` counts all.
    """

    def __init__(self, cpus: int) -> None:
        """``cpus``: how many the callers may run on."""
        self._cpus = cpus
        self.turns: list[int] = []
        self.traps = 0
        self.sync = True
        self._chosen = 0.0

    def due(self, now: float) -> bool:
        """Whether it is time to choose again."""
        return now >= self._chosen + INTERVAL

    def choose(self, now: float) -> bool:
        """Begin the next interval; whether wake-ups are to be synchronous in it.

        Without it as many callers go on at once as there are CPUs, each of them later: that is
        faster when what they do between two traps takes longer than the wake-up.
        """
        elapsed = min(now - self._chosen, 2 * INTERVAL)  # before that, there was nothing to do
        several = len(self.turns) * _MANY_CALLERS >= self.traps
        at_once = min(len(set(self.turns)), self._cpus)
        self.sync = not several or elapsed * (at_once - 1) <= self.traps * _ELSEWHERE
        self.turns.clear()
        self.traps = 0
        self._chosen = now
        return self.sync
