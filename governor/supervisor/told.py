"""Callbacks that cannot refuse."""

from __future__ import annotations

import sys

from governor.subsystem import Subsystem


def tell(subsystem: Subsystem, callback: str, *args: object) -> object:
    """Call a subsystem's ``callback``. Its mistake is its own: it is reported, and work goes on."""
    try:
        return getattr(subsystem, callback)(*args)
    except Exception as error:
        print(f"governor: {callback}() of {subsystem.label} failed: {error!r}", file=sys.stderr)
        return None
