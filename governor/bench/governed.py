"""Operations under governor: this side of a `governor.bench.served` process."""

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

from governor.bench import crowd, surroundings
from governor.bench.helpers import Programs
from governor.bench.marks import mark
from governor.bench.operations import JOBS, LOOKUP
from governor.bench.shape import Shape
from governor.bench.site import Weight
from governor.bench.surroundings import Surrounding
from governor.errors import GovernorError

_PATIENCE = 600.0
"""Seconds that the largest shape may take to be made."""
_GRACE = 30.0


class GovernedSurrounding(Surrounding):
    """Operations in that process, which is a `crew.Side` as well."""

    def __init__(self, process: subprocess.Popen[str], note: str) -> None:
        self._process, self.note = process, note
        self.ready = False

    def can(self, operation: str) -> bool:
        """Whether it is done by one job, or to containers."""
        return operation not in (JOBS.name, LOOKUP.name)

    def run(self, operation: str, count: int) -> float:
        """Have it done in the innermost containers; raises GovernorError [EIO]."""
        (mean,) = self._ask("mean", operation, count)
        return mean

    def tell(self, way: str, operation: str, count: int) -> list[float]:
        """The same of the loop, in another way; raises GovernorError [EIO]."""
        return self._ask(way, operation, count)

    def gather(self, operation: str, count: int, jobs: int) -> None:
        """See `crew.Side`."""
        self._ask("gather", operation, count, jobs)

    def release(self) -> None:
        """See `crew.Side`."""
        self._ask("release")

    def collect(self) -> list[float]:
        """See `crew.Side`."""
        return self._ask("collect")

    def fill(self, containers: int) -> None:
        """Make so many containers more; raises GovernorError [EIO]."""
        self._ask("fill", containers)

    def idle(self, processes: int) -> None:
        """Start so many processes that do nothing; raises GovernorError [EIO]."""
        self._ask("idle", processes)

    def weigh(self) -> Weight:
        """Return what the governor's processes have in memory; raises GovernorError [EIO]."""
        return Weight(*map(int, self._ask("weigh")))

    def leave(self) -> None:
        """Tell the governor to end, which it does in order; once more does nothing.

        One that is not ready yet does not look at its input: it is told by a signal.
        """
        stdin = self._process.stdin
        assert stdin is not None
        if stdin.closed:
            return
        if not self.ready:
            self._process.terminate()
        with contextlib.suppress(BrokenPipeError):
            stdin.close()

    def _ask(self, *words: object) -> list[float]:
        if not self.ready:
            # Only now: meanwhile the other governors of the section have started, too.
            self._expect("ready", _PATIENCE)
            self.ready = True
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(*words, file=stdin, flush=True)
        return [float(word) for word in self._expect("ok", surroundings.DEADLINE).split()]

    def _expect(self, word: str, patience: float) -> str:
        """Return what follows ``word`` on the next line; anything else is a GovernorError [EIO]."""
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], patience)
        if not ready:
            raise GovernorError(errno.EIO, f"governor: no answer in {patience:.0f} s")
        line = stdout.readline().strip()
        first, _, rest = line.partition(" ")
        if first != word:
            raise GovernorError(errno.EIO, f"governor: {rest or line or 'ended unexpectedly'}")
        return rest


@contextlib.contextmanager
def governed(programs: Programs, shape: Shape) -> Iterator[GovernedSurrounding]:
    """A governor in this shape, with at most `crowd.LARGEST` hierarchies; it starts meanwhile."""
    with tempfile.TemporaryDirectory(prefix=mark()) as directory:
        crowd.install_entry_points(Path(directory))
        path = os.pathsep.join([directory, *filter(None, sys.path)])
        command = [sys.executable, "-m", "governor.bench.served", *programs, "--"]
        # A process group of its own: Ctrl-C is for the benchmark, which then closes the input here.
        with subprocess.Popen(
            [*command, *shape.to_words()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=path),
            process_group=0,
        ) as process:
            surrounding = GovernedSurrounding(process, shape.note)
            try:
                yield surrounding
            finally:
                _end(process, surrounding)


def _end(process: subprocess.Popen[str], surrounding: GovernedSurrounding) -> None:
    """Have the governor end; kill what does not."""
    surrounding.leave()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
