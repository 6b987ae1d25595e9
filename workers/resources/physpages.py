"""Memory that is resident, in pages: what several processes share is divided among them."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from governor.memory import proportional
from workers.resources import Resource
from workers.spaces import spaces
from workers.syscalls import Table


class Counted(Resource):
    """As fork(2) fails without memory.

    A page becomes resident when it is touched, and no call tells. What can be refused is a
    new task, which takes a page at least.
    """

    name = "physpages"
    errno = errno.ENOMEM
    slow = True
    measure = staticmethod(proportional)

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.calls = dict.fromkeys(table.tasks, 1)

    def count(self, pids: Sequence[int]) -> int:
        """The sum over all address spaces."""
        held = 0
        for pid, space in spaces(pids):
            held += self.measure(pid, space)
            self.breathe()
        return held
