"""Reaping children so that no end is lost, not even by the death of whoever reaps.

What is known of an end goes to the supervisor before the process is reaped, and that it has
been reaped goes after. If the reaper is killed in between, the other half shows which it was:
either there is still a zombie, which has a new parent to reap it, or all has been said.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from governor.wire.codec import Message
from governor.wire.spawner import Buried, Reaped, UserTime
from workers import cpu, membership

_WAITID = {"x86_64": 247, "aarch64": 95}
"""The number of waitid, per machine."""
_SIGINFO = struct.Struct("3i4xiIi")
"""si_signo, si_errno, si_code, si_pid, si_uid, si_status of a 64-bit siginfo_t (sigaction(2))."""
_TIMES = struct.Struct("4q")
"""ru_utime and ru_stime of a rusage (getrusage(2)), in seconds and microseconds."""
_DUMPED = 0x80
"""In a wait status: there is a core file (wait(2), WCOREDUMP)."""


class End(NamedTuple):
    """A child that has ended and is a zombie. Times in ns, children it waited for included."""

    pid: int
    status: int
    user_ns: int
    cpu_ns: int


class Undertaker:
    """Reaps the children of this process, of which those with ``nonce`` in their tag are ours."""

    def __init__(self, nonce: int, report: Callable[[Message], object]) -> None:
        import ctypes

        self._nonce = nonce
        self._report = report
        self._number = _WAITID[os.uname().machine]
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._errno = ctypes.get_errno
        self._info = ctypes.create_string_buffer(128)
        self._usage = ctypes.create_string_buffer(144)

    def bury_all(self, spared: int = 0) -> None:
        """Report and reap every child that has ended, until it is the turn of ``spared``."""
        while (end := self._next()) is not None and end.pid != spared:
            self._bury(end)

    def _next(self) -> End | None:
        """A child that has ended, left as it is; None when there is none.

        waitid(2) of the C library knows no rusage, os.wait4 no WNOWAIT.
        """
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while self._syscall(self._number, os.P_ALL, 0, self._info, flags, self._usage) == -1:
            if self._errno() == errno.ECHILD:
                return None
            if self._errno() != errno.EINTR:
                raise OSError(self._errno(), os.strerror(self._errno()))
        *_, code, pid, _, status = _SIGINFO.unpack_from(self._info)
        if not pid:
            return None
        times = _TIMES.unpack_from(self._usage)
        user, system = (times[n] * 10**9 + times[n + 1] * 1000 for n in (0, 2))
        return End(pid, _wait_status(code, status), user, user + system)

    def _bury(self, end: End) -> None:
        # It may be an orphan of another governor that runs inside of this one.
        tag = membership.read_ours(end.pid, self._nonce)
        sample = cpu.sample(end.pid)
        job, group = (tag.job, tag.group) if tag else (0, 0)
        self._report(UserTime(end.user_ns))
        start = sample.start if sample else 0
        self._report(Reaped(end.pid, job, group, end.status, end.cpu_ns, start))
        os.waitpid(end.pid, 0)
        self._report(Buried(end.pid))


def _wait_status(code: int, status: int) -> int:
    """What wait(2) says of an end of which waitid(2) says this."""
    if code == os.CLD_EXITED:
        return status << 8
    return status | (_DUMPED if code == os.CLD_DUMPED else 0)


def children(pid: int) -> set[int]:
    """The processes that this one has made itself, or adopted; zombies included."""
    found: set[int] = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with (
            contextlib.suppress(FileNotFoundError, ProcessLookupError),  # the thread has ended
            open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file,
        ):
            found.update(map(int, file.read().split()))
    return found


def is_zombie(pid: int) -> bool:
    """Whether this process has ended and waits for its parent; True when it is gone altogether."""
    fields = _fields(pid)
    return not fields or fields[0] == b"Z"


def oldest_first(pids: Iterable[int]) -> list[int]:
    """Those that are there, parents before their children: pids begin anew, and time does not."""
    born = {pid: int(fields[22 - 3]) for pid in pids if (fields := _fields(pid))}
    return sorted(born, key=lambda pid: (born[pid], pid))


def _fields(pid: int) -> list[bytes]:
    """What proc_pid_stat(5) has from the third field on, the state; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
