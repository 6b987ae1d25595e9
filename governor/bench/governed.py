"""The loop under governor: one process with one governor per number of hierarchies.

    python -m governor.bench.governed HIERARCHIES LOOP

mounts the hierarchies, says ``ready``, and then answers every line ``OPERATION COUNT`` with
``ok NANOSECONDS`` or ``error REASON``, until its input ends. A process apart for each, so that the
variants of one run share nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from governor.bench import crowd, variants
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Container, Governor

_GRACE = 15.0


class GovernedVariant:
    """The benchmark's end of such a process."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self._process = process
        self.expect("ready")

    def run(self, operation: str, count: int) -> float:
        """Have the loop run in the innermost containers; raises GovernorError [EIO]."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(operation, count, file=stdin, flush=True)
        return float(self.expect("ok"))

    def expect(self, word: str) -> str:
        """Return what follows ``word`` on the next line; anything else is a GovernorError [EIO]."""
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], variants.DEADLINE)
        line = stdout.readline() if ready else f"no answer in {variants.DEADLINE:.0f} s"
        first, _, rest = line.strip().partition(" ")
        if first != word:
            reason = rest or line.strip() or "ended unexpectedly"
            raise GovernorError(errno.EIO, f"{self.name}: {reason}")
        return rest


@contextlib.contextmanager
def governed_variant(hierarchies: int, loop: str) -> Iterator[GovernedVariant]:
    """A governor with so many hierarchies (1 to `crowd.LARGEST`).

    Raises GovernorError [EIO] when it cannot start.
    """
    with tempfile.TemporaryDirectory(prefix="governor-bench-") as directory:
        crowd.install_entry_points(Path(directory))
        path = os.pathsep.join([directory, *filter(None, sys.path)])
        command = [sys.executable, "-m", __name__, str(hierarchies), loop]
        # A process group of its own: Ctrl-C is for the benchmark, which then closes the input here.
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=path),
            process_group=0,
        ) as process:
            try:
                yield GovernedVariant(variants.governed(hierarchies), process)
            finally:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Close the input, which ends the governor in order; kill what does not end."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def prepare(governor: Governor, hierarchies: int) -> list[Container]:
    """Mount the hierarchies and return the innermost container of each, limited on every level."""
    innermost = []
    for number in range(1, hierarchies + 1):
        subsystems = crowd.subsystems_of(number)
        hierarchy = governor.mount(f"bench{number}", subsystems)
        path = ""
        for _ in range(variants.DEPTH):
            path += "/level"
            container = hierarchy.mkdir(path)
            for subsystem in subsystems:
                container[f"{subsystem}.limit"] = variants.HIGH_LIMIT
        innermost.append(container)
    return innermost


def run_loop(governor: Governor, containers: list[Container], command: list[str]) -> str:
    """Run the loop as a job in ``containers`` and return what it prints."""
    read, write = os.pipe()
    with open(read) as output:
        try:
            # In this session, as the other variants' loops are: sessions compete as wholes.
            job = governor.spawn(command, containers=containers, stdout=write, foreground=True)
        finally:
            os.close(write)
        printed = output.read()
        result = job.wait()
    if result.exit_code:
        reason = result.error or f"the loop ended with {result.exit_code}"
        raise GovernorError(errno.EIO, reason)
    return printed.strip()


def serve(hierarchies: int, loop: str, requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until there are no more."""
    from governor.api import Governor

    with Governor() as governor:
        containers = prepare(governor, hierarchies)
        print("ready", file=replies, flush=True)
        for request in requests:
            operation, count = request.split()
            try:
                reply = f"ok {run_loop(governor, containers, [loop, operation, count])}"
            except GovernorError as error:
                reply = f"error {error}"
            print(reply, file=replies, flush=True)


def main(arguments: list[str]) -> int:
    """The command above; what goes wrong before ``ready`` is an ``error`` line too."""
    hierarchies, loop = arguments
    try:
        serve(int(hierarchies), loop, sys.stdin, sys.stdout)
    except GovernorError as error:
        print("error", error, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
