"""File locks, of fcntl(2), flock(2) and of open file descriptions; leases are none."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Sequence

from workers import files, locks
from workers.files import Holder
from workers.locks import F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, F_SETLKW, LOCK_EX, LOCK_SH
from workers.resources import When
from workers.resources.descriptors import Described
from workers.syscalls import Table

_POSIX = (F_SETLK, F_SETLKW)
_OFD = (F_OFD_SETLK, F_OFD_SETLKW)
_SIZE = 32
"""Of a struct flock."""


class Counted(Described):
    """As fcntl(2) and flock(2) fail when the kernel has no room for one more.

    One that is waited for counts: the kernel keeps it, too. Under a limit each call is looked
    at, since most replace a lock, or end one.
    """

    name = "locks"
    errno = errno.ENOLCK
    vague = True

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.calls = {table.fcntl: 1, table.flock: 1}
        self.when = {
            table.fcntl: When(1, values=_POSIX + _OFD),
            table.flock: When(1, bits=LOCK_SH | LOCK_EX),
        }
        self.may_block = frozenset(self.calls)

    def exact(self, nr: int, args: Sequence[int], tid: int) -> int:
        """How many more locks there are after this call.

        Compared with those made through the same file only: through another one of the same
        inode, a process rarely goes on with its locks.
        """
        details = files.details((tid, args[0] & 0xFFFFFFFF))
        if nr == self.table.flock:
            return int(not locks.spans(details, b"FLOCK"))
        # What cannot be read is let pass: it may be an unlock.
        data = self.memory(tid, args[2], _SIZE)
        return 0 if data is None else _more(data, details, args[1] & 0xFFFFFFFF)

    def look(self, found: list[Holder]) -> int:
        """A lock is a line of each descriptor of its file."""
        by_line: defaultdict[bytes, list[Holder]] = defaultdict(list)
        for holder in found:
            for line in locks.lines(files.details(holder)):
                by_line[line].append(holder)
        # Two files may have locks that are told in the same words.
        return sum(map(files.count_different, by_line.values()))


def _more(data: bytes, details: bytes, command: int) -> int:
    try:
        wanted = locks.request(data)
    except ValueError:
        return 0
    held = locks.spans(details, b"OFDLCK" if command in _OFD else b"POSIX")
    if wanted is None:  # counted from where the file is, or from its end
        return int(int.from_bytes(data[:2], "little") != locks.UNLOCK)
    return locks.grows(held, wanted)
