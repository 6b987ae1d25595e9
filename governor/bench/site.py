"""A governor's containers in some shape, for the benchmark to do things to."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from governor.bench import crowd
from governor.bench.companion import Wait
from governor.bench.shape import HIGH_LIMIT, Shape
from governor.errors import GovernorError
from governor.memory import PAGE_SIZE, memory

if TYPE_CHECKING:
    from governor.api import Container, Governor


class Weight(NamedTuple):
    """Bytes of a governor's processes that are in memory, shared ones too, as `ps` tells them."""

    supervisor: int
    agent: int
    spawner: int


class GovernorSite:
    """A governor's containers: a `governor.bench.controls.Site`."""

    def __init__(self, governor: Governor, shape: Shape) -> None:
        self._governor, self._shape = governor, shape
        self.innermost: list[Container] = []
        for number in range(1, shape.hierarchies + 1):
            self._mount(number)
        if self.innermost:
            self._inner = self.innermost[0]
            self._beside = os.path.dirname(self._inner.path).rstrip("/")
            self._aside = self._make(self._inner.hierarchy.name, f"{self._beside}/aside")

    def _mount(self, number: int) -> None:
        """Mount one hierarchy and make its containers, limited as the shape says."""
        name = f"bench{number}"
        self._governor.mount(name, crowd.subsystems_of(number, self._shape.resources.split(",")))
        for level in range(1, self._shape.depth + 1):
            container = self._make(name, "/level" * level, level)
        self.innermost.append(container)

    def _make(self, hierarchy: str, path: str, level: int | None = None) -> Container:
        """Make a container with the limits of its level, which is the innermost by default."""
        container = self._governor.hierarchy(hierarchy).mkdir(path)
        if self._shape.limited(self._shape.depth if level is None else level):
            for subsystem in container.hierarchy.subsystems:
                container[f"{subsystem}.limit"] = HIGH_LIMIT
        return container

    def start(self, command: list[str], stdin: int, stdout: int) -> Wait:
        """See `Site`; in this session, as other loops are: sessions compete as wholes."""
        return self._governor.spawn(
            command, containers=self.innermost, stdin=stdin, stdout=stdout, foreground=True
        ).wait

    def attach(self, pid: int, aside: bool) -> None:
        """See `Site`."""
        (self._aside if aside else self._inner).attach(pid)

    def assemble(self, pids: Sequence[int]) -> None:
        """See `Site`."""
        names = (f"{self._beside}/crowd{number}" for number in range(2))
        self._crowds = [self._make(self._inner.hierarchy.name, name) for name in names]
        self._crowds[0].attach(*pids)

    def migrate(self) -> None:
        """See `Site`."""
        self._crowds[1].attach_all(self._crowds[0])
        self._crowds.reverse()

    def settle(self, pid: int, number: int) -> None:
        """See `Site`."""
        self._make(self._inner.hierarchy.name, f"{self._beside}/other{number}").attach(pid)

    def make(self) -> None:
        """See `Site`."""
        self._inner.hierarchy.mkdir(f"{self._beside}/made").rmdir()

    def limit(self, tasks: int) -> None:
        """See `Site`."""
        self._inner[f"{self._inner.hierarchy.subsystems[0]}.limit"] = tasks

    def read(self) -> None:
        """See `Site`."""
        self._governor.containers()

    def scrape(self) -> None:
        """See `Site`."""
        connection = http.client.HTTPConnection("127.0.0.1", self._governor.metrics_port)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            answer.read()
        if answer.status != http.client.OK:
            raise GovernorError(errno.EIO, f"the metrics answered {answer.status}")

    def spawn(self, command: list[str]) -> None:
        """See `Site`."""
        result = self._governor.spawn(command, containers=self.innermost).wait()
        if result.exit_code:
            raise GovernorError(
                errno.EIO, result.error or f"{command[0]} ended with {result.exit_code}"
            )

    def fill(self, containers: int) -> None:
        """See `Site`."""
        for number in range(containers):
            self._make(self._inner.hierarchy.name, f"{self._beside}/empty{number}")

    def weigh(self) -> Weight:
        """Return what the governor takes now."""
        status = self._governor.status()
        return Weight(*(_resident(pid) for pid in (status.pid, status.agent, status.spawner)))

    def loop(self, command: list[str]) -> list[float]:
        """Run the loop as a job in the innermost containers and return what it prints."""
        read, write = os.pipe()
        with open(read) as output, open(os.devnull) as nothing:
            try:
                wait = self.start(command, nothing.fileno(), write)
            finally:
                os.close(write)
            printed = output.read().strip()
            wait()
        if not printed:
            raise GovernorError(errno.EIO, "the loop failed")
        return [float(word) for word in printed.split()]


def _resident(pid: int) -> int:
    found = memory(pid)
    if found is None:
        raise GovernorError(errno.ESRCH, f"process {pid} of the governor has ended")
    return found.resident * PAGE_SIZE
