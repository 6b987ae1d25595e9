"""Open files: what the kernel calls a ``struct file``, however many descriptors show it."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from workers import files
from workers.resources import NONE_KNOWN, Resource, When
from workers.syscalls import CLONE_PIDFD, Table, created


class Counted(Resource):
    """As open(2) fails at the kernel's own limits.

    Besides the calls whose purpose it is, a clone may make a file: a pidfd. No filter can see
    the flags of clone3.
    """

    name = "files"
    errno = errno.EMFILE
    movable = True

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.calls = {**table.files, table.clone: 1, table.clone3: 1}
        self.when = {table.clone: When(0, bits=CLONE_PIDFD)}
        self.may_block = table.may_block
        self._leaving: frozenset[int] = frozenset()

    def exact(self, nr: int, args: Sequence[int], tid: int) -> int:
        """A signalfd may change a file it has, and most clones make no pidfd."""
        return created(self.table, nr, args, tid)

    def count(self, pids: Sequence[int]) -> int:
        """Different files; what cannot be told apart counts in full: never too little."""
        held, hidden = files.distinct(pids)
        self._leaving = frozenset(pid for pid in hidden if files.exiting(pid))
        unreadable = set(hidden) - self._leaving
        self.unreadable.update(unreadable)
        return held + sum(files.descriptors(pid) or 0 for pid in unreadable)

    def leaving(self) -> int:
        """Descriptors of the processes that may not be looked into because they are ending."""
        return sum(files.descriptors(pid) or 0 for pid in self._leaving)

    def at_most(self, pids: Sequence[int], threads: Mapping[int, int] = NONE_KNOWN) -> int | None:
        """Their descriptors."""
        return files.upper_bound(pids, threads)
