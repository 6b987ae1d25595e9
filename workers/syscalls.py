"""System call numbers: what creates tasks, what creates open files, per machine.

Numbers are the kernel's ABI (``asm/unistd_64.h`` on x86_64, ``asm-generic/unistd.h`` on
aarch64), so they are written down here and never asked of the host.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

from governor.errors import GovernorError

CLONE_PIDFD = 0x1000
"""Flag of clone(2): the parent also receives a pidfd, which is a new open file."""
CLONE_VM = 0x100
"""Flag of clone(2): the child shares the memory of its parent."""

NO_DESCRIPTOR = 0xFFFFFFFF
"""-1 as a 32-bit argument: signalfd(2) then creates a file instead of changing one."""


class MemoryCalls(NamedTuple):
    """Calls that can make private writable address space."""

    mmap: int
    brk: int
    mremap: int
    mprotect: tuple[int, ...]
    """mprotect and pkey_mprotect, whose arguments are alike."""
    copies: tuple[int, ...]
    """Calls that copy the caller's memory, unless their flags say CLONE_VM."""
    map_shadow_stack: int = 453


class Table(NamedTuple):
    """The system calls of one machine that the facilities deal with."""

    audit_arch: int
    """``AUDIT_ARCH_*``: what the kernel calls the machine's native ABI."""
    foreign_mask: int
    """Bits of a number that mark a second ABI under the same arch (x32), 0 if there is none."""
    tasks: frozenset[int]
    """Calls that create a process or a thread."""
    files: dict[int, int]
    """Call -> most open files it can create. ``created`` knows the exceptions. io_uring_setup
    is not among them, for a filter that traps files refuses it."""
    signalfd: frozenset[int]
    """Calls among ``files`` that create nothing unless their first argument is -1."""
    may_block: frozenset[int]
    """Calls among ``files`` that may rightly sleep for ever (an accept, the open of a FIFO)."""
    memory: MemoryCalls
    sockets: dict[int, int]
    """Call -> sockets it creates."""
    opens: dict[int, int]
    """Call that opens a path -> which of its arguments points to that."""
    flock: int
    fcntl: int
    io_uring: frozenset[int]
    clone: int
    clone3: int
    sched_setaffinity: int
    prlimit64: int
    setrlimit: int
    seccomp: int
    setns: int
    unshare: int
    kcmp: int
    set_mempolicy: int
    migrate_pages: int


# Added after Linux 5.0, when all machines began to share the numbers of new calls.
_COMMON_FILES = {
    428: 1,  # open_tree
    430: 1,  # fsopen
    432: 1,  # fsmount
    433: 1,  # fspick
    434: 1,  # pidfd_open
    437: 1,  # openat2
    444: 1,  # landlock_create_ruleset
    447: 1,  # memfd_secret
    467: 1,  # open_tree_attr
}
_IO_URING = frozenset({425, 426, 427})
_CLONE3 = 435
_OPENAT2 = 437

_X86_64 = Table(
    audit_arch=0xC000003E,
    foreign_mask=0x40000000,
    tasks=frozenset({56, 57, 58, _CLONE3}),
    files={
        257: 1,  # openat, by far the most frequent
        2: 1,  # open
        41: 1,  # socket
        22: 2,  # pipe
        293: 2,  # pipe2
        288: 1,  # accept4
        43: 1,  # accept
        53: 2,  # socketpair
        85: 1,  # creat
        213: 1,  # epoll_create
        240: 1,  # mq_open
        253: 1,  # inotify_init
        282: 1,  # signalfd
        283: 1,  # timerfd_create
        284: 1,  # eventfd
        289: 1,  # signalfd4
        290: 1,  # eventfd2
        291: 1,  # epoll_create1
        294: 1,  # inotify_init1
        298: 1,  # perf_event_open
        300: 1,  # fanotify_init
        304: 1,  # open_by_handle_at
        319: 1,  # memfd_create
        321: 1,  # bpf
        323: 1,  # userfaultfd
        **_COMMON_FILES,
    },
    signalfd=frozenset({282, 289}),
    may_block=frozenset({2, 257, _OPENAT2, 85, 43, 288}),
    memory=MemoryCalls(9, 12, 25, mprotect=(10, 329), copies=(56, 57, _CLONE3)),
    sockets={41: 1, 288: 1, 43: 1, 53: 2},  # socket, accept4, accept, socketpair
    opens={257: 1, 2: 0, 85: 0, _OPENAT2: 1},
    flock=73,
    fcntl=72,
    io_uring=_IO_URING,
    clone=56,
    clone3=_CLONE3,
    sched_setaffinity=203,
    prlimit64=302,
    setrlimit=160,
    seccomp=317,
    setns=308,
    unshare=272,
    kcmp=312,
    set_mempolicy=238,
    migrate_pages=256,
)

