"""Calls that bring a task into other namespaces, and whether they did (namespaces(7)).

Namespaces are a thread's own; membership, which follows them here, is the whole process's.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence

from workers.resources import When
from workers.syscalls import Table, read_memory

# Flags of clone(2), clone3(2) and unshare(2), linux/sched.h.
_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_NEW_TIME = 0x80
"""For clone(2), this bit belongs to the signal that tells of the end."""

KINDS = ("cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts")
"""The links in /proc/PID/ns that show where a thread, or what it forks, is."""


def conditions(table: Table) -> dict[int, When | None]:
    """The calls to trap, and under which condition; None: always.

    The flags of clone3 are in memory, where no filter sees them; setns may name them by its
    descriptor alone.
    """
    return {
        table.clone: When(0, bits=_NEW),
        table.clone3: None,
        table.unshare: When(0, bits=_NEW | _NEW_TIME),
        table.setns: None,
    }


def makes_child(table: Table, nr: int) -> bool:
    """Whether it is a new child that enters, and not the caller."""
    return nr in (table.clone, table.clone3)


def enters(table: Table, nr: int, args: Sequence[int], tid: int) -> bool:
    """Whether this very call brings somebody into other namespaces, if it succeeds."""
    if nr == table.setns:
        return True
    if nr == table.unshare:
        return bool(args[0] & (_NEW | _NEW_TIME))
    if nr == table.clone:
        return bool(args[0] & _NEW)
    if nr != table.clone3:
        return False
    flags = read_memory(tid, args[0], 8)
    return flags is not None and bool(struct.unpack("=Q", flags)[0] & (_NEW | _NEW_TIME))


def links(tid: int, proc: str = "/proc") -> tuple[str, ...]:
    """What names the namespaces of a thread, as far as it may be looked at."""
    found = []
    for kind in KINDS:
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"{proc}/{tid}/ns/{kind}"))
    return tuple(found)
