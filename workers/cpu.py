"""CPU time of processes: an exact clock per process, and what their children left them."""

from __future__ import annotations

import os
import signal
import time
from typing import NamedTuple

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CPUCLOCK_PROF, _CPUCLOCK_VIRT, _CPUCLOCK_SCHED = range(3)
_STAT_SIZE = 4096
"""More than any /proc/PID/stat has."""
_SIGCHLD_BIT = 1 << (signal.SIGCHLD - 1)


class Sample(NamedTuple):
    """CPU time of one process at one moment; pid and start together name it for ever."""

    pid: int
    start: int
    """When it started, in clock ticks since boot."""
    ppid: int
    own_ns: int
    """User and system time of all its threads, dead ones included, in ns."""
    children_ns: int
    """The same of the children it has waited for, and of theirs, in ns (of whole ticks)."""
    user_ns: int
    """The part of both that was user time, in ns."""
    threads: int
    """How many it has; those that have ended are none of them, but for the last one's."""


def process_ns(pid: int) -> int | None:
    """CPU time of a process in ns, whoever owns it, zombies included; None once it is reaped.

    The id of a process's clock is made of its pid, as clock_getcpuclockid(3) does it.
    """
    try:
        return _clock(pid, _CPUCLOCK_SCHED)
    except OSError:
        return None


def user_ns(pid: int, own_ns: int) -> int:
    """The part of ``own_ns`` that a process has spent in user mode, as the kernel has it.

    The kernel knows the sum exactly, and of the parts only how many of its ticks fell into
    each. So it divides the sum as the ticks are divided, and takes it for user time before
    the first tick (cputime_adjust in kernel/sched/cputime.c). All of it once it is reaped.
    """
    try:
        both = _clock(pid, _CPUCLOCK_PROF)
        user = _clock(pid, _CPUCLOCK_VIRT) if both else 0
    except OSError:
        return own_ns
    return min(own_ns, own_ns * user // both) if both else own_ns


def _clock(pid: int, clock: int) -> int:
    return time.clock_gettime_ns((~pid << 3) | clock)


def ticks_now() -> int:
    """The time as `Sample.start` has it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _NS_PER_TICK


def sample(pid: int, proc: str = "/proc") -> Sample | None:
    """Read all there is to know about a process's CPU time; None once it is reaped."""
    try:
        descriptor = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, _STAT_SIZE)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, ProcessLookupError):
        return None
    own_ns = process_ns(pid)
    if own_ns is None:
        return None
    # The name, in parentheses, may contain anything; proc_pid_stat(5) counts fields from 1 and
    # the first one after the name is the third.
    fields = text.rpartition(b")")[2].split(None, 22 - 2)
    children_user = int(fields[16 - 3]) * _NS_PER_TICK
    children_system = int(fields[17 - 3]) * _NS_PER_TICK
    return Sample(
        pid,
        int(fields[22 - 3]),
        int(fields[4 - 3]),
        own_ns,
        children_user + children_system,
        user_ns(pid, own_ns) + children_user,
        int(fields[20 - 3]),
    )


def ignores_sigchld(pid: int, proc: str = "/proc") -> bool:
    """Whether the kernel reaps this process's children unseen, so that their time is lost to it.

    SA_NOCLDWAIT (sigaction(2)) does the same and cannot be seen from outside. False when gone.
    """
    try:
        with open(f"{proc}/{pid}/status", "rb", buffering=0) as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False
    _, _, rest = text.partition(b"SigIgn:\t")
    return bool(rest) and bool(int(rest.split(None, 1)[0], 16) & _SIGCHLD_BIT)


def used(pid: int) -> tuple[int, int]:
    """What a process and the children it waited for have used, in ns, and when it started.

    Zeros when it is gone.
    """
    found = sample(pid)
    return (found.own_ns + found.children_ns, found.start) if found else (0, 0)
