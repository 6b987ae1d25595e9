"""Ending with the parent, if it is the one that is meant."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with(pid: int) -> bool:
    """Have the kernel kill this process when its parent ends; False: that is not ``pid``.

    The parent may be another one that is just dying: its sockets are closed before its children
    are told (prctl(2), PR_SET_PDEATHSIG), and must not take this process with it.
    """
    prctl = ctypes.CDLL(None).prctl
    if os.getppid() != pid:
        return False
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == pid:
        return True
    prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
    return False
