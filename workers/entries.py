"""Entries: processes that are on their way into other namespaces, and into a new container.

The call waits until the supervisor has made the container. Then whoever calls gets the new
group first and makes the call afterwards, so that nothing of it is ever outside; a child is
born into the group of its parent, which has the new one just for that. When the call is over,
whoever should not be in the new group is put back.
"""

from __future__ import annotations

import contextlib
import struct
from binascii import crc32
from collections.abc import Callable, Iterator

from workers import membership, namespaces, tasks
from workers.estate import ENTRY, Estate
from workers.listener import Trap
from workers.membership import Tag
from workers.syscalls import Table
from workers.tasks import Reservation, reserve, settled

_RECORD = struct.Struct("=Q8q")
"""What a successor has to know: call, job, tid, nr, pid, child, before, old tag, new tag."""
_OLD, _NEW = 7, 8


class Entry:
    """One call that brings somebody into other namespaces.

    ``trap`` is None for one that another agent has answered.
    """

    def __init__(
        self, ticket: int, trap: Trap | None, tid: int, nr: int, pid: int, child: bool
    ) -> None:
        self.ticket = ticket
        self.trap = trap
        self.tid = tid
        self.nr = nr
        self.pid = pid
        self.child = child
        self.record = 0
        self.before = _place(tid)
        self.old: Tag | None = None
        self.new: Tag | None = None
        self.reservation: Reservation | None = None

    @property
    def entered(self) -> bool:
        """Whether the caller is in other namespaces than before; nobody asks for a child's."""
        if tasks.process_of(self.tid) is None:
            return False
        # Of a process that has just got new rights, an ordinary user may not see where it is.
        hidden = not self.before
        return not self.child and (hidden or _place(self.tid) != self.before)


class Entries:
    """All entries: those that wait for the supervisor, and those whose call is under way."""

    def __init__(self, table: Table, estate: Estate) -> None:
        self._table = table
        self._estate = estate
        # Tickets that another agent has given to calls, by job and id.
        self._tickets: dict[tuple[int, int], int] = {}
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
        trap.keep()
        job = trap.listener.job
        ticket = self._tickets.pop((job, trap.id), None) or self._estate.new_ticket()
        child = namespaces.makes_child(self._table, trap.nr)
        entry = Entry(ticket, trap, trap.tid, trap.nr, pid, child)
        body = _RECORD.pack(trap.id, job, trap.tid, trap.nr, pid, child, entry.before, 0, 0)
        entry.record = self._estate.add(ENTRY, ticket, body)
        self._waiting[ticket] = entry
        return entry

    def resume(self, waits: Callable[[int, int], bool]) -> list[int]:
        """Take over what another agent has begun; the tickets of all that.

        A call that ``waits`` begins again, with its ticket and with the old tag.
        """
        tickets = self._estate.owners(ENTRY)
        for ticket in tickets:
            record = self._estate.find(ENTRY, ticket)
            assert record is not None
            entry, job, call = self._read(ticket, record)
            if waits(job, call):
                self._put_back(entry)
                self._tickets[job, call] = ticket
                self._estate.free(record)
            else:
                self._calling[entry.tid] = entry
        return tickets

    def _read(self, ticket: int, record: int) -> tuple[Entry, int, int]:
        """An entry as it was, its job and the id of its call."""
        body = self._estate.body(record)
        call, job, tid, nr, pid, child, before, old, new = _RECORD.unpack_from(body)
        entry = Entry(ticket, None, tid, nr, pid, bool(child))
        entry.record, entry.before = record, before
        if new:
            entry.old, entry.new = Tag.decode(old), Tag.decode(new)
        entry.reservation = reserve(tid)
        return entry, job, call

    def allow(self, ticket: int, group: int, follow: Callable[[int], None]) -> Entry | None:
        """The supervisor has answered: the process gets the new group, unless that is 0.

        ``follow(job)``: some process of that job is about to be in another group.
        """
        entry = self._waiting.pop(ticket, None)
        if entry is None:
            return None
        if not group:
            self._estate.free(entry.record)
            return entry
        with contextlib.suppress(ProcessLookupError, PermissionError):
            entry.old = membership.read(entry.pid)
            if entry.old is not None:
                follow(entry.old.job)
                entry.new = entry.old._replace(group=group)
                words = self._estate.words
                words[self._estate.word(entry.record, _OLD)] = entry.old.encode()
                words[self._estate.word(entry.record, _NEW)] = entry.new.encode()
                membership.write(entry.pid, entry.new)
        entry.reservation = reserve(entry.tid)
        self._calling[entry.tid] = entry
        return entry

    def over(self, tid: int | None = None) -> Iterator[tuple[Entry, bool]]:
        """Entries whose call is over, and whether the caller entered; the others are put back.

        ``tid``: a thread that makes its next call, so that the one before is over.
        """
        for entry in list(self._calling.values()):
            if entry.tid == tid or self._has_settled(entry):
                del self._calling[entry.tid]
                entered = entry.entered
                if not entered:
                    self._put_back(entry)
                yield entry, entered
                self._estate.free(entry.record)

    def drop(self, gone: Callable[[Trap], bool]) -> list[Entry]:
        """Forget those that wait and whose caller is gone."""
        dropped = [e for e in self._waiting.values() if e.trap is not None and gone(e.trap)]
        for entry in dropped:
            assert entry.trap is not None
            entry.trap.forget()
            del self._waiting[entry.ticket]
            self._estate.free(entry.record)
        return dropped

    def _has_settled(self, entry: Entry) -> bool:
        assert entry.reservation is not None
        return settled(entry.reservation, {entry.nr})

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


def _place(tid: int) -> int:
    """A number for the namespaces of a thread, 0 when they may not be seen."""
    links = namespaces.links(tid)
    return crc32(" ".join(links).encode()) if links else 0
