"""What is done to containers from outside, the same for governor's and for the kernel's.

A `Site` is one arrangement of containers and knows how each single thing is done there; `Controls`
knows what is to be done, times it, and keeps the processes that it is done to.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from governor.bench.helpers import Programs
from governor.bench.shape import HIGH_LIMIT, Shape
from governor.errors import GovernorError

PATIENCE: Final = 30.0
"""Seconds that something may take which ought to take milliseconds."""

Wait = Callable[[], object]


class Site(Protocol):
    """Containers in some shape. Everything raises GovernorError or OSError when refused."""

    def start(self, command: list[str], stdin: int, stdout: int) -> Wait:
        """Start a program in the innermost container; what is returned waits for its end."""

    def attach(self, pid: int, aside: bool) -> None:
        """Move a process to the container beside the innermost one, or back."""

    def settle(self, pid: int, number: int) -> None:
        """Make container ``number``, beside the innermost one, and move a process there."""

    def make(self) -> None:
        """Make a container and remove it again."""

    def limit(self, tasks: int) -> None:
        """Set how many tasks the innermost container may have."""

    def read(self) -> None:
        """Read every counter and limit of every container."""

    def scrape(self) -> None:
        """Fetch the metrics as Prometheus does."""

    def spawn(self) -> None:
        """Start `true` in the innermost containers and wait for its end."""


class Controls:
    """The operations on a site; close it before the site."""

    def __init__(self, site: Site, programs: Programs, shape: Shape) -> None:
        self._site, self._programs = site, programs
        self._stack = contextlib.ExitStack()
        self._idle: list[int] = []
        self._aside = itertools.cycle([True, False])
        if shape.processes > 1:
            self._start_idle(shape.processes - 1)
        if shape.groups > 1:
            for number, pid in enumerate(self._start_idle(shape.groups - 1)):
                site.settle(pid, number)

    def close(self) -> None:
        """End all processes that were started here."""
        self._stack.close()

    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one of ``count`` operations.

        Raises GovernorError [EIO] when something does not answer, or what the site raises.
        """
        actions = {
            "mkdir": self._site.make,
            "read": self._site.read,
            "scrape": self._site.scrape,
            "spawn": self._site.spawn,
            "attach": self._attach,
        }
        if operation == "limit":
            return self._time_of_effect(count)
        if operation == "attach" and not self._idle:
            self._idle = self._start_idle(1)
        return timed(actions[operation], count)

    def _attach(self) -> None:
        self._site.attach(self._idle[0], next(self._aside))

    def _start_idle(self, count: int) -> list[int]:
        """Return the pids of so many processes in the innermost container that do nothing."""
        companion = self._stack.enter_context(
            _companion(self._site, [self._programs.idle, str(count)])
        )
        return [int(word) for word in companion.line().split()]

    def _time_of_effect(self, count: int) -> float:
        """Return the mean time from before a limit is set until a thread is judged by it."""
        taken = 0.0
        with _companion(self._site, [self._programs.watch]) as watch:
            watch.line()
            for _ in range(count):
                for tasks, effect in ((0, "refused"), (HIGH_LIMIT, "allowed")):
                    start = time.monotonic_ns()
                    self._site.limit(tasks)
                    word, moment = watch.line().split()
                    if word != effect:
                        raise GovernorError(errno.EIO, f"a limit of {tasks}: {word}")
                    taken += int(moment) - start
        return taken / (2 * count)


def timed(act: Callable[[], None], count: int) -> float:
    """Return the mean nanoseconds of ``count`` calls, after a warm-up of a tenth as many."""
    for _ in range(count // 10):
        act()
    start = time.perf_counter_ns()
    for _ in range(count):
        act()
    return (time.perf_counter_ns() - start) / count


class _Companion:
    """A program on a site, read line by line."""

    def __init__(self, name: str, output: int) -> None:
        self._name, self._output, self._kept = name, output, b""

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


@contextlib.contextmanager
def _companion(site: Site, command: list[str]) -> Iterator[_Companion]:
    """A program that ends when its input or its reader does; waited for at the end."""
    given, keep = os.pipe()
    output, printed = os.pipe()
    try:
        wait = site.start(command, given, printed)
    except BaseException:
        os.close(keep)
        os.close(output)
        raise
    finally:
        os.close(given)
        os.close(printed)
    try:
        yield _Companion(os.path.basename(command[0]).partition("-")[0], output)
    finally:
        os.close(keep)
        os.close(output)
        wait()
