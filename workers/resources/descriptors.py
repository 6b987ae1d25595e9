"""What is found by looking at descriptors: the part that such resources share."""

from __future__ import annotations

from collections.abc import Sequence

from workers import files
from workers.files import Holder
from workers.resources import Resource
from workers.syscalls import Table, read_memory
from workers.tasks import process_of


class Described(Resource):
    """Something behind descriptors, so that processes inherit it and pass it on.

    What processes hold that may not be looked into is not counted; they are ``unreadable``.
    """

    movable = True

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._leaving: frozenset[int] = frozenset()

    def look(self, found: list[Holder]) -> int:
        """How much there is behind these descriptors."""
        raise NotImplementedError

    def count(self, pids: Sequence[int]) -> int:
        """Look at all descriptors of these processes."""
        found, hidden = files.holders(pids)
        self._leaving = frozenset(pid for pid in hidden if files.exiting(pid))
        self.unreadable.update(set(hidden) - self._leaving)
        return self.look(found)

    def memory(self, tid: int, address: int, size: int) -> bytes | None:
        """Read what a call of ``tid`` points to; a process that may not be read is noted."""
        data = read_memory(tid, address, size)
        if data is None:
            pid = process_of(tid)
            if pid is not None:
                self.unreadable.add(pid)
        return data

    def leaving(self) -> int:
        """Descriptors of processes that end: any of them may be one of these."""
        return sum(files.descriptors(pid) or 0 for pid in self._leaving)
