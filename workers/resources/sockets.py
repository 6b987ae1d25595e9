"""Sockets: what ``socket:[inode]`` behind a descriptor stands for, of any family."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from workers import files
from workers.files import Holder
from workers.resources import NONE_KNOWN
from workers.resources.descriptors import Described
from workers.syscalls import Table


class Counted(Described):
    """As socket(2) and accept(2) fail when the kernel has no room for one more.

    An accept has its socket from the start, and waits then.
    """

    name = "sockets"
    errno = errno.ENOBUFS

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.calls = table.sockets
        self.may_block = table.may_block & table.sockets.keys()

    def look(self, found: list[Holder]) -> int:
        """The number of an inode is a socket's own."""
        names = {files.name(holder) for holder in found}
        return sum(name is not None and name.startswith("socket:") for name in names)

    def at_most(self, pids: Sequence[int], threads: Mapping[int, int] = NONE_KNOWN) -> int | None:
        """No more than there are descriptors."""
        return files.upper_bound(pids, threads)
