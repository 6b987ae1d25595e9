"""Pending signals, as far as user space can see them; nobody can be refused one."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from workers import signals
from workers.resources import Resource


class Counted(Resource):
    """As sigqueue(3) fails at RLIMIT_SIGPENDING, if it were governor's to refuse."""

    name = "signals"
    errno = errno.EAGAIN

    def count(self, pids: Sequence[int]) -> int:
        """Those pending for these processes, and their POSIX timers."""
        return sum(map(signals.pending, pids))
