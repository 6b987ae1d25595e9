"""Tasks: how many there are, and whether a fork that was let through has happened yet.

A trapped fork that is answered CONTINUE reserves a task. The reservation ends when its thread
traps again, or when the evidence here says that the fork is over: then the child, if there is
one, is in the next count. So settle first and count afterwards, never the other way round.
"""

from __future__ import annotations

import os
import select
from collections.abc import Container

_BASE_COST_NS = 3_000_000
_COST_NS_PER_MEBIBYTE = 100_000
"""What fork may take of its caller's run time: several times the worst that was measured."""

_PAGES_PER_MEBIBYTE = (1 << 20) // os.sysconf("SC_PAGE_SIZE")
_READ_SIZE = 4096
_STOPPED = (b"T", b"t")
"""States of a thread that a signal or a tracer has stopped."""


class Reservation:
    """A fork answered CONTINUE, whose child may or may not be there already.

    ``run_ns`` (run time of the thread, ns) and ``cost_ns`` (run time after which it cannot still
    be in that fork) stay None until ``settled`` has a first look, which keeps the answer of a
    trap free of them. A later start only makes the verdict more careful.
    """

    __slots__ = ("cost_ns", "run_ns", "tid")

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.run_ns: int | None = None
        self.cost_ns: int | None = None

    def __repr__(self) -> str:
        return f"Reservation(tid={self.tid}, run_ns={self.run_ns}, cost_ns={self.cost_ns})"


def count(pid: int, proc: str = "/proc") -> int:
    """Tasks of one process: its threads; 1 for a zombie, 0 once it is reaped."""
    try:
        # A directory has two links of its own and one per subdirectory, that is per thread.
        return max(1, os.stat(f"{proc}/{pid}/task").st_nlink - 2)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def process_of(tid: int, proc: str = "/proc") -> int | None:
    """The process that a thread belongs to, None when it is gone."""
    rest = _read(f"{proc}/{tid}/status").partition(b"\nTgid:")[2].split(None, 1)
    return int(rest[0]) if rest else None


def living(tid: int) -> int | None:
    """The process that a thread belongs to, None when it is gone or a zombie.

    A process whose first thread has ended lives on while it has others.
    """
    ended = _has_ended(tid)
    if ended is not None:
        return None if ended else tid
    pid = process_of(tid)
    status = _read(f"/proc/{pid}/status") if pid is not None else b""
    if b"\nState:\tZ" in status and b"\nThreads:\t1\n" in status:
        return None
    return pid if status else None


