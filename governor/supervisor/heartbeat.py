"""Whether somebody still answers: asked each second while there is something to do."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 1.0
"""Seconds between two questions."""


class Heartbeat:
    """Asks by ``ask``, and calls ``give_up`` when there was no answer for ``timeout`` seconds."""

    def __init__(
        self, timeout: float, ask: Callable[[], object], give_up: Callable[[], object]
    ) -> None:
        self.timeout = timeout
        self._ask = ask
        self._give_up = give_up
        self._asked: float | None = None
        self._due = self._next = 0.0

    def heard(self) -> None:
        """There was an answer, or there is somebody else to ask now."""
        self._asked = None

    def tick(self, busy: bool) -> float | None:
        """Do what is due; the seconds until something is due again, None while not ``busy``."""
        now = time.monotonic()
        if self._asked is not None:
            # While this process was stopped or busy, the other may have been stopped too.
            self._asked += max(0.0, now - self._due)
        if self._asked is not None and now - self._asked >= self.timeout:
            self._give_up()
            self._asked = None
            self._next = now + INTERVAL
        elif busy and self._asked is None and now >= self._next:
            self._ask()
            self._asked = now
            self._next = now + INTERVAL
        self._due = now + INTERVAL
        if self._asked is not None:
            self._due = min(self._due, self._asked + self.timeout)
        elif busy:
            self._due = max(now, self._next)
        else:
            return None
        return self._due - now
