"""A job's standard input that is no file to read from, but a way to whoever started it."""

from __future__ import annotations

import os


def take() -> int:
    """The descriptor that standard input was, closed by exec; what reads there finds nothing."""
    taken = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return taken
