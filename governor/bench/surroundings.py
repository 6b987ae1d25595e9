"""The surroundings an operation is done in; those that are no more than a command are here."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final, Protocol

from governor.bench.helpers import Programs
from governor.bench.operations import LOOP_NAMES
from governor.errors import GovernorError

UNGOVERNED: Final = "ungoverned"
FLOOR: Final = "floor"
TRACER: Final = "ptrace"
STRACE: Final = "strace -f"
GOVERNED: Final = "governed"
CGROUP_V1: Final = "cgroup-v1"
CGROUP_V2: Final = "cgroup-v2"

DEADLINE: Final = 120.0
"""Seconds after which a run that has not ended is given up (`loop.c` gives up itself after 60)."""


class Surrounding(Protocol):
    """Somewhere to do an operation. ``note`` is what a reader has to know of its figures."""

    note: str

    def can(self, operation: str) -> bool:
        """Whether the operation means anything here."""

    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one operation of ``count``; GovernorError [EIO]."""

    def each(self, operation: str, count: int) -> list[float]:
        """Return the nanoseconds of every one of ``count`` operations of a loop; as `run`."""


class CommandSurrounding:
    """The loop as a command, started by whatever is put before it."""

    note = ""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self._name = name
        self._command = list(command)

    def can(self, operation: str) -> bool:
        """Whether the loop knows the operation."""
        return operation in LOOP_NAMES

    def run(self, operation: str, count: int) -> float:
        """Start the loop and return what it prints; raises GovernorError [EIO]."""
        (mean,) = self._loop("mean", operation, count)
        return mean

    def each(self, operation: str, count: int) -> list[float]:
        """Start the loop and return all that it prints; raises GovernorError [EIO]."""
        return self._loop("each", operation, count)

    def _loop(self, what: str, operation: str, count: int) -> list[float]:
        command = [*self._command, what, operation, str(count)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DEADLINE, check=False
            )
        except subprocess.TimeoutExpired:
            raise GovernorError(errno.EIO, f"{self._name}: {operation} did not end") from None
        if done.returncode:
            reason = done.stderr.strip() or f"status {done.returncode}"
            raise GovernorError(errno.EIO, f"{self._name}: {operation} failed: {reason}")
        return [float(word) for word in done.stdout.split()]


def ungoverned(programs: Programs) -> CommandSurrounding:
    """The loop, and nothing else."""
    return CommandSurrounding(UNGOVERNED, [programs.loop])


def floor(programs: Programs) -> CommandSurrounding:
    """The loop under an answerer in C, with the very filter that governor's own jobs get."""
    return CommandSurrounding(FLOOR, [programs.floor, _filter(), programs.loop])


def tracer(programs: Programs) -> CommandSurrounding:
    """The loop stopped by ptrace at the same calls."""
    return CommandSurrounding(TRACER, [programs.tracer, _filter(), programs.loop])


def strace(programs: Programs) -> CommandSurrounding:
    """The loop under strace; raises GovernorError [ENOENT] where that is not installed."""
    options = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=%process,%desc"]
    return CommandSurrounding(STRACE, [need("strace"), *options, programs.loop])


def need(program: str) -> str:
    """Return where a program is; raises GovernorError [ENOENT] when it is not on PATH."""
    found = shutil.which(program)
    if found is None:
        raise GovernorError(errno.ENOENT, f"{program} is not installed")
    return found


def _filter() -> str:
    from workers import seccomp, syscalls

    return seccomp.build(frozenset({"tasks", "files"}), syscalls.table()).hex()
