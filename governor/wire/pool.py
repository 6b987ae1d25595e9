"""An executor and the nursery of its workers, which is a job: forks and ends."""

from __future__ import annotations

from governor.wire.codec import Catalogue
from governor.wire.named import Named


class Fork(Named):
    """Executor: fork a worker. Descriptor: the socket on which it gets calls."""

    worker: int


class Learn(Named):
    """Executor: calls are coming that multiprocess has pickled; every worker has to read them."""


class Forked(Named):
    """Worker: its process, before it takes calls. Nursery: the ``errno`` with which fork failed."""

    worker: int
    pid: int
    errno: int


class Ended(Named):
    """Nursery: a worker has ended, with this wait status."""

    worker: int
    status: int


TO_NURSERY = Catalogue([Fork, Learn])
FROM_NURSERY = Catalogue([Forked, Ended])
