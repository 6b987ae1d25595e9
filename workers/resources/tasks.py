"""Tasks: processes and threads, from their creation until they are reaped."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from workers import tasks
from workers.resources import Resource
from workers.syscalls import Table


class Counted(Resource):
    """As fork(2) fails at the kernel's own limits. Forks have their own reservation (`tasks`)."""

    name = "tasks"
    errno = errno.EAGAIN

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.calls = dict.fromkeys(table.tasks, 1)

    def count(self, pids: Sequence[int]) -> int:
        """Threads of all these processes; a zombie is one."""
        return sum(map(tasks.count, pids))
