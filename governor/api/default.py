"""The governor of this process, for whoever names none."""

from __future__ import annotations

import atexit
import os
import threading

from governor.api.governor import Governor

_lock = threading.Lock()
_governor: Governor | None = None


def governor() -> Governor:
    """The process-wide governor, started at first use and ended at exit.

    Another one is started when it has died. A fork of this process has none until it asks itself.
    Raises GovernorError when one cannot be started.
    """
    global _governor
    with _lock:
        if _governor is not None and _governor.client.is_gone:
            _governor.close()
            _governor = None
        if _governor is None:
            _governor = Governor()
        return _governor


def _end() -> None:
    global _governor
    with _lock:
        if _governor is not None:
            _governor.close()
            _governor = None


def _forget() -> None:
    """In a fork: the governor is the parent's, and must end with that and not with us."""
    global _governor, _lock
    _lock = threading.Lock()
    if _governor is not None:
        _governor.forget()
        _governor = None


atexit.register(_end)
os.register_at_fork(after_in_child=_forget)
