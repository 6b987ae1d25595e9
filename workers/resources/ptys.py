"""Pseudo-terminals: a pair exists as long as its master, an open of ptmx, is open (pty(7))."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

from workers import files
from workers.files import Holder
from workers.resources import NONE_KNOWN
from workers.resources.descriptors import Described
from workers.syscalls import Table

_DEVICE = b"ptmx"
_PATH_MAX = 4096
_INDEX = b"tty-index:"
"""A line that only the master of a pair has (Linux 4.13)."""


class Counted(Described):
    """As open(2) of ptmx fails at the kernel's own limit, kernel.pty.max.

    Nearly every open is one of something else, so that each path is read. One that cannot be
    read is taken for another file: opening files must not fail for want of terminals.
    """

    name = "ptys"
    errno = errno.ENOSPC
    vague = True

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.calls = dict.fromkeys(table.opens, 1)

    def exact(self, nr: int, args: Sequence[int], tid: int) -> int:
        """A path that ends in ptmx, as /dev/ptmx and /dev/pts/ptmx do."""
        path = self.memory(tid, args[self.table.opens[nr]], _PATH_MAX)
        return int(path is not None and path.partition(b"\0")[0].endswith(_DEVICE))

    def look(self, found: list[Holder]) -> int:
        """Each open of ptmx makes a pair, so there are as many pairs as open files."""
        masters: defaultdict[bytes, list[Holder]] = defaultdict(list)
        for holder in found:
            if (files.name(holder) or "").startswith(os.sep):
                index = files.details(holder).partition(_INDEX)[2].split(None, 1)
                if index:
                    masters[index[0]].append(holder)
        # Every mount of devpts has a pair 0.
        return sum(map(files.count_different, masters.values()))

    def at_most(self, pids: Sequence[int], threads: Mapping[int, int] = NONE_KNOWN) -> int | None:
        """No more than there are descriptors."""
        return files.upper_bound(pids, threads)
