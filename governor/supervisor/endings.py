"""Ending processes by force: TERM to all of them, KILL to what is left after a while."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from governor.errors import GovernorError
from workers.undertaker import oldest_first

AGAIN = 0.02
"""Seconds between two looks at what is being ended."""

QUICK = 0.005
"""Seconds that a look may take to be repeated at once."""

Chosen = Callable[[], list[int]]
"""The processes that are to end, as they are now: others may be forked meanwhile."""


PATIENCE = 10.0
"""Seconds that processes have to end after KILL, before whoever is asked to be told is told so."""


class _Ending:
    def __init__(
        self,
        chosen: Chosen,
        kill_at: float,
        over: Callable[[], bool],
        done: Callable[[], None],
        failed: Callable[[list[int]], None] | None,
    ) -> None:
        self.chosen = chosen
        self.kill_at = kill_at
        self.over = over
        self.done = done
        self.failed = failed


class Endings:
    """All that is being ended. In ``one_look`` processes are looked for once for all."""

    def __init__(
        self, one_look: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    ) -> None:
        self._one_look = one_look
        self._endings: list[_Ending] = []
        self._next_look = 0.0

    def begin(
        self,
        chosen: Chosen,
        grace: float,
        done: Callable[[], None],
        over: Callable[[], bool] = lambda: True,
        failed: Callable[[list[int]], None] | None = None,
    ) -> None:
        """End what is ``chosen`` within ``grace`` seconds, and say so when none is left.

        ``over``: whether there is nothing else to wait for, such as a report of an end.
        ``failed(pids)``: these cannot be ended, and no more is tried. Without it there is no
        giving up.
        """
        signal_all(chosen(), signal.SIGTERM)
        # A stopped process would sleep through its TERM.
        signal_all(chosen(), signal.SIGCONT)
        self._endings.append(_Ending(chosen, time.monotonic() + grace, over, done, failed))

    def tick(self) -> float | None:
        """Go on with what is due; seconds until something is due again."""
        if not self._endings:
            return None
        now = time.monotonic()
        if now < self._next_look:
            return self._next_look - now
        self._look(now)
        after = time.monotonic()
        if after - now > QUICK:  # looking for many among many takes half of the time at most
            self._next_look = after + (after - now)
        return AGAIN if self._endings else None

    def _look(self, now: float) -> None:
        with self._one_look():
            found = {ending: ending.chosen() for ending in self._endings}
        for ending, left in found.items():
            if not left and ending.over():
                self._endings.remove(ending)
                ending.done()
            elif left and ending.failed is not None and now >= ending.kill_at + PATIENCE:
                self._endings.remove(ending)
                ending.failed(left)
            elif now >= ending.kill_at:
                signal_all(left, signal.SIGKILL)


def check_signal(number: int) -> None:
    """Refuse what is no signal; EINVAL."""
    if not 0 <= number <= signal.SIGRTMAX:
        raise GovernorError(errno.EINVAL, f"{number} is not a signal")


def signal_all(pids: Iterable[int], number: int) -> None:
    """Signal processes, as far as they are there and may be signalled.

    The oldest first: a shell whose child was killed before it would go on with its next line.
    """
    for pid in oldest_first(pids):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
