"""Tasks: processes and threads, from their creation until they are reaped."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from workers import tasks
from workers.resources import NONE_KNOWN, Resource
from workers.syscalls import Table


class Counted(Resource):
    """As fork(2) fails at the kernel's own limits. Forks have their own reservation (`tasks`)."""

    name = "tasks"
    errno = errno.EAGAIN
    one_each = True

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.calls = dict.fromkeys(table.tasks, 1)

    def count(self, pids: Sequence[int]) -> int:
        """Threads of all these processes; a zombie is one."""
        return sum(map(tasks.count, pids))

    def at_most(self, pids: Sequence[int], threads: Mapping[int, int] = NONE_KNOWN) -> int | None:
        """Nothing is quicker than to count them, unless that was done already."""
        known = [threads.get(pid) for pid in pids]
        return None if None in known else sum(number for number in known if number)
