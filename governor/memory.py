"""What /proc tells of the memory of a process, in pages."""

from __future__ import annotations

import os
from typing import NamedTuple

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
"""Bytes of a page."""

_BYTES_PER_KIBIBYTE = 1024


class Memory(NamedTuple):
    """The fields of ``/proc/PID/statm`` (proc(5)) that mean something, in pages."""

    size: int
    resident: int
    text: int
    data: int
    """Private writable mappings, the heap and the stacks among them."""


def pages(size: int) -> int:
    """The pages that ``size`` bytes from the beginning of one take up."""
    return -(-size // PAGE_SIZE)


def memory(pid: int, proc: str = "/proc") -> Memory | None:
    """The memory of a process, or of a thread by its id; None when there is none (any more).

    Everybody may read this of every process.
    """
    found = _statm(f"{proc}/{pid}")
    if found is None or found.size:
        return found
    # A leader that has ended shows none, though its other threads live on in it.
    try:
        threads = os.listdir(f"{proc}/{pid}/task")
    except OSError:
        return None
    others = (_statm(f"{proc}/{tid}") for tid in threads if int(tid) != pid)
    return next((other for other in others if other is not None and other.size), None)


def resident(pid: int, space: Memory) -> int:
    """The resident set size (RSS): a page counts for everyone who has mapped it."""
    return space.resident


def proportional(pid: int, space: Memory) -> int:
    """The proportional set size (PSS): a page that n processes have mapped is 1/n of each's.

    The kernel looks at every page for this: some 5 to 15 us per MiB. Never too little: where it
    may not be seen, this is the RSS.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            lines = file.read().splitlines()
    except OSError:
        return space.resident
    shares = (line.split() for line in lines if line.startswith(b"Pss:"))
    return next((pages(int(share[1]) * _BYTES_PER_KIBIBYTE) for share in shares), space.resident)


def _statm(directory: str) -> Memory | None:
    try:
        with open(f"{directory}/statm", "rb", buffering=0) as file:
            fields = [int(field) for field in file.read().split()]
    except OSError:
        return None
    return Memory(fields[0], fields[1], fields[3], fields[5]) if fields else None
