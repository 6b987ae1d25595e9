"""Clients and supervisor: one class per verb, each answered by `Result` or `Failure`."""

from __future__ import annotations

from typing import Any

from governor.wire.codec import Catalogue
from governor.wire.named import Named


class Mount(Named):
    """Activate a hierarchy; the answer is its name."""

    request: int
    name: str
    subsystems: list[str]


class Umount(Named):
    """Unmount a hierarchy."""

    request: int
    name: str


class Mkdir(Named):
    """Make a container."""

    request: int
    hierarchy: str
    path: str


class Rmdir(Named):
    """Remove a container."""

    request: int
    hierarchy: str
    path: str


class Lookup(Named):
    """Check that a container exists."""

    request: int
    hierarchy: str
    path: str


class Read(Named):
    """Read a control file; the answer is an int or a str."""

    request: int
    hierarchy: str
    path: str
    file: str


class Write(Named):
    """Write a control file."""

    request: int
    hierarchy: str
    path: str
    file: str
    value: int | str


class Attach(Named):
    """Move a process into a container."""

    request: int
    hierarchy: str
    path: str
    pid: int


class AttachMany(Named):
    """Move processes into a container, all or none; the answer is how many have moved.

    ``within``: refused when a limit there would be exceeded.
    """

    request: int
    hierarchy: str
    path: str
    pids: list[int]
    within: bool


class AttachAll(Named):
    """Move everybody in container ``source``, which may be in another hierarchy, into this one.

    ``recursive``: in those below it, too. The rest is as in `AttachMany`.
    """

    request: int
    hierarchy: str
    path: str
    source_hierarchy: str
    source: str
    recursive: bool
    within: bool


class Tasks(Named):
    """The pids of the processes in a container, without its sub-containers."""

    request: int
    hierarchy: str
    path: str


class Remount(Named):
    """Bind other subsystems to a hierarchy whose root is alone; the answer is that of Mount."""

    request: int
    name: str
    subsystems: list[str]


class Hierarchies(Named):
    """All hierarchies, first that of the unbound (``0``): see `results.HierarchyReport`."""

    request: int


class List(Named):
    """What is in a container: ``[children, [[file, writable], ...]]``."""

    request: int
    hierarchy: str
    path: str


class Rename(Named):
    """Give a container another name in the same parent; the answer is its new path."""

    request: int
    hierarchy: str
    path: str
    name: str


class Remove(Named):
    """Remove a container, with all below it and all processes in it if that is asked for.

    ``grace``: seconds between TERM and KILL.
    """

    request: int
    hierarchy: str
    path: str
    recursive: bool
    kill: bool
    grace: float


class Where(Named):
    """Where a process is: ``[[subsystems, hierarchy, path], ...]``, one per hierarchy."""

    request: int
    pid: int


class Kill(Named):
    """Signal every process in a container; the answer is how many there were."""

    request: int
    hierarchy: str
    path: str
    signal: int
    recursive: bool


class Processes(Named):
    """The processes of a container: see `results.ProcessReport`."""

    request: int
    hierarchy: str
    path: str
    recursive: bool


class Jobs(Named):
    """All jobs that have not been forgotten: see `results.JobReport`."""

    request: int


class Follow(Named):
    """Events later than number ``after`` (-1: from now on): see `results.Event`.

    Answered with ``[last number, events lost, events]``, as soon as there is one or after
    ``timeout`` seconds.
    """

    request: int
    after: int
    timeout: float


class Log(Named):
    """`Follow` for one who keeps all events: at its end a governor waits until it has them.

    ``keeper`` is a name of its own. It has all events up to ``after`` when it asks; -1: it keeps
    them no more.
    """

    request: int
    keeper: str
    after: int
    timeout: float


class Status(Named):
    """What the governor is: see `results.StatusReport`."""

    request: int


class State(Named):
    """Where everything is recorded and why it is not, ``[directory, failure]``, empty if so."""

    request: int


class Snapshot(Named):
    """All containers with their control files and levels of enforcement."""

    request: int


class Look(Named):
    """All containers, of their control files only those whose names end in one of ``endings``."""

    request: int
    endings: list[str]


class Scrape(Named):
    """Everything that metrics tell, by columns: see `governor.supervisor.columns`.

    ``shapes``: the version of each hierarchy's list of paths that the asker has, which is then
    not sent again. ``keep``: for so many seconds it is told of what was removed or has ended.
    """

    request: int
    shapes: dict[str, Any]
    keep: float


class Spawn(Named):
    """Start a job; the answer is ``[job, pid]``.

    ``token`` names the stdio descriptors sent ahead on the supervisor's descriptor socket.
    ``containers`` is hierarchy name to path. ``timeout`` is in seconds.
    """

    request: int
    name: str
    argv: list[bytes]
    callable: bytes
    env: dict[bytes, bytes]
    cwd: bytes
    umask: int
    pgid: int
    modules: list[str]
    containers: dict[str, str]
    timeout: float | None
    grace: float
    token: str


class Wait(Named):
    """Wait until one of the jobs has ended; the answer is the results of those that have."""

    request: int
    jobs: list[int]
    timeout: float | None


class Signal(Named):
    """Send a signal to a job's first process."""

    request: int
    job: int
    signal: int


class StopJobs(Named):
    """End jobs with all their processes: TERM, KILL after ``grace`` seconds."""

    request: int
    jobs: list[int]
    grace: float


class Shutdown(Named):
    """End every job and the governor itself."""

    request: int
    grace: float


class Stdio(Named):
    """Client, on the descriptor socket: stdin, stdout and stderr for the job with this token."""

    token: str


class Result(Named):
    """Supervisor: a request was carried out."""

    request: int
    value: Any


class Failure(Named):
    """Supervisor: a request was refused and changed nothing."""

    request: int
    errno: int
    message: str


VERBS = (
    Mount, Umount, Mkdir, Rmdir, Lookup, Read, Write, Attach, Tasks, Snapshot,
    Spawn, Wait, Signal, StopJobs, Shutdown, Remount, Hierarchies, List, Rename, Remove, Where,
    Kill, Processes, Jobs, Follow, Status, State, Look, Scrape, Log, AttachMany, AttachAll,
)  # fmt: skip
TO_SUPERVISOR = Catalogue(VERBS)
STDIO = Catalogue([Stdio])
FROM_SUPERVISOR = Catalogue([Result, Failure])
