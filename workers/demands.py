"""What each trapped call asks for, and the errno it gets when that is refused."""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence

from workers.bills import Demand
from workers.syscalls import Table, created

ERRNO = {"tasks": errno.EAGAIN, "files": errno.EMFILE}
"""As fork(2) and open(2) fail at the kernel's own limits."""


class Demands:
    """Calls to demands, for a filter that traps these facilities.

    ``quick`` needs no look at the arguments and never says too little: a clone may make a
    pidfd and a signalfd may change a file it has. ``exact`` looks.
    """

    def __init__(self, table: Table, traps: Collection[str]) -> None:
        self._table = table
        self._traps = traps
        self.quick: dict[int, Demand] = {}
        if "files" in traps:
            self.quick.update({nr: (("files", n),) for nr, n in table.files.items()})
            self.quick[table.clone] = self.quick[table.clone3] = (("files", 1),)
        if "tasks" in traps:
            for nr in table.tasks:
                self.quick[nr] = (("tasks", 1), *self.quick.get(nr, ()))

    def exact(self, nr: int, args: Sequence[int], tid: int) -> Demand:
        """What this very call of ``tid`` asks for; empty when it makes nothing new."""
        demand: Demand = ()
        if "tasks" in self._traps and nr in self._table.tasks:
            demand = (("tasks", 1),)
        files = created(self._table, nr, args, tid) if "files" in self._traps else 0
        return (*demand, ("files", files)) if files else demand
