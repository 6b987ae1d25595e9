"""Address spaces of processes, each counted once, and where the heap of one ends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cmp_to_key

from governor.memory import Memory, memory
from workers.files import kcmp
from workers.membership import STARTING

KCMP_VM = 1
_ORDER = {0: 0, 1: -1, 2: 1}


def spaces(pids: Iterable[int]) -> Iterator[tuple[int, Memory]]:
    """The address spaces of these processes, each with one process that is in it.

    A child of vfork shares its parent's until it execs. A worker that is still about to
    become a program does not count: what it has, the interpreter's, ends with the exec.
    """
    alike: dict[tuple[int, int], list[tuple[int, Memory]]] = {}
    own = memory(os.getpid())
    for pid in pids:
        found = memory(pid)
        if found and own and found.text == own.text:
            # It may become the program between two looks: what it has is looked at last.
            found = None if _starting(pid) else memory(pid)
        if found is None:
            continue
        # What shares a space shows the same figures: only such processes are compared.
        alike.setdefault((found.size, found.data), []).append((pid, found))
    for group in alike.values():
        yield from group if len(group) == 1 else _different(group)


def heap_end(tid: int, proc: str = "/proc") -> int | None:
    """Where the heap that brk(2) moves ends, up to the page; None when we may not know.

    A heap without a page of its own yet has no mapping: it ends where it starts.
    """
    end = None
    try:
        with open(f"{proc}/{tid}/maps", "rb") as file:
            for line in file:
                if line.endswith(b"[heap]\n"):
                    end = int(line.split(b"-", 2)[1].split()[0], 16)
                elif end is not None:
                    return end
        return end or _heap_start(tid, proc)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _heap_start(tid: int, proc: str) -> int | None:
    """Field 47 (start_brk) of /proc/PID/stat; the kernel shows 0 to who may not know."""
    with open(f"{proc}/{tid}/stat", "rb", buffering=0) as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[47 - 3]) or None


def _starting(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            return file.read() == STARTING + b"\n"
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _different(group: list[tuple[int, Memory]]) -> Iterator[tuple[int, Memory]]:
    """Those of a group that share no space with one before, in the kernel's order of them."""

    def compare(one: tuple[int, Memory], other: tuple[int, Memory]) -> int:
        # One that may not be compared is taken for different: never too little is counted.
        return _ORDER.get(kcmp(one[0], other[0], KCMP_VM), one[0] - other[0])

    before: tuple[int, Memory] | None = None
    for entry in sorted(group, key=cmp_to_key(compare)):
        if before is None or compare(before, entry) != 0:
            yield entry
        before = entry
