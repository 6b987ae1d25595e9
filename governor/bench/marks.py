"""Names that tell which benchmark made something: whether that one still runs can be seen.

A name has the PID namespace, the PID and the start time of the process that made it, which together
no other process of this boot has (proc(5), field 22 of ``/proc/PID/stat``; namespaces(7)).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PREFIX: Final = "governor-bench-"
_START: Final = 22 - 3
"""Where the start time is among the fields after the command, which may contain anything."""


def mark() -> str:
    """Return what the names of all that this process makes outside itself begin with."""
    pid = os.getpid()
    return f"{PREFIX}{_namespace()}-{pid}-{_started(pid)}-"


def is_dead(name: str) -> bool:
    """Whether who made something of this name has ended; False for names of others.

    Those are names that `mark` has not made, and of processes that cannot be seen from here.
    """
    words = name.removeprefix(PREFIX).split("-")
    if not name.startswith(PREFIX) or len(words) < 4 or words[0] != str(_namespace()):
        return False
    return _started(words[1]) != words[2]


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _started(pid: int | str) -> str | None:
    """Return when a process was started, in clock ticks since boot; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[_START]
