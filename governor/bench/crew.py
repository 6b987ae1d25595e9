"""Loops that begin at once, each a job of its own: what busy jobs cost each other."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from typing import Protocol

from governor.bench.companion import Companion, Start, companion
from governor.bench.operations import JOBS
from governor.bench.surroundings import Surrounding
from governor.errors import GovernorError

_OPERATION = "open"


class Side(Protocol):
    """Where some of the loops are. Everything raises GovernorError [EIO]."""

    def gather(self, operation: str, count: int, jobs: int) -> None:
        """Start so many loops; they wait."""

    def release(self) -> None:
        """Let them go."""

    def collect(self) -> list[float]:
        """Return when each of them began and ended, in nanoseconds, when all have ended."""

    def leave(self) -> None:
        """Begin to end what is there, without waiting."""


class Crew:
    """A `Side` whose loops are started one by one as programs."""

    def __init__(self, start: Start, loop: Sequence[str]) -> None:
        self._start, self._loop = start, list(loop)
        self._stack = contextlib.ExitStack()
        self._loops: list[Companion] = []

    def leave(self) -> None:
        """See `Side`."""
        for loop in self._loops:
            loop.end_input()

    def close(self) -> None:
        """End those that are there."""
        self._loops = []
        self._stack.close()

    def gather(self, operation: str, count: int, jobs: int) -> None:
        """See `Side`."""
        self.close()
        command = [*self._loop, "together", operation, str(count)]
        for _ in range(jobs):
            self._loops.append(self._stack.enter_context(companion(self._start, command)))
        for loop in self._loops:
            if loop.line() != "ready":
                raise GovernorError(errno.EIO, f"a loop of {operation} failed")

    def release(self) -> None:
        """See `Side`."""
        for loop in self._loops:
            loop.end_input()

    def collect(self) -> list[float]:
        """See `Side`."""
        moments = [float(word) for loop in self._loops for word in loop.line().split()]
        self.close()
        return moments


class Together(Surrounding):
    """So many jobs, dealt out evenly to the sides."""

    def __init__(self, sides: Sequence[Side], jobs: int) -> None:
        self._sides, self._jobs = sides, jobs

    def can(self, operation: str) -> bool:
        """Whether the operation is that of several jobs."""
        return operation == JOBS.name

    def leave(self) -> None:
        """Tell all sides."""
        for side in self._sides:
            side.leave()

    def run(self, operation: str, count: int) -> float:
        """Return nanoseconds from the first call to the last one, by the number of all calls."""
        each = -(-count // self._jobs)
        for side in self._sides:
            side.gather(_OPERATION, each, self._jobs // len(self._sides))
        for side in self._sides:
            side.release()
        moments = [moment for side in self._sides for moment in side.collect()]
        return (max(moments) - min(moments)) / (each * self._jobs)
