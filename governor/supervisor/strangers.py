"""Ends of processes that are nobody's children here: seen by pidfd, and told by the kernel.

A process whose spawner has died becomes a child of whoever is above that, which is init for a
spawner that has outlived its supervisor. Since Linux 6.15 the kernel tells the holder of a pidfd
how a process has ended, once its parent has reaped it (PIDFD_GET_INFO in linux/pidfd.h).
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import time
from typing import NamedTuple

from governor.wire.spawner import Reaped
from workers import cpu, membership

LOOK = 0.05
"""Seconds between two looks whether what has ended has been reaped, which nothing announces."""
PATIENCE = 15.0
"""Seconds after which the end of a process that nobody reaps counts as unseen."""

_GET_INFO = 3 << 30 | 64 << 16 | 0xFF << 8 | 11
_INFO = struct.Struct("Q52xi")
"""mask and exit_code of a struct pidfd_info."""
_EXIT = 1 << 3


class _Ended(NamedTuple):
    since: float
    end: Reaped


class Strangers:
    """Processes to be watched, each with a pidfd of its own; their tags have this ``nonce``."""

    def __init__(self, nonce: int) -> None:
        self._nonce = nonce
        self._epoll = select.epoll()
        self._pidfds: dict[int, int] = {}
        self._watched: set[int] = set()
        self._ended: dict[int, _Ended] = {}

    def fileno(self) -> int:
        """Readable when one has ended."""
        return self._epoll.fileno()

    def hold(self, pid: int) -> bool:
        """Be able to watch a process later; False if it is gone, reaped by somebody."""
        try:
            self._pidfds[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        return True

    def watch(self, pid: int) -> bool:
        """Watch a process from now on; False if it is gone."""
        if not self.hold(pid):
            return False
        self._watch(pid)
        return True

    def watch_all(self) -> None:
        """Watch all that are held."""
        for pid in self._pidfds.keys() - self._watched:
            self._watch(pid)

    def _watch(self, pid: int) -> None:
        self._watched.add(pid)
        self._epoll.register(self._pidfds[pid], select.EPOLLIN | select.EPOLLONESHOT)

    def forget(self, pid: int) -> None:
        """Its end was seen by another way."""
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is not None:
            self._watched.discard(pid)
            self._ended.pop(pid, None)
            os.close(pidfd)

    def ends(self) -> list[tuple[Reaped, bool]]:
        """Those who have ended since, and whether it is known how.

        Tag and times are as of the moment in which it was seen, nothing if it was reaped before.
        """
        by_pidfd = {pidfd: pid for pid, pidfd in self._pidfds.items()}
        for pidfd, _ in self._epoll.poll(0):
            pid = by_pidfd[pidfd]
            self._ended[pid] = _Ended(time.monotonic(), self._seen(pid))
        found = []
        for pid, (since, end) in list(self._ended.items()):
            status = _exit_status(self._pidfds[pid])
            if status is not None or time.monotonic() - since > PATIENCE:
                found.append((end._replace(status=status or 0), status is not None))
                self.forget(pid)
        return found

    def _seen(self, pid: int) -> Reaped:
        tag = membership.read_ours(pid, self._nonce)
        job, group = (tag.job, tag.group) if tag else (0, 0)
        return Reaped(pid, job, group, 0, *cpu.used(pid))

    def tick(self) -> float | None:
        """Seconds until `ends` is worth a look though nothing is readable."""
        return LOOK if self._ended else None


def _exit_status(pidfd: int) -> int | None:
    """The wait status of a process that has been reaped, None as long as it is not known."""
    info = bytearray(_INFO.size)
    _INFO.pack_into(info, 0, _EXIT, 0)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:  # an older kernel
        return None
    mask, status = _INFO.unpack(info)
    return int(status) if mask & _EXIT else None
