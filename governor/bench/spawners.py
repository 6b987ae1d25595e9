"""Other ways to start a program and wait for its end: surroundings that only start programs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

from governor.bench.companion import Wait, local
from governor.bench.controls import time_to_start, timed
from governor.bench.helpers import Programs, need
from governor.bench.operations import SPAWN, START
from governor.bench.surroundings import Surrounding
from governor.errors import GovernorError

PYTHON: Final = "python3 -c pass"
COLD: Final = "governor run"

_SILENT: Final = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]

# What the installed console script does, so that the benchmark works in a source tree too.
_ENTRY: Final = "from governor.__main__ import entry; entry()"


class Spawner(Surrounding):
    """Whole processes, from before the start until they are reaped.

    With ``programs`` also until their main function begins: those started with ``before`` them.
    """

    def __init__(
        self,
        spawn: Callable[[], None],
        programs: Programs | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self._spawn, self._programs, self._before = spawn, programs, before

    def can(self, operation: str) -> bool:
        """Whether the operation is to start a job."""
        return operation == SPAWN.name or (operation == START.name and self._programs is not None)

    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one start; raises GovernorError [EIO]."""
        if operation == START.name and self._programs is not None:
            return time_to_start(self._start, self._programs, count)
        return timed(self._spawn, count)

    def _start(self, command: list[str], stdin: int, stdout: int) -> Wait:
        return local([*self._before, *command], stdin, stdout)


def bare(programs: Programs) -> Spawner:
    """`true`, started as cheaply as Python can."""
    return Spawner(_spawning([need("true")]), programs)


def python() -> Spawner:
    """An interpreter with nothing to do: what any tool in Python costs at least."""
    return Spawner(_spawning([sys.executable, "-c", "pass"]))


def cold(programs: Programs) -> Spawner:
    """`governor run -- true`: a governor for one job."""
    command = [sys.executable, "-c", _ENTRY, "run", "--"]
    return Spawner(_spawning([*command, "true"]), programs, command)


def with_subprocess() -> Spawner:
    """What a Python program would do itself."""
    true = need("true")

    def start() -> None:
        subprocess.run([true], check=True)

    return Spawner(start)


def with_multiprocessing() -> Spawner:
    """A function that does nothing, by this Python's usual way to start a process."""
    import multiprocessing

    def start() -> None:
        process = multiprocessing.Process(target=int)
        process.start()
        process.join()

    return Spawner(start)


def cgexec() -> Spawner:
    """libcgroup: the command in a cgroup that is there."""
    return Spawner(_spawning([need("cgexec"), "-g", "pids:/", need("true")]))


def systemd_run() -> Spawner:
    """systemd: the command in a scope, a cgroup of its own."""
    whose = [] if os.geteuid() == 0 else ["--user"]
    options = ["--scope", "--quiet", "--collect"]
    return Spawner(_spawning([need("systemd-run"), *whose, *options, need("true")]))


def runexec() -> Spawner:
    """BenchExec: the command in cgroups of its own; in no namespaces, as nobody here.

    It ends with 0 whatever the command does, but then does not say that that did so.
    """
    options = ["--quiet", "--no-container", "--output", "/dev/null"]
    return Spawner(_spawning([need("runexec"), *options, need("true")], says="returnvalue=0"))


def parallel() -> Spawner:
    """GNU parallel with one job."""
    return Spawner(_spawning([need("parallel"), "--will-cite", "true", ":::", "1"]))


def _spawning(command: list[str], says: str = "") -> Callable[[], None]:
    """Return what starts a command and waits for its end.

    Raises GovernorError [ENOTSUP] when it does not succeed, or does not print ``says``.
    """
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode or says not in tried.stdout:
        what = f"{os.path.basename(command[0])} ended with {tried.returncode}"
        reason = ": ".join([what, *tried.stderr.strip().splitlines()[-1:]])
        raise GovernorError(errno.ENOTSUP, reason)
    path = shutil.which(command[0]) or command[0]

    def start() -> None:
        pid = os.posix_spawn(path, command, os.environ, file_actions=_SILENT)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise GovernorError(errno.EIO, f"{' '.join(command)} ended with {status}")

    return start
