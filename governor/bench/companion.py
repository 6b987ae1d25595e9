"""Programs beside the benchmark that are read line by line and end when their input does."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Callable, Iterator
from typing import Final

from governor.errors import GovernorError

PATIENCE: Final = 60.0
"""Seconds that something may take which ought to take milliseconds."""

Wait = Callable[[], object]
Start = Callable[[list[str], int, int], Wait]
"""Starts a command with two descriptors as its input and output; what it returns waits for it."""


def local(command: list[str], stdin: int, stdout: int) -> Wait:
    """Start a program as cheaply as Python can: a `Start`.

    In a process group of its own: Ctrl-C is for the benchmark, which then closes its input.
    """
    moves = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=moves, setpgroup=0)
    return lambda: os.waitpid(pid, 0)


class Companion:
    """One that runs."""

    def __init__(self, name: str, given: int, output: int) -> None:
        self._name, self._given, self._output, self._kept = name, given, output, b""

    def line(self) -> str:
        """Return its next line; raises GovernorError [EIO] when none comes."""
        while b"\n" not in self._kept:
            ready, _, _ = select.select([self._output], [], [], PATIENCE)
            piece = os.read(self._output, 65536) if ready else b""
            if not piece:
                raise GovernorError(errno.EIO, f"{self._name} ended or does not answer")
            self._kept += piece
        line, _, self._kept = self._kept.partition(b"\n")
        return line.decode()

    def end_input(self) -> None:
        """Close its input, which tells it to go on or to end; once more does nothing."""
        if self._given >= 0:
            os.close(self._given)
            self._given = -1


@contextlib.contextmanager
def companion(start: Start, command: list[str]) -> Iterator[Companion]:
    """Start a program; at the end its input and output are closed, and it is waited for."""
    given, keep = os.pipe()
    output, printed = os.pipe()
    try:
        wait = start(command, given, printed)
    except BaseException:
        os.close(keep)
        os.close(output)
        raise
    finally:
        os.close(given)
        os.close(printed)
    started = Companion(os.path.basename(command[0]).partition("-")[0], keep, output)
    try:
        yield started
    finally:
        started.end_input()
        os.close(output)
        wait()
