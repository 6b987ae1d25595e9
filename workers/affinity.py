"""CPU affinity of whole processes, and the sched_setaffinity of a job, clamped to its set."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence

_PF_NO_SETAFFINITY = 0x04000000
_MAX_MASK_BYTES = 8192
"""Longer masks than any kernel is built for are cut off, as the kernel does it."""


def confine(
    pids: Iterable[int], cpus: frozenset[int], proc: str = "/proc", anew: bool = True
) -> None:
    """Let every thread of these processes run on ``cpus`` only: on all of them when ``anew``,
    otherwise those that keep to some of them already stay there.

    A new thread inherits the set of its creator, perhaps the old one: so look again until none
    has come. Threads of the kernel's own (io_uring's) and vanished ones are passed over.
    Raises OSError: EINVAL when none of ``cpus`` is usable, EPERM for another user's process.
    """
    for pid in pids:
        done: set[int] = set()
        while new := _threads(pid, proc) - done:
            for tid in new:
                if anew or not _keeps_to(tid, cpus):
                    _set(tid, cpus, proc)
            done |= new


def emulate(
    tid: int,
    args: Sequence[int],
    cpus: Callable[[int], frozenset[int] | None],
    still_valid: Callable[[], bool],
    proc: str = "/proc",
) -> int:
    """Do what a trapped sched_setaffinity(target, length, mask) asks for, within bounds.

    ``cpus`` gives the set that a thread is confined to, None for one that is not.
    ``still_valid`` says whether the caller is still the thread that trapped (ID_VALID): nothing
    is done when it is not. Returns 0 or the errno to answer: EINVAL when nothing of the mask is
    allowed, ESRCH for no such target, EPERM for one that the caller may not change, EFAULT for
    a bad mask, and EPERM too when the caller's memory may not be read.
    """
    try:
        wanted = _read_mask(tid, args[1] & 0xFFFFFFFF, args[2], proc)
        target = _target(tid, _signed(args[0]), proc)
        if not still_valid():
            return errno.ESRCH
        if not _may_change(tid, target, proc):
            return errno.EPERM
        bounds = cpus(target)
        allowed = wanted if bounds is None else wanted & bounds
        if not allowed:
            return errno.EINVAL
        os.sched_setaffinity(target, allowed)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):  # ours, not the caller's
            raise
        return error.errno or errno.EPERM
    return 0


def _threads(pid: int, proc: str) -> set[int]:
    try:
        return {int(name) for name in os.listdir(f"{proc}/{pid}/task")}
    except (FileNotFoundError, ProcessLookupError):
        return set()


def _keeps_to(tid: int, cpus: frozenset[int]) -> bool:
    try:
        return os.sched_getaffinity(tid) <= cpus
    except ProcessLookupError:
        return True


def _set(tid: int, cpus: frozenset[int], proc: str) -> None:
    try:
        os.sched_setaffinity(tid, cpus)
    except ProcessLookupError:
        return
    except OSError as error:
        if error.errno != errno.EINVAL or not _is_fixed(tid, proc):
            raise


def _is_fixed(tid: int, proc: str) -> bool:
    """Whether the kernel keeps the affinity of this thread to itself; true when it has gone."""
    try:
        with open(f"{proc}/{tid}/stat", "rb", buffering=0) as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(int(fields[9 - 3]) & _PF_NO_SETAFFINITY)


def _read_mask(tid: int, length: int, address: int, proc: str) -> frozenset[int]:
    """The set of CPUs that a thread's memory spells, one bit each.

    The memory may end before ``length`` does: the kernel stops where its own masks end.
    """
    size = min(length, _MAX_MASK_BYTES)
    try:
        fd = os.open(f"{proc}/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
    except PermissionError:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None
    try:
        data = os.pread(fd, size, address)
    except (OSError, OverflowError):
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from None
    finally:
        os.close(fd)
    bits = int.from_bytes(data, "little")
    return frozenset(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def _target(tid: int, wanted: int, proc: str) -> int:
    """The id, in our pid namespace, of the thread that ``tid`` calls ``wanted`` (0: itself)."""
    if wanted == 0:
        return tid
    if wanted < 0:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    theirs = os.readlink(f"{proc}/{tid}/ns/pid")
    if theirs == os.readlink(f"{proc}/self/ns/pid"):
        return wanted
    for pid in (int(name) for name in os.listdir(proc) if name.isdigit()):
        for thread in _threads(pid, proc):
            if _innermost_id(thread, theirs, proc) == wanted:
                return thread
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _innermost_id(tid: int, namespace: str, proc: str) -> int | None:
    """The id of a thread in this pid namespace, if that is the one it lives in."""
    try:
        if os.readlink(f"{proc}/{tid}/ns/pid") != namespace:
            return None
        return int(_status(tid, proc)[b"NSpid"].split()[-1])
    except (OSError, KeyError):
        return None


def _may_change(caller: int, target: int, proc: str) -> bool:
    """The kernel's rule: the target is the caller's, by effective user id, or CAP_SYS_NICE."""
    if caller == target:
        return True
    of_caller, of_target = _status(caller, proc), _status(target, proc)
    effective = of_caller[b"Uid"].split()[1]
    if effective in of_target[b"Uid"].split()[:2]:
        return True
    return bool(int(of_caller[b"CapEff"], 16) >> 23 & 1)


def _status(tid: int, proc: str) -> dict[bytes, bytes]:
    """/proc/<tid>/status as a mapping. Raises ProcessLookupError when the thread is gone."""
    try:
        with open(f"{proc}/{tid}/status", "rb", buffering=0) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
    return {key: value for key, _, value in (line.partition(b":") for line in lines)}


def _signed(argument: int) -> int:
    """A system call's argument as the C int that the kernel takes it for."""
    return (argument & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
