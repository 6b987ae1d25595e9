"""A job's specification, and what the worker reports while it becomes the job."""

from __future__ import annotations

from governor.wire.codec import Catalogue
from governor.wire.named import Named


class JobSpec(Named):
    """Everything a worker needs to become the job.

    ``argv`` (for exec) or ``callable`` (a function pickled by multiprocess) is set.
    ``filter`` is the seccomp program, empty when nothing is to be trapped; ``cpus`` the
    affinity, empty for the inherited one; ``pgid`` the process group to join, 0 for a
    session of its own. ``modules`` is where the callable's modules are found.
    """

    argv: list[bytes]
    callable: bytes
    env: dict[bytes, bytes]
    cwd: bytes
    umask: int
    filter: bytes
    cpus: list[int]
    pgid: int
    modules: list[str]


class Ready(Named):
    """Worker: ready to run. Descriptor: the listener of its filter, when that could be installed.

    ``refusal`` says why it could not, and is empty otherwise.
    """

    refusal: str


class Go(Named):
    """Supervisor: the process is in its containers, run the job."""


class Bind(Named):
    """Supervisor, before `Go`: allocate memory from these nodes only, and so do your children."""

    nodes: list[int]


class Failed(Named):
    """Worker: the job could not be started; ``step`` says what failed."""

    errno: int
    step: str


FROM_WORKER = Catalogue([Ready, Failed])
TO_WORKER = Catalogue([Bind, Go])
SPEC = Catalogue([JobSpec])
