"""What is done to containers from outside, the same for governor's and for the kernel's.

A `Site` is one arrangement of containers and knows how each single thing is done there; `Controls`
knows what is to be done, times it, and keeps the processes that it is done to.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from governor.bench import project
from governor.bench.companion import Start, Wait, companion
from governor.bench.helpers import Programs
from governor.bench.operations import ATTACH, BUILD, CROWD, MIGRATE, SPAWN, START
from governor.bench.shape import HIGH_LIMIT, Shape
from governor.errors import GovernorError


class Site(Protocol):
    """Containers in some shape. Everything raises GovernorError or OSError when refused."""

    def start(self, command: list[str], stdin: int, stdout: int) -> Wait:
        """Start a program in the innermost container; what is returned waits for its end."""

    def attach(self, pid: int, aside: bool) -> None:
        """Move a process to the container beside the innermost one, or back."""

    def assemble(self, pids: Sequence[int]) -> None:
        """Make two containers more, and have these processes alone in one of them."""

    def migrate(self) -> None:
        """Move all that are in one of the two to the other."""

    def settle(self, pid: int, number: int) -> None:
        """Make container ``number``, beside the innermost one, and move a process there."""

    def fill(self, containers: int) -> None:
        """Make so many containers beside the innermost one, with nobody in them."""

    def make(self) -> None:
        """Make a container and remove it again."""

    def limit(self, tasks: int) -> None:
        """Set how many tasks the innermost container may have."""

    def read(self) -> None:
        """Read every counter and limit of every container."""

    def scrape(self) -> None:
        """Fetch the metrics as Prometheus does."""

    def spawn(self, command: list[str]) -> None:
        """Run a program in the innermost containers to its end; GovernorError when it fails."""


class Controls:
    """The operations on a site; close it before the site."""

    def __init__(self, site: Site, programs: Programs) -> None:
        self._site, self._programs = site, programs
        self._stack = contextlib.ExitStack()
        self._aside = itertools.cycle([True, False])
        self._single: int | None = None
        self._assembled = False
        self._project: list[str] = []

    def populate(self, shape: Shape) -> None:
        """Start the processes of the shape and make its groups."""
        if shape.processes > 1:
            self._single = self.start_idle(shape.processes - 1)[0]
        if shape.groups > 1:
            for number, pid in enumerate(self.start_idle(shape.groups - 1)):
                self._site.settle(pid, number)
        if shape.empty:
            self._site.fill(shape.empty)

    def close(self) -> None:
        """End all processes that were started here."""
        self._stack.close()

    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one of ``count`` operations.

        Raises GovernorError [EIO] when something does not answer, or what the site raises.
        """
        if operation == "limit":
            return self._time_of_effect(count)
        if operation == START.name:
            return time_to_start(self._site.start, self._programs, count)
        return timed(self._action(operation), count)

    def _action(self, operation: str) -> Callable[[], None]:
        """Return what does the operation once; what it needs is there then."""
        if operation == ATTACH.name and self._single is None:
            (self._single,) = self.start_idle(1)
        if operation == MIGRATE.name and not self._assembled:
            self._site.assemble(self.start_idle(CROWD))
            self._assembled = True
        if operation == BUILD.name and not self._project:
            self._project = self._stack.enter_context(project.made())
        actions = {
            ATTACH.name: self._attach,
            MIGRATE.name: self._site.migrate,
            "mkdir": self._site.make,
            "read": self._site.read,
            "scrape": self._site.scrape,
            SPAWN.name: lambda: self._site.spawn(["true"]),
            BUILD.name: lambda: self._site.spawn(self._project),
        }
        return actions[operation]

    def _attach(self) -> None:
        assert self._single is not None
        self._site.attach(self._single, next(self._aside))

    def start_idle(self, count: int) -> list[int]:
        """Return the pids of so many processes in the innermost container that do nothing."""
        command = [self._programs.idle, str(count)]
        idle = self._stack.enter_context(companion(self._site.start, command))
        return [int(word) for word in idle.line().split()]

    def _time_of_effect(self, count: int) -> float:
        """Return the mean time from before a limit is set until a thread is judged by it."""
        taken = 0.0
        with companion(self._site.start, [self._programs.watch]) as watch:
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


def time_to_start(start: Start, programs: Programs, count: int) -> float:
    """Return the mean nanoseconds from before a program is asked for until its main function."""
    taken = 0.0
    for _ in range(count):
        asked = time.monotonic_ns()
        with companion(start, [programs.loop, "now"]) as program:
            taken += int(program.line()) - asked
    return taken / count


def timed(act: Callable[[], object], count: int) -> float:
    """Return the mean nanoseconds of ``count`` calls, after a warm-up of a tenth as many."""
    for _ in range(count // 10):
        act()
    start = time.perf_counter_ns()
    for _ in range(count):
        act()
    return (time.perf_counter_ns() - start) / count
