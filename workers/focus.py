"""Which listener the traps come from, and when to wait in that one alone (`workers.watch`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.listener import Listener

STREAK = 4
"""Traps of one listener in a row after which it is worth waiting in that one alone."""
LONG_STREAK = 64
"""The same where another listener has had traps meanwhile: to be rung out costs more."""


class Focus:
    """``last`` is the listener that had the last trap."""

    def __init__(self) -> None:
        self.last: Listener | None = None
        self.goes_on = False
        """Whether to wait in it alone again unless there is something else to do."""
        self._streak = 0
        self._enough = STREAK

    def turn(self, listener: Listener) -> bool:
        """This one has had a trap; whether another one had the last."""
        if listener is self.last:
            self._streak += 1
            return False
        self._streak = 0
        self._enough = STREAK if self.last is None else LONG_STREAK
        self.last = listener
        return True

    def alone(self) -> Listener | None:
        """The listener to wait in alone, if there is one."""
        return self.last if self._streak >= self._enough else None

    def was_alone(self, traps: int) -> None:
        """So many were answered there. Another listener that has rung the bell turns up next."""
        self._enough = STREAK
        self._streak = min(STREAK, traps)
        self.goes_on = self._streak >= STREAK
