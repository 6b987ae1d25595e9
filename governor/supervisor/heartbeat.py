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
        self._ticked = self._next = 0.0

    def heard(self) -> None:
        """There was an answer, or there is somebody else to ask now."""
        self._asked = None

    def tick(self, busy: bool) -> float | None:
        """Do what is due; the seconds until something is due again, None while not ``busy``."""
        now = time.monotonic()
        if now - self._ticked > 2 * INTERVAL and self._asked is not None:
            self._asked = now  # this process was stopped, perhaps the other was too
        self._ticked = now
        if self._asked is not None and now - self._asked >= self.timeout:
            self._give_up()
            self._asked = None
            self._next = now + INTERVAL
        elif busy and self._asked is None and now >= self._next:
            self._ask()
            self._asked = now
            self._next = now + INTERVAL
        if self._asked is not None:
            return max(0.0, min(INTERVAL, self._asked + self.timeout - now))
        return max(0.0, self._next - now) if busy else None
