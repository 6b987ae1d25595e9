"""The seccomp filter of a job and the notifications it sends (seccomp(2), seccomp_unotify(2)).

The filter is classic BPF put together by hand. Three rules keep it cheap and tight:

- nothing but the system call number is looked at until that number has matched: only then can
  the kernel keep its bitmap of always-allowed calls, which answers all the others;
- another ABI, or io_uring, would reach the same kernel functions past the filter: ENOSYS;
- setting RLIMIT_LOCKS, which carries the membership (``workers.membership``), does nothing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterable, Set
from typing import Any, NamedTuple, Self

from governor.errors import GovernorError
from workers.membership import RLIMIT_LOCKS
from workers.resources import NAMES, When, trapped
from workers.syscalls import Table

AFFINITY = "affinity"
NAMESPACES = "namespaces"
TRAPS = frozenset({AFFINITY, NAMESPACES, *NAMES})
"""The facilities a filter can trap: resources that calls make, and what the agent does instead."""

# ioctls of a listener, linux/seccomp.h
RECV = 0xC0502100
SEND = 0xC0182101
ID_VALID = 0x40082102
SET_FLAGS = 0x40082104
SYNC_WAKE_UP = 1
"""Argument of SET_FLAGS: the target runs at once on the CPU of whoever answered (Linux 6.6)."""

REQUEST = struct.Struct("QIIiIQ6Q")
"""struct seccomp_notif: id, tid, flags, nr, arch, instruction pointer, six arguments."""
RESPONSE = struct.Struct("QqiI")
"""struct seccomp_notif_resp: id, value, negative errno, flags."""
CONTINUE = 1
"""Flag of a RESPONSE: the kernel carries out the call itself."""

_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE_RECV = 1 << 5
_SET_MODE_FILTER = 1
_PR_SET_NO_NEW_PRIVS = 38

_ALLOW = 0x7FFF0000
_USER_NOTIF = 0x7FC00000
_ERRNO = 0x00050000

# Classic BPF, linux/bpf_common.h
_INSTRUCTION = struct.Struct("HBBI")
_LOAD_WORD = 0x20
_JUMP = 0x05
_JUMP_EQUAL = 0x15
_JUMP_BITS = 0x45
_RETURN = 0x06

# Offsets in struct seccomp_data; both machines are little-endian.
_NR = 0
_ARCH = 4


# Made before workers are forked, each of which would need it.
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class Notification(NamedTuple):
    """One trapped call, for code that need not be fast (the agent's loop unpacks by itself)."""

    id: int
    tid: int
    flags: int
    nr: int
    arch: int
    ip: int
    args: tuple[int, ...]

    @classmethod
    def unpack(cls, request: bytes | bytearray | memoryview) -> Self:
        """Read a filled REQUEST buffer."""
        id_, tid, flags, nr, arch, ip, *args = REQUEST.unpack_from(request)
        return cls(id_, tid, flags, nr, arch, ip, tuple(args))


def build(traps: Set[str], table: Table) -> bytes:
    """The filter that traps these facilities (names of ``TRAPS``) on ``table``'s machine.

    Without any trap it still guards RLIMIT_LOCKS. Raises ValueError for an unknown facility.
    """
    if unknown := traps - TRAPS:
        raise ValueError(f"no such facility: {', '.join(sorted(unknown))}")
    program = _native_only(table)
    always, sometimes = _trapped(traps, table)
    program += _any_of(always, _USER_NOTIF)
    if traps:
        # Its worker threads are tasks, its opens are files, its affinity is its own.
        program += _any_of(table.io_uring, _ERRNO | errno.ENOSYS)
    for number, conditions in sometimes.items():
        program += _one(number, _trap_when(conditions))
    program += _one(table.prlimit64, _setting_locks_by_prlimit())
    program += _one(table.setrlimit, _setting_locks_by_setrlimit())
    program += [_return(_ALLOW)]
    return b"".join(program)


def tests(program: bytes, numbers: Set[int]) -> bool:
    """Whether a filter tests for any of these calls; or for an argument that is such a number."""
    instructions = _INSTRUCTION.iter_unpack(program)
    return any(code == _JUMP_EQUAL and value in numbers for code, _, _, value in instructions)


def install(program: bytes) -> int:
    """Put the filter on the calling thread, for good; returns its listener (close-on-exec).

    Sets no_new_privs only when the kernel insists, so that set-uid programs go on working for
    root. To be called by a single-threaded process, which all its children then inherit from.
    Raises GovernorError(EBUSY) under a filter that already has a listener, otherwise OSError.
    """
    from workers.syscalls import table

    number = ctypes.c_long(table().seccomp)
    argument = ctypes.byref(_Program(len(program) // 8, program))

    def attempt() -> int:
        flags = ctypes.c_long(_NEW_LISTENER | _WAIT_KILLABLE_RECV)
        return int(_LIBC.syscall(number, ctypes.c_long(_SET_MODE_FILTER), flags, argument))

    listener = attempt()
    if listener < 0 and ctypes.get_errno() == errno.EACCES:
        zero = ctypes.c_ulong(0)
        _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
        listener = attempt()
    if listener < 0:
        raise _failure(ctypes.get_errno())
    return listener


def waiting_receive(request: memoryview) -> tuple[Callable[[int, int, Any], int], Any]:
    """How to wait for a call without holding up other threads: ``ioctl`` and its last argument.

    It returns -1 when it failed, whatever the reason. ``fcntl.ioctl`` keeps the interpreter to
    itself while it is busy with a buffer that it does not copy: good enough for what is there.
    """
    # Numbers and `byref` need no conversion, which would take a fiftieth of a whole answer.
    return ctypes.CDLL(None).ioctl, ctypes.byref(ctypes.c_char.from_buffer(request))


def is_listener(fd: int) -> bool:
    """Whether a descriptor is what `install` returns."""
    return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:seccomp notify"


def control(fd: int, operation: int, argument: bytes | bytearray | int) -> None:
    """Do something with a listener, again when a signal comes while its lock is waited for."""
    while True:
        try:
            fcntl.ioctl(fd, operation, argument)
            return
        except InterruptedError:
            continue


def id_valid(fd: int, id: int) -> bool:
    """Whether the target of this notification still waits for its answer.

    What was read of the target before this said yes was the target's, not that of a later
    process with the same pid (seccomp_unotify(2)).
    """
    try:
        control(fd, ID_VALID, id.to_bytes(8, "little"))
    except FileNotFoundError:
        return False
    return True


def set_sync(fd: int, on: bool) -> bool:
    """Turn synchronous wake-up on or off; False when this kernel has no such thing."""
    try:
        control(fd, SET_FLAGS, SYNC_WAKE_UP if on else 0)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY):
            return False
        raise
    return True


def _failure(code: int) -> OSError | GovernorError:
    if code == errno.EBUSY:
        return GovernorError(
            code,
            "a seccomp listener is already installed here, and the kernel allows one per process:"
            " governor cannot run inside another governor or a container runtime that traps calls",
        )
    if code == errno.EINVAL:
        return OSError(code, "this kernel cannot notify with WAIT_KILLABLE_RECV (Linux 5.19)")
    return OSError(code, os.strerror(code), "seccomp")


def _trapped(traps: Set[str], table: Table) -> tuple[list[int], dict[int, list[When]]]:
    """The numbers to trap always, the frequent ones first, and those that depend."""
    # The opens of files are most of all traps; what makes tasks is the shortest list.
    resources = sorted(trapped(traps, table), key=lambda resource: -len(resource.calls))
    always = [nr for r in resources for nr in r.calls if nr not in r.when]
    if AFFINITY in traps:
        always.append(table.sched_setaffinity)
    depending = [condition for resource in resources for condition in resource.when.items()]
    if NAMESPACES in traps:
        from workers import namespaces

        entering = namespaces.conditions(table)
        always += [nr for nr, when in entering.items() if when is None]
        depending += [(nr, when) for nr, when in entering.items() if when is not None]
    sometimes: dict[int, list[When]] = {}
    for nr, when in depending:
        if nr not in always:
            sometimes.setdefault(nr, []).append(when)
    return list(dict.fromkeys(always)), sometimes


def _native_only(table: Table) -> list[bytes]:
    """Refuse other ABIs, then leave the number in the accumulator."""
    refuse = _return(_ERRNO | errno.ENOSYS)
    head = [_load(_ARCH), _branch(_JUMP_EQUAL, table.audit_arch, 1, 0), refuse, _load(_NR)]
    if table.foreign_mask:
        head += [_branch(_JUMP_BITS, table.foreign_mask, 0, 1), refuse]
    return head


def _any_of(numbers: Iterable[int], verdict: int) -> list[bytes]:
    """``verdict`` for each of these numbers; a short straight line beats a tree once compiled."""
    wanted = list(numbers)
    if not wanted:
        return []
    tests = [
        _branch(_JUMP_EQUAL, number, len(wanted) - index, 0) for index, number in enumerate(wanted)
    ]
    return [*tests, _instruction(_JUMP, 1), _return(verdict)]


def _one(number: int, body: list[bytes]) -> list[bytes]:
    """Run ``body``, which must return on every way, for this number only."""
    return [_branch(_JUMP_EQUAL, number, 0, len(body)), *body]


def _trap_when(conditions: Iterable[When]) -> list[bytes]:
    """Trap a call that meets any of these conditions, let it pass otherwise."""
    body = [instruction for when in conditions for instruction in _trap_if(when)]
    return [*body, _return(_ALLOW)]


def _trap_if(when: When) -> list[bytes]:
    """Trap a call that meets this condition, go on after it otherwise."""
    then = _trap_if(when.also) if when.also else [_return(_USER_NOTIF)]
    tests = [(_JUMP_BITS, when.bits)] if when.bits else []
    tests += [(_JUMP_EQUAL, value) for value in when.values]
    body: list[bytes] = []
    for test, value in tests:
        body += [_load(_argument(when.argument)), _branch(test, value, 0, len(then)), *then]
    return body


def _setting_locks_by_setrlimit() -> list[bytes]:
    """setrlimit(resource, new): the kernel looks at the low half of the resource only."""
    return [
        _load(_argument(0)),
        _branch(_JUMP_EQUAL, RLIMIT_LOCKS, 0, 1),
        _return(_ERRNO),
        _return(_ALLOW),
    ]


def _setting_locks_by_prlimit() -> list[bytes]:
    """prlimit64(pid, resource, new, old): it only reads when ``new``, a pointer, is null."""
    return [
        _load(_argument(1)),
        _branch(_JUMP_EQUAL, RLIMIT_LOCKS, 0, 5),
        _load(_argument(2)),
        _branch(_JUMP_EQUAL, 0, 0, 2),
        _load(_argument(2) + 4),
        _branch(_JUMP_EQUAL, 0, 1, 0),
        _return(_ERRNO),
        _return(_ALLOW),
    ]


def _argument(index: int) -> int:
    """Where the low half of an argument is; the high half follows four bytes later."""
    return 16 + 8 * index


def _load(offset: int) -> bytes:
    return _instruction(_LOAD_WORD, offset)


def _return(verdict: int) -> bytes:
    return _instruction(_RETURN, verdict)


def _branch(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, value)


def _instruction(code: int, value: int) -> bytes:
    return _INSTRUCTION.pack(code, 0, 0, value)
