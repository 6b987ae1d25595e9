"""Pending signals of a process, as /proc shows them.

The kernel keeps a record for each instance of a signal that is queued, and one for each POSIX
timer. What it shows are sets: ``SigPnd`` for a thread, ``ShdPnd`` for the process. So a
real-time signal that is queued many times is one here.
"""

from __future__ import annotations

import os


def pending(pid: int, proc: str = "/proc") -> int:
    """Signals that wait for a process or its threads, plus its POSIX timers; 0: gone."""
    try:
        threads = os.listdir(f"{proc}/{pid}/task")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    masks = _masks(f"{proc}/{pid}/status", b"ShdPnd:")
    masks += sum(_masks(f"{proc}/{pid}/task/{tid}/status", b"SigPnd:") for tid in threads)
    return masks + _lines(f"{proc}/{pid}/timers", b"ID:")


def _masks(path: str, field: bytes) -> int:
    """The number of signals in a set of a status file."""
    rest = _read(path).partition(field)[2].split(None, 1)
    return int(rest[0], 16).bit_count() if rest else 0


def _lines(path: str, start: bytes) -> int:
    return sum(line.startswith(start) for line in _read(path).splitlines())


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
