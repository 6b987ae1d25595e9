"""Signals that end a batch early: noted when they come, acted on where nothing is half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Impatient(BaseException):
    """A second signal came while the jobs were being given time to end."""


class Interrupts:
    """While entered, signals set ``signum`` instead of ending the process. Main thread only."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._again = False
        self._impatient = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        for number in SIGNALS:
            # Whoever started us with a signal ignored (nohup, a shell's "&") wants it so.
            if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """A second signal raises `Impatient` inside of this block, or at its start if it came."""
        try:
            self._impatient = True
            if self._again:
                raise Impatient
            yield
        finally:
            self._impatient = False

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        else:
            self._again = True
            if self._impatient:
                raise Impatient
