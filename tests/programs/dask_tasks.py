"""Tasks for the tests of governor.dask; a job has to import nothing else for them."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any


def affinity() -> str:
    """The CPUs that this process may use, as the kernel says."""
    status = Path("/proc/self/status").read_text()
    return status.split("Cpus_allowed_list:")[1].split()[0]


def wait_for(path: str) -> None:
    """Until there is such a file."""
    while not os.path.exists(path):
        time.sleep(0.01)


def wait_here(place: str, end: str) -> str:
    """Tell in a file of this directory which process this is, and wait for the file ``end``."""
    unfinished = Path(place, f".{os.getpid()}")
    unfinished.touch()
    unfinished.rename(Path(place, str(os.getpid())))
    wait_for(end)
    return "waited"


def bomb(end: str) -> tuple[int, int]:
    """Fork until that is refused, and go on trying until there is the file ``end``.

    At most 100 times, should nobody refuse. How many forks succeeded, how many were refused; any
    other error is raised.
    """
    made = refused = 0
    while made < 100 and not (refused and os.path.exists(end)):
        try:
            pid = os.fork()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            refused += 1
            time.sleep(0.001)
            continue
        if not pid:
            time.sleep(120)
            os._exit(0)
        made += 1
    return made, refused


def commands(number: int) -> int:
    """Start so many programs, one after the other; how many succeeded."""
    return sum(subprocess.run(["true"], check=True).returncode == 0 for _ in range(number))


def burn(seconds: float) -> float:
    """Use CPU time; what getrusage says of it."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    while own.ru_utime + own.ru_stime < seconds:
        own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def open_files(number: int) -> None:
    """Open so many files at once."""
    with contextlib.ExitStack() as opened:
        for _ in range(number):
            opened.enter_context(open(os.devnull))


def fail_at_first(place: str) -> str:
    """Fail, unless it has failed before."""
    path = Path(place, "failed")
    if not path.exists():
        path.touch()
        raise ValueError("the first time")
    return "well"


class Unsendable:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("no way")


class Unreadable:
    """Can be pickled, but not read in a job."""

    def __init__(self) -> None:
        self.sender = os.getpid()

    def __len__(self) -> int:
        return self.sender

    def __setstate__(self, state: Any) -> None:
        if governed():
            raise LookupError("not here")
        self.__dict__.update(state)


def governed() -> bool:
    """Whether a filter of governor's is in force for this process."""
    return "Seccomp:\t2" in Path("/proc/self/status").read_text()


class Actor:
    """Something that is to live in a worker."""


async def coroutine() -> int:
    """What Dask calls in its own loop."""
    return os.getpid()
