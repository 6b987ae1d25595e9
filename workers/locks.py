"""File locks as the kernel shows them, and how many more there are after one more call.

A descriptor's ``fdinfo`` has a line for each lock made through its file: those of fcntl(2)
for its process only, those of flock(2) and open file description locks for whoever has it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

F_SETLK = 6
F_SETLKW = 7
F_OFD_SETLK = 37
F_OFD_SETLKW = 38
LOCK_SH = 1
LOCK_EX = 2

READ = 0
WRITE = 1
UNLOCK = 2
"""``l_type`` of struct flock."""

END = 1 << 63
"""One more than the last byte that a lock can cover."""

_FLOCK = struct.Struct("=hh4xqq")
_TYPES = {b"READ": READ, b"WRITE": WRITE}


class Span(NamedTuple):
    """A lock on the bytes from ``start`` up to, without, ``end``."""

    type: int
    start: int
    end: int


def lines(details: bytes) -> list[bytes]:
    """The locks that a descriptor's ``fdinfo`` tells of, without their numbers in that list."""
    return [
        line.partition(b": ")[2]
        for line in details.splitlines()
        if line.startswith(b"lock:") and b"LEASE" not in line and b"DELEG" not in line
    ]


def spans(details: bytes, kind: bytes) -> list[Span]:
    """Those of a ``kind`` (POSIX, OFDLCK or FLOCK)."""
    found = []
    for line in lines(details):
        words = line.split()
        if words[0] == kind and words[2] in _TYPES:
            last = END - 1 if words[-1] == b"EOF" else int(words[-1])
            found.append(Span(_TYPES[words[2]], int(words[-2]), last + 1))
    return found


def request(data: bytes) -> Span | None:
    """What a struct flock asks for; None when where it begins depends on more than itself.

    ValueError for one that the kernel will not take.
    """
    if len(data) < _FLOCK.size:
        raise ValueError("a struct flock is longer")
    type, whence, start, length = _FLOCK.unpack_from(data)
    if whence:
        return None
    if length < 0:
        start, length = start + length, -length
    end = start + length if length else END
    if type not in (READ, WRITE, UNLOCK) or not 0 <= start < end <= END:
        raise ValueError("no such lock")
    return Span(type, start, end)


def grows(held: list[Span], wanted: Span) -> int:
    """How many locks more than ``held`` their owner has after ``wanted``, at least 0.

    As fcntl(2) has it: what it covers is replaced, so that a lock may be cut in two, and
    becomes one lock with its neighbours of the same type.
    """
    after = int(wanted.type != UNLOCK)
    for span in held:
        if span.end <= wanted.start or wanted.end <= span.start:
            neighbour = span.type == wanted.type and (
                span.end == wanted.start or wanted.end == span.start
            )
            after += not neighbour
        elif span.type != wanted.type:
            after += (span.start < wanted.start) + (wanted.end < span.end)
    return max(0, after - len(held))