def _has_ended(pid: int) -> bool | None:
    """Whether a process has ended with all its threads, by what the kernel says of a pidfd.

    That takes a fifth of the time of reading its status. None: it is a thread's id, or there is no
    descriptor left to ask with.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return None
    try:
        poll = select.poll()  # select(2) takes no descriptor from 1024 on
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(descriptor)


def reserve(tid: int) -> Reservation:
    """Note that ``tid`` was told to go on with a fork."""
    return Reservation(tid)


def run_ns(tid: int, proc: str = "/proc") -> int | None:
    """The time this thread has spent on a CPU, in ns as of its last tick or switch; None: gone."""
    text = _read(f"{proc}/{tid}/schedstat")
    return int(text.split(None, 1)[0]) if text else None


def settled(reservation: Reservation, syscalls: Container[int], proc: str = "/proc") -> bool:
    """Whether this fork is over, done or failed, so that the reservation may be dropped.

    ``syscalls`` are the calls that fork. It is over when the thread is gone; when it sleeps in
    another call; when it is stopped, which it is only with its call behind it; when it sleeps
    in a fork whose child is there already (vfork, posix_spawn); or when it has run for longer
    than a fork of its size takes. Run time, not wall time: it may have waited long for a CPU.
    At least two looks are needed for the last of these.
    """
    tid = reservation.tid
    try:
        where = _read_or_raise(f"{proc}/{tid}/syscall").split(None, 1)
    except (FileNotFoundError, ProcessLookupError):
        return True
    except PermissionError:  # not dumpable, so that only its state and times may be seen
        return _sleeps_elsewhere(tid, proc) or _ran_enough(reservation, proc)
    if not where:
        return True
    if where[0] == b"running":
        return _ran_enough(reservation, proc)
    if int(where[0]) not in syscalls or _state(tid, proc) in _STOPPED:
        return True
    return _has_vfork_child(tid, proc)


GONE = -1
"""The call of a thread that has ended."""


def call_of(tid: int, proc: str = "/proc") -> int | None:
    """The call that a thread sleeps in, `GONE`, or None for one that runs or may not be seen."""
    try:
        where = _read_or_raise(f"{proc}/{tid}/syscall").split(None, 1)
    except (FileNotFoundError, ProcessLookupError):
        return GONE
    except PermissionError:
        return None
    if not where:
        return GONE
    # It says -1 of a thread that sleeps outside of any call: in a fault, or stopped.
    return None if where[0] in (b"running", b"-1") else int(where[0])


def sleeps_in(tid: int, syscalls: Container[int], proc: str = "/proc") -> bool:
    """Whether a thread sleeps in one of these calls, let through and not just trapped again."""
    where = _read(f"{proc}/{tid}/syscall").split(None, 1)
    if not where or not where[0].isdigit() or int(where[0]) not in syscalls:
        return False
    # The name of the kernel's function it sleeps in; "0" when it runs or we may not know.
    function = _read(f"{proc}/{tid}/wchan")
    # A stopped thread has its call behind it.
    return function not in (b"", b"0") and not function.startswith((b"seccomp_", b"do_signal_stop"))


def _ran_enough(reservation: Reservation, proc: str) -> bool:
    now = run_ns(reservation.tid, proc)
    if now is None:
        return True
    if reservation.run_ns is None or reservation.cost_ns is None:
        reservation.run_ns = now
        reservation.cost_ns = _fork_cost_ns(reservation.tid, proc)
        return False
    grown = now - reservation.run_ns
    # Run time never falls: if it did, this is another thread with the same id.
    return grown < 0 or grown > reservation.cost_ns


def _fork_cost_ns(tid: int, proc: str) -> int:
    """Run time that no fork of this process exceeds: it copies the page tables of its memory."""
    sizes = _read(f"{proc}/{tid}/statm").split()
    resident = int(sizes[1]) if len(sizes) > 1 else 0
    return _BASE_COST_NS + resident // _PAGES_PER_MEBIBYTE * _COST_NS_PER_MEBIBYTE


def _sleeps_elsewhere(tid: int, proc: str) -> bool:
    """Whether a thread whose call may not be seen is surely not forking.

    A fork sleeps, if ever, in state D.
    """
    return _state(tid, proc) not in (b"R", b"D")


def _state(tid: int, proc: str) -> bytes:
    """The letter that proc(5) shows for a thread's state; empty when it is gone."""
    state = _read(f"{proc}/{tid}/stat").rpartition(b")")[2].split(None, 1)
    return state[0] if state else b""


def _has_vfork_child(tid: int, proc: str) -> bool:
    """Whether a child of a thread that sleeps in a fork shares its memory.

    The parent of a vfork sleeps until the child execs or exits; until then the two share.
    """
    from workers.files import KCMP_VM, kcmp

    try:
        with open(f"{proc}/{tid}/task/{tid}/children", "rb", buffering=0) as file:
            children = file.read().split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    # The newest comes last, unless orphans were handed to this thread since.
    return any(kcmp(tid, int(child), KCMP_VM) == 0 for child in reversed(children))


def _read(path: str) -> bytes:
    """A small file of /proc; empty when there is no such thing (any more), or not for us.

    Any other failure is none of the file's: who has no descriptor left has seen nothing.
    """
    try:
        return _read_or_raise(path)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _read_or_raise(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_SIZE)
    finally:
        os.close(fd)
