"""Frames on a stream socket between an executor and its workers.

A task is one frame, and so is its answer: a head of fixed size with the length of what follows.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

TASK, RETURNED, RAISED, UNREADY = range(4)
"""A call; its value; its exception; the exception of the initializer, before any call."""

_HEAD = struct.Struct("!QIBBdd")
_PIECES_MAX = 512 * 1024
"""Bytes that are read at a time, so that a large answer holds nobody up."""


class Head(NamedTuple):
    """What a frame says of itself.

    ``size`` of the pickled object, which follows ``words``, a traceback of so many bytes;
    ``cpu`` and ``wall``: seconds that the call took. ``whole``: see `pickles.Packed`.
    """

    size: int
    words: int
    kind: int
    whole: bool
    cpu: float = 0.0
    wall: float = 0.0


class Frame(NamedTuple):
    """A frame that has arrived."""

    head: Head
    words: str
    data: memoryview


def pack(head: Head) -> bytes:
    """The bytes of a head."""
    return _HEAD.pack(*head)


class Inbox:
    """Reads frames from a socket, which may come in pieces."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._start()

    def _start(self) -> None:
        self._head: Head | None = None
        self._buffer = bytearray(_HEAD.size)
        self._filled = 0

    def read(self) -> Frame | None:
        """A frame that is complete, or None where a socket that does not block has no more now.

        EOFError: there will not be any more, or half of one.
        """
        while True:
            wanted = len(self._buffer) - self._filled
            if wanted:
                view = memoryview(self._buffer)[self._filled :]
                try:
                    count = self._end.recv_into(view, min(wanted, _PIECES_MAX))
                except BlockingIOError:
                    return None
                except ConnectionResetError:
                    raise EOFError from None
                if not count:
                    raise EOFError
                self._filled += count
            elif self._head is None:
                self._head = Head(*_HEAD.unpack(self._buffer))
                self._buffer, self._filled = bytearray(self._head.words + self._head.size), 0
            else:
                return self._take(self._head)

    def _take(self, head: Head) -> Frame:
        body = memoryview(self._buffer)
        self._start()
        words = bytes(body[: head.words]).decode(errors="replace")
        return Frame(head, words, body[head.words :])


def send(end: socket.socket, head: Head, words: bytes, data: bytes | memoryview) -> None:
    """Send a whole frame on a socket that blocks. Raises OSError."""
    if len(data) < _PIECES_MAX:
        end.sendall(b"".join((pack(head), words, data)))
        return
    end.sendall(pack(head) + words)
    end.sendall(data)
