"""What a job and a container come to, as the supervisor tells it and the API returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

TIMED_OUT: Final = 124
OWN_FAILURE: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Exit codes that are not the program's own, as of timeout(1) and env(1)."""

ENFORCED: Final = "enforced"
PARTIAL: Final = "partial"
"""Enforced for some processes only, or against some of the ways round."""
OBSERVED: Final = "observed"
LEVELS: Final = (ENFORCED, PARTIAL, OBSERVED)
"""How well a subsystem is enforced, from the best level to the worst."""

Value = int | str
"""What a control file reads as and is written with."""


class Refusal(NamedTuple):
    """What was refused to a job at one container: ``times`` calls, by its bound on a resource.

    ``container`` is ``hierarchy:/path``, ``resource`` such as ``tasks`` or ``files``; ``limit`` (or
    the barrier, if that was met) and ``held`` are what they were the last time.
    """

    container: str
    resource: str
    limit: int
    held: int
    times: int

    def __str__(self) -> str:
        often = "once" if self.times == 1 else f"{self.times} times"
        return f"{self.resource} at {self.container} {often} (limit {self.limit}, held {self.held})"


class JobResult(NamedTuple):
    """How a job ended.

    ``exit_code`` is the program's, 128+n when signal n ended it, 124 after a timeout,
    126 or 127 when it could not be run, 125 when governor could not start it; ``error``
    says why. Times are in seconds; ``cpu_seconds`` includes all children that were waited for.
    ``unenforced``: why the job ran without its limits being enforced, if it did. ``refusals``:
    what its processes were refused until then, a row for each container and resource.
    """

    exit_code: int
    signal: int | None
    wall_seconds: float
    cpu_seconds: float
    timed_out: bool
    error: str | None
    unenforced: str | None = None
    refusals: tuple[Refusal, ...] = ()

    @classmethod
    def read(cls, row: Sequence[Any]) -> JobResult:
        """The result in a message or a record; an older one has fewer fields."""
        result = cls(*row)
        return result._replace(refusals=tuple(Refusal(*refusal) for refusal in result.refusals))

    def row(self) -> list[Any]:
        """What `read` reads."""
        return [*self[:-1], [list(refusal) for refusal in self.refusals]]

    def check(self, name: str = "") -> JobResult:
        """The result itself if the job succeeded. `JobFailed`: it did not.

        That is `JobTimeout` after a timeout, else `LimitExceeded` if something was refused to the
        job. ``name``: what to call it.
        """
        if self.exit_code == 0:
            return self
        from governor.errors import JobFailed, JobTimeout, LimitExceeded

        if self.timed_out:
            raise JobTimeout(name, self)
        if self.refusals:
            raise LimitExceeded.of(self.refusals, name, self)
        raise JobFailed(name, self)


class ContainerReport(NamedTuple):
    """A container in a snapshot: ``level`` by subsystem, ``files`` by control file."""

    hierarchy: str
    path: str
    level: dict[str, str]
    files: dict[str, Value]


class HierarchyReport(NamedTuple):
    """A hierarchy: the labels of its subsystems, how many containers and groups there are.

    Hierarchy ``0`` is that of the unbound subsystems; it has one container and no limits.
    """

    name: str
    subsystems: list[str]
    mounted: bool
    containers: int
    groups: int


class Place(NamedTuple):
    """Where a process is in one hierarchy. As a text: ``numtasks,numfiles:/students/bob``."""

    subsystems: list[str]
    hierarchy: str
    path: str

    def __str__(self) -> str:
        return f"{','.join(self.subsystems)}:{self.path}"


class ProcessReport(NamedTuple):
    """A governed process: ``job`` is 0 for one that was moved in; ``path`` its container's."""

    pid: int
    job: int
    path: str
    state: str
    threads: int
    command: str


class JobReport(NamedTuple):
    """A job: ``containers`` as ``hierarchy:/path``; ``exit_code`` is None while it runs."""

    id: int
    name: str
    pid: int
    containers: list[str]
    seconds: float
    exit_code: int | None


class Event(NamedTuple):
    """Something that happened: ``time`` in seconds since the epoch, ``fields`` by its kind."""

    number: int
    time: float
    kind: str
    hierarchy: str
    path: str
    fields: dict[str, Value]

    def concerns(self, hierarchy: str, path: str) -> bool:
        """Whether it happened to this container, to one below it, or to a job or process there.

        Who leaves a container concerns it, too.
        """
        places = [(self.hierarchy, self.path)] if self.hierarchy else []
        if "source" in self.fields:
            places.append((self.hierarchy, str(self.fields["source"])))
        for label in _labels(str(self.fields.get("containers", ""))):
            name, _, place = label.partition(":")
            places.append((name, place))
        below = f"{path.rstrip('/')}/"
        return any(h == hierarchy and f"{p.rstrip('/')}/".startswith(below) for h, p in places)


class StatusReport(NamedTuple):
    """A running governor: ``uptime`` in seconds, ``directory`` where its sockets are.

    ``agent`` and ``spawner`` are processes, 0 while one is being replaced; restarts are those
    since ``pid`` began.
    """

    version: str
    pid: int
    uid: int
    directory: str
    uptime: float
    hierarchies: int
    containers: int
    groups: int
    jobs: int
    processes: int
    agent_restarts: int = 0
    spawner_restarts: int = 0
    agent: int = 0
    spawner: int = 0


def _labels(text: str) -> list[str]:
    """The containers of a text that has them one after the other, ``load:/a b cpu:/x``."""
    import re

    return re.split(r" (?=[^ :/]+:/)", text) if text else []
