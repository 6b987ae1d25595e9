"""Who may pass a barrier: whoever may pass the kernel's own limits on a user's resources."""

from __future__ import annotations

import os

CAP_SYS_RESOURCE = 24
"""Overrides resource limits, RLIMIT_NPROC among them (capabilities(7))."""


def privileged(tid: int) -> bool:
    """Whether a thread has CAP_SYS_RESOURCE here: root of a user namespace of its own has not.

    What cannot be found out, or is gone, has not.
    """
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            text = status.read()
        effective = int(text.partition(b"\nCapEff:")[2].split(maxsplit=1)[0], 16)
        return bool(effective >> CAP_SYS_RESOURCE & 1) and _namespace(tid) == _namespace("self")
    except (OSError, IndexError):
        return False


def _namespace(tid: int | str) -> tuple[int, int]:
    """What tells user namespaces apart (namespaces(7))."""
    seen = os.stat(f"/proc/{tid}/ns/user")
    return seen.st_dev, seen.st_ino