_AARCH64 = Table(
    audit_arch=0xC00000B7,
    foreign_mask=0,
    tasks=frozenset({220, _CLONE3}),
    files={
        56: 1,  # openat
        198: 1,  # socket
        59: 2,  # pipe2
        242: 1,  # accept4
        202: 1,  # accept
        199: 2,  # socketpair
        19: 1,  # eventfd2
        20: 1,  # epoll_create1
        26: 1,  # inotify_init1
        74: 1,  # signalfd4
        85: 1,  # timerfd_create
        180: 1,  # mq_open
        241: 1,  # perf_event_open
        262: 1,  # fanotify_init
        265: 1,  # open_by_handle_at
        279: 1,  # memfd_create
        280: 1,  # bpf
        282: 1,  # userfaultfd
        **_COMMON_FILES,
    },
    signalfd=frozenset({74}),
    may_block=frozenset({56, _OPENAT2, 202, 242}),
    memory=MemoryCalls(222, 214, 216, mprotect=(226, 288), copies=(220, _CLONE3)),
    sockets={198: 1, 242: 1, 202: 1, 199: 2},  # socket, accept4, accept, socketpair
    opens={56: 1, _OPENAT2: 1},
    flock=32,
    fcntl=25,
    io_uring=_IO_URING,
    clone=220,
    clone3=_CLONE3,
    sched_setaffinity=122,
    prlimit64=261,
    setrlimit=164,
    seccomp=277,
    setns=268,
    unshare=97,
    kcmp=272,
    set_mempolicy=237,
    migrate_pages=238,
)

_TABLES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def table(machine: str | None = None) -> Table:
    """The table of ``machine`` (as ``uname -m`` spells it), by default of this one.

    Raises GovernorError(ENOSYS) for a machine whose numbers are not known here.
    """
    name = machine if machine is not None else os.uname().machine
    try:
        return _TABLES[name]
    except KeyError:
        known = ", ".join(_TABLES)
        raise GovernorError(
            errno.ENOSYS, f"machine {name!r}: system calls can be trapped on {known} only"
        ) from None


def extra_files(table: Table, nr: int, args: Sequence[int], tid: int | None = None) -> int:
    """Open files (0 or 1) that a call creates besides its purpose: the pidfd of a clone.

    Where the flags of a clone3 are unknown (see `clone_flags`) the answer is 1, an upper bound.
    """
    if nr not in (table.clone, table.clone3):
        return 0
    flags = clone_flags(table, nr, args, tid)
    return 1 if flags is None or flags & CLONE_PIDFD else 0


def clone_flags(table: Table, nr: int, args: Sequence[int], tid: int | None) -> int | None:
    """The flags of a call that makes a task, 0 for fork; None when they cannot be known.

    Those of clone3 are in the caller's memory: they are read when ``tid`` is given.
    """
    if nr == table.clone:
        return args[0]
    if nr != table.clone3:
        return 0
    return None if tid is None else _read_u64(tid, args[0])


def created(table: Table, nr: int, args: Sequence[int], tid: int | None = None) -> int:
    """Open files that this very call creates when it succeeds; see ``extra_files`` for ``tid``."""
    if nr in table.signalfd and args[0] & 0xFFFFFFFF != NO_DESCRIPTOR:
        return 0
    return table.files.get(nr, 0) or extra_files(table, nr, args, tid)


def _read_u64(tid: int, address: int) -> int | None:
    """The first eight bytes at ``address`` in the memory of ``tid``; None when unreadable."""
    data = read_memory(tid, address, 8)
    return int(struct.unpack("=Q", data)[0]) if data is not None and len(data) == 8 else None


def read_memory(tid: int, address: int, size: int) -> bytes | None:
    """Up to ``size`` bytes at ``address`` in the memory of ``tid``; None when unreadable."""
    try:
        fd = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        return os.pread(fd, size, address)
    except (OSError, OverflowError):
        return None
    finally:
        os.close(fd)
