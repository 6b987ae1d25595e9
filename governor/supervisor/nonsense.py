"""What no client of ours would send, but somebody else may."""

from __future__ import annotations

import sys
import time

INTERVAL = 10.0
"""Seconds between two complaints at least: a log must not grow as fast as somebody can write."""
_LENGTH_MAX = 200
"""Characters of a complaint that somebody else has chosen."""


class Nonsense:
    """Tells of frames that are no messages, now and then."""

    def __init__(self) -> None:
        self._next = 0.0
        self._times = 0

    def tell(self, error: Exception) -> None:
        """Something has arrived that is no message."""
        self._times += 1
        now = time.monotonic()
        if now < self._next:
            return
        said = str(error)[:_LENGTH_MAX].encode("ascii", "backslashreplace").decode()
        times = f" {self._times} times, lastly" if self._times > 1 else ""
        print(f"governor: a client sent nonsense{times}: {said}", file=sys.stderr)
        self._next = now + INTERVAL
        self._times = 0
