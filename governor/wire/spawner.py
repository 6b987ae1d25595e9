"""Supervisor and spawner: what to fork, and what became of it. File descriptors travel along."""

from __future__ import annotations

from governor.wire.codec import Catalogue
from governor.wire.named import Named


class StartAgent(Named):
    """Supervisor: fork an agent that connects to ``endpoint``.

    Descriptors: its channel and its estate, the memory that outlives it.
    """

    endpoint: str


class StartWorker(Named):
    """Supervisor: fork a worker for a job.

    Descriptors: the job's specification (a memory file), its stdin, stdout and stderr,
    and the socket on which the worker reports.
    """

    job: int


class Started(Named):
    """Spawner: the process forked for ``job``, 0 for an agent. ``errno`` when fork failed."""

    job: int
    pid: int
    errno: int


class Reaped(Named):
    """Spawner: a process has ended; ``job`` and ``group`` are those of its tag, or 0.

    It is still there, as a zombie, until `Buried` follows.
    ``status`` is a wait status, ``cpu`` nanoseconds used including reaped children,
    ``start`` the start time in clock ticks since boot.
    """

    pid: int
    job: int
    group: int
    status: int
    cpu: int
    start: int


class UserTime(Named):
    """Spawner: so much of what the next `Reaped` reports was user time, in nanoseconds."""

    ns: int


class Buried(Named):
    """Spawner: the process that the last `Reaped` was about is gone for good."""

    pid: int


class Probe(Named):
    """Supervisor: are you there?"""

    number: int


class Alive(Named):
    """Spawner: yes."""

    number: int


class Keep(Named):
    """Supervisor: keep a copy of this descriptor for whoever takes my place.

    ``kind`` and ``id`` are the supervisor's names for it.
    """

    kind: str
    id: int


class Drop(Named):
    """Supervisor: the descriptor that was kept under this name is not needed any more."""

    kind: str
    id: int


class Recorded(Named):
    """Supervisor: so many more ends need not be reported to whoever takes my place."""

    ends: int


class Kept(Named):
    """Spawner, to a new supervisor: what the one before had kept, as a descriptor."""

    kind: str
    id: int


class Running(Named):
    """Spawner, to a new supervisor: this process of ``job``, 0 for an agent, has not ended."""

    job: int
    pid: int


class Inherited(Named):
    """Spawner, to a new supervisor of the governor ``nonce``: that was all.

    What follows are reports, first those that the supervisor before has not recorded.
    """

    nonce: int


class Quit(Named):
    """Supervisor: kill what is left, remove ``directory`` and end."""


ESTATE, AGENT, LISTENER = "estate", "agent", "listener"
"""What is kept: the agents' memory and the agent's pidfd under id 0, listeners under their jobs."""

TO_SPAWNER = Catalogue([StartAgent, StartWorker, Probe, Keep, Drop, Recorded, Quit])
FROM_SPAWNER = Catalogue([Started, Reaped, UserTime, Buried, Alive, Kept, Running, Inherited])
