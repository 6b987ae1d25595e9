"""A batch file that has been checked: plain values, absolute paths; and the error if wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Setting(NamedTuple):
    """One control file to write, with the line of the batch file that asks for it."""

    file: str
    value: int | str
    line: int


class ContainerPlan(NamedTuple):
    """A container to make (unless it is the root, ``/``) and what to write into it, in order."""

    path: str
    settings: tuple[Setting, ...]
    line: int


class HierarchyPlan(NamedTuple):
    """A hierarchy to mount; ``containers`` has every container to make, parents before children."""

    name: str
    subsystems: tuple[str, ...]
    containers: tuple[ContainerPlan, ...]
    line: int


class JobPlan(NamedTuple):
    """A job to start. ``containers`` holds (hierarchy, path) pairs, ``timeout`` is in seconds.

    ``stdin``, ``stdout`` and ``stderr`` are absolute paths, or None where the runner chooses.
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


def one_line(text: str) -> str:
    """Return ``text`` with the line ends and terminal controls that are in it made visible."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def parents(path: str) -> list[str]:
    """Return the containers above ``path``, the outermost first, without the root and itself."""
    names = path.split("/")
    return ["/".join(names[:length]) for length in range(2, len(names))]
