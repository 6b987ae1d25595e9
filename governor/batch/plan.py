"""A batch file that has been checked: plain values, absolute paths; and the error if wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from governor.report import FAILED, TIMEOUT


class Setting(NamedTuple):
    """One control file to write, with the line of the batch file that asks for it."""

    file: str
    value: int | str
    line: int


class ContainerPlan(NamedTuple):
    """A container to make (unless it is the root, ``/``) and what to write into it, in order.

    At most ``max_jobs`` run in it and below it at once.
    """

    path: str
    settings: tuple[Setting, ...]
    line: int
    max_jobs: int | None = None


class HierarchyPlan(NamedTuple):
    """A hierarchy to mount; ``containers`` has every container to make, parents before children."""

    name: str
    subsystems: tuple[str, ...]
    containers: tuple[ContainerPlan, ...]
    line: int


NO_VALUES: Final[Mapping[str, str]] = {}


class Retry(NamedTuple):
    """Starting a failed job again, ``times`` times at most, after ``delay`` seconds at first.

    The delay doubles up to ``most``. ``on`` has statuses and exit codes to do so for.
    """

    times: int = 0
    delay: float = 1.0
    most: float = 60.0
    on: tuple[int | str, ...] = (FAILED, TIMEOUT)


class Success(NamedTuple):
    """What makes a success of a job's end. Paths are absolute; ``output`` is to be found in it."""

    exit_codes: tuple[int, ...] = (0,)
    files: tuple[str, ...] = ()
    nonempty_files: tuple[str, ...] = ()
    output: str | None = None


class JobPlan(NamedTuple):
    """A job to start. ``containers`` holds (hierarchy, path) pairs, timeouts are in seconds.

    ``stdin``, ``stdout`` and ``stderr`` are absolute paths, or None where the runner chooses;
    ``stdin_text`` is what standard input has in place of a file.
    ``after`` names the jobs that have to succeed before. ``table`` is the name in the file, which
    the jobs of a matrix share; ``values`` is what sets them apart.
    """

    name: str
    argv: tuple[str, ...]
    containers: tuple[tuple[str, str], ...]
    cwd: str
    env: Mapping[str, str]
    timeout: float | None
    stdin: str | None
    stdout: str | None
    stderr: str | None
    after: tuple[str, ...] = ()
    priority: int = 0
    cpu_timeout: float | None = None
    retry: Retry = Retry()
    success: Success = Success()
    line: int = 0
    table: str = ""
    values: Mapping[str, str] = NO_VALUES
    stdin_text: str | None = None

    @property
    def where(self) -> tuple[str, ...]:
        """The containers as they are written: ``hierarchy:/path``."""
        return tuple(f"{hierarchy}:{path}" for hierarchy, path in self.containers)


class BatchPlan(NamedTuple):
    """Everything a batch file asks for. ``source`` is the file's name as the user gave it."""

    source: str
    title: str
    hierarchies: tuple[HierarchyPlan, ...]
    jobs: tuple[JobPlan, ...]


class Mistake(NamedTuple):
    """Something wrong in a batch file; ``line`` is 0 when it is about the file as a whole."""

    line: int
    text: str


class BatchFileError(Exception):
    """A batch file cannot be used; ``mistakes`` has all that is wrong with it, by line."""

    def __init__(self, source: str, mistakes: list[Mistake]) -> None:
        super().__init__(source, mistakes)
        self.source = source
        self.mistakes = sorted(mistakes, key=lambda mistake: mistake.line)

    def __str__(self) -> str:
        """One line ``FILE:LINE: what is wrong`` per mistake, as compilers write them."""
        places = (f"{self.source}:{line}" if line else self.source for line, _ in self.mistakes)
        return "\n".join(
            one_line(f"{place}: {text}")
            for place, (_, text) in zip(places, self.mistakes, strict=True)
        )


def is_stream(source: str) -> bool:
    """Whether a batch file is a descriptor of this process, such as /dev/stdin: it has no place."""
    return os.path.dirname(source) in ("/dev", "/dev/fd", "/proc/self/fd")


def one_line(text: str) -> str:
    """Return ``text`` with the line ends and terminal controls that are in it made visible."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def parents(path: str) -> list[str]:
    """Return the containers above ``path``, the outermost first, without the root and itself."""
    names = path.split("/")
    return ["/".join(names[:length]) for length in range(2, len(names))]
