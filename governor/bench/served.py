"""The far side of the benchmark: a process with a governor of its own, in one shape.

    python -m governor.bench.served PROGRAM... -- HIERARCHIES DEPTH LIMITS GROUPS PROCESSES

with the paths of `helpers.Programs` mounts the hierarchies, says ``ready``, and then answers every
line ``mean|each OPERATION COUNT`` with ``ok NANOSECONDS...`` or ``error REASON``, until its input
ends. A process apart for each shape, so that those of one run share nothing.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import sys
from typing import IO, TYPE_CHECKING

from governor.bench import crowd
from governor.bench.controls import Controls, Wait
from governor.bench.helpers import Programs
from governor.bench.operations import LOOP_NAMES
from governor.bench.shape import HIGH_LIMIT, Shape
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Container, Governor


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
        self._governor.mount(name, crowd.subsystems_of(number))
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

    def spawn(self) -> None:
        """See `Site`."""
        result = self._governor.spawn(["true"], containers=self.innermost).wait()
        if result.exit_code:
            raise GovernorError(errno.EIO, result.error or f"true ended with {result.exit_code}")


def run_loop(site: GovernorSite, command: list[str]) -> str:
    """Run the loop as a job in the innermost containers and return what it prints."""
    read, write = os.pipe()
    with open(read) as output, open(os.devnull) as nothing:
        try:
            wait = site.start(command, nothing.fileno(), write)
        finally:
            os.close(write)
        printed = output.read().strip()
        wait()
    if not printed:
        raise GovernorError(errno.EIO, "the loop failed")
    return printed


def serve(programs: Programs, shape: Shape, requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until there are no more."""
    from governor.api import Governor

    with Governor(metrics=0) as governor:
        site = GovernorSite(governor, shape)
        with contextlib.closing(Controls(site, programs, shape)) as controls:
            print("ready", file=replies, flush=True)
            for request in requests:
                what, operation, count = request.split()
                try:
                    if operation in LOOP_NAMES:
                        found = run_loop(site, [programs.loop, what, operation, count])
                    else:
                        found = str(controls.run(operation, int(count)))
                    reply = f"ok {found}"
                except (GovernorError, OSError) as error:
                    reply = f"error {error}"
                print(reply, file=replies, flush=True)


def main(arguments: list[str]) -> int:
    """The command above; what goes wrong before ``ready`` is an ``error`` line too."""
    end = arguments.index("--")
    shape = Shape.from_words(arguments[end + 1 :])
    try:
        serve(Programs(*arguments[:end]), shape, sys.stdin, sys.stdout)
    except GovernorError as error:
        print("error", error, flush=True)
        return 1
    except BrokenPipeError:
        # Nobody is there any more to be told. What is still buffered is not to be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
