"""Who may pass a barrier: whoever may pass the kernel's own limits on a user's resources."""

from __future__ import annotations

import os

CAPABILITIES = 1 << 21 | 1 << 24
"""CAP_SYS_ADMIN and CAP_SYS_RESOURCE: either one overrides RLIMIT_NPROC (getrlimit(2)).

The seeds' beancounters ask for the first one.
"""


def privileged(tid: int) -> bool:
    """Whether a thread has one of them here: root of a user namespace of its own has not.

    What cannot be found out, or is gone, has not.
    """
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            text = status.read()
        effective = int(text.partition(b"\nCapEff:")[2].split(maxsplit=1)[0], 16)
        return bool(effective & CAPABILITIES) and _namespace(tid) == _namespace("self")
    except (FileNotFoundError, ProcessLookupError, PermissionError, IndexError):
        return False


def _namespace(tid: int | str) -> tuple[int, int]:
    """What tells user namespaces apart (namespaces(7))."""
    seen = os.stat(f"/proc/{tid}/ns/user")
    return seen.st_dev, seen.st_ino
