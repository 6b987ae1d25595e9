"""Entries: processes that are on their way into other namespaces, and into a new container.

The call waits until the supervisor has made the container. Then whoever calls gets the new
group first and makes the call afterwards, so that nothing of it is ever outside; a child is
born into the group of its parent, which has the new one just for that. When the call is over,
whoever should not be in the new group is put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from workers import membership, namespaces, tasks
from workers.listener import Trap
from workers.membership import Tag
from workers.syscalls import Table
from workers.tasks import Reservation, reserve, settled


class Entry:
    """One call that brings somebody into other namespaces."""

    def __init__(self, ticket: int, trap: Trap, pid: int, child: bool) -> None:
        self.ticket = ticket
        self.trap = trap
        self.pid = pid
        self.child = child
        self.before = namespaces.links(trap.tid)
        self.old: Tag | None = None
        self.new: Tag | None = None
        self.reservation: Reservation | None = None

    @property
    def entered(self) -> bool:
        """Whether the caller is in other namespaces than before; nobody asks for a child's."""
        if tasks.process_of(self.trap.tid) is None:
            return False
        # Of a process that has just got new rights, an ordinary user may not see where it is.
        hidden = not self.before
        return not self.child and (hidden or namespaces.links(self.trap.tid) != self.before)


class Entries:
    """All entries: those that wait for the supervisor, and those whose call is under way."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._last = 0
        self._waiting: dict[int, Entry] = {}
        self._calling: dict[int, Entry] = {}

    def __bool__(self) -> bool:
        return bool(self._calling)

    def begin(self, trap: Trap) -> Entry | None:
        """The entry that a call is, None for one that is none or whose caller has gone."""
        if not namespaces.enters(self._table, trap.nr, trap.args, trap.tid):
            return None
        pid = tasks.process_of(trap.tid)
        if pid is None:
            return None
        self._last += 1
        child = namespaces.makes_child(self._table, trap.nr)
        entry = self._waiting[self._last] = Entry(self._last, trap, pid, child)
        return entry

    def allow(self, ticket: int, group: int, follow: Callable[[int], None]) -> Entry | None:
        """The supervisor has answered: the process gets the new group, unless that is 0.

        ``follow(job)``: some process of that job is about to be in another group.
        """
        entry = self._waiting.pop(ticket, None)
        if entry is None or not group:
            return entry
        with contextlib.suppress(ProcessLookupError, PermissionError):
            entry.old = membership.read(entry.pid)
            if entry.old is not None:
                follow(entry.old.job)
                entry.new = entry.old._replace(group=group)
                membership.write(entry.pid, entry.new)
        entry.reservation = reserve(entry.trap.tid)
        self._calling[entry.trap.tid] = entry
        return entry

    def over(self, tid: int | None = None) -> Iterator[tuple[Entry, bool]]:
        """Entries whose call is over, and whether the caller entered; the others are put back.

        ``tid``: a thread that makes its next call, so that the one before is over.
        """
        for entry in list(self._calling.values()):
            if entry.trap.tid == tid or self._has_settled(entry):
                del self._calling[entry.trap.tid]
                entered = entry.entered
                if not entered:
                    self._put_back(entry)
                yield entry, entered

    def drop(self, gone: Callable[[Trap], bool]) -> list[Entry]:
        """Forget those that wait and whose caller is gone."""
        dropped = [entry for entry in self._waiting.values() if gone(entry.trap)]
        for entry in dropped:
            del self._waiting[entry.ticket]
        return dropped

    def _has_settled(self, entry: Entry) -> bool:
        assert entry.reservation is not None
        return settled(entry.reservation, {entry.trap.nr})

    def _put_back(self, entry: Entry) -> None:
        """Give the caller its old group, unless somebody has moved it meanwhile.

        Another thread of it may have moved it on: that one's call is to put it back there.
        """
        for other in self._calling.values():
            if other.pid == entry.pid and other.old == entry.new:
                other.old = entry.old
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if entry.old is not None and membership.read(entry.pid) == entry.new:
                membership.write(entry.pid, entry.old)
