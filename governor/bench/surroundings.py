"""The surroundings an operation is done in; those that are no more than a command are here."""

from __future__ import annotations

import abc
import contextlib
import errno
import subprocess
from collections.abc import Iterator, Sequence
from typing import Final

from governor.bench import project
from governor.bench.controls import timed
from governor.bench.helpers import Programs, need
from governor.bench.operations import BUILD, LOOP_NAMES
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


class Surrounding(abc.ABC):
    """Somewhere to do an operation. ``note`` is what a reader has to know of its figures."""

    note = ""

    @abc.abstractmethod
    def can(self, operation: str) -> bool:
        """Whether the operation means anything here."""

    @abc.abstractmethod
    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one operation of ``count``; GovernorError [EIO]."""

    def tell(self, way: str, operation: str, count: int) -> list[float]:
        """Return what `loop.c` prints when it is run in that way; GovernorError [EIO]."""
        raise NotImplementedError

    def leave(self) -> None:  # noqa: B027  most have nothing to end
        """Begin to end what is there, and do not wait: whoever closes it does."""


class CommandSurrounding(Surrounding):
    """The loop as a command, started by whatever is put before it."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self._name = name
        self._command = list(command)

    def can(self, operation: str) -> bool:
        """Whether the loop knows the operation."""
        return operation in LOOP_NAMES

    def run(self, operation: str, count: int) -> float:
        """Start the loop and return what it prints; raises GovernorError [EIO]."""
        (mean,) = self.tell("mean", operation, count)
        return mean

    def tell(self, way: str, operation: str, count: int) -> list[float]:
        """Start the loop and return all that it prints; raises GovernorError [EIO]."""
        command = [*self._command, way, operation, str(count)]
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
    return CommandSurrounding(FLOOR, [programs.floor, filter_words(), programs.loop])


def tracer(programs: Programs) -> CommandSurrounding:
    """The loop stopped by ptrace at the same calls."""
    return CommandSurrounding(TRACER, [programs.tracer, filter_words(), programs.loop])


def strace(programs: Programs) -> CommandSurrounding:
    """The loop under strace; raises GovernorError [ENOENT] where that is not installed."""
    options = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=%process,%desc"]
    return CommandSurrounding(STRACE, [need("strace"), *options, programs.loop])


class Build(Surrounding):
    """Compilations of a small project by a command, with whatever is put before it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    def can(self, operation: str) -> bool:
        """Whether the operation is to build."""
        return operation == BUILD.name

    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one build; raises GovernorError [EIO]."""
        return timed(lambda: run_to_end(self._command), count)


@contextlib.contextmanager
def build(*before: str) -> Iterator[Build]:
    """A project, and make started by the words ``before`` it; GovernorError [ENOENT] without."""
    with project.made() as command:
        yield Build([*before, *command])


def run_to_end(command: Sequence[str]) -> None:
    """Run a program; raises GovernorError [EIO] when it fails."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise GovernorError(errno.EIO, f"{command[0]} failed: {reason}")


def filter_words() -> str:
    """Return the filter that governor's own jobs get, as `floor.c` and `tracer.c` want it."""
    from workers import seccomp, syscalls

    return seccomp.build(frozenset({"tasks", "files"}), syscalls.table()).hex()
