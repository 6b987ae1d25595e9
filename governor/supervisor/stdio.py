"""The desk where clients leave a job's stdin, stdout and stderr, since ZeroMQ carries none."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from governor.errors import GovernorError, ProtocolError
from governor.wire.client import STDIO
from workers import channel

LEFT_MAX = 128
"""Sets of descriptors that nobody has collected yet; the oldest goes when there are more."""
SILENT_MAX = 64
"""Connections that have not said anything yet; the oldest goes when there are more."""


class StdioDesk:
    """A listening socket in the governor's directory; each connection leaves one set."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a supervisor that was killed
        self._listener.bind(path)
        self._listener.listen(LEFT_MAX)
        self._listener.setblocking(False)
        self._silent: list[socket.socket] = []
        self._left: dict[str, list[int]] = {}

    def fileno(self) -> int:
        """Readable when somebody is at the door, where there is little room."""
        return self._listener.fileno()

    def tend(self) -> None:
        """Let in those who are at the door, so that others find room there."""
        for _ in range(SILENT_MAX):
            if not self._accept():
                return

    @contextmanager
    def collect(self, token: str) -> Iterator[list[int]]:
        """The three descriptors left under ``token``; closed afterwards. EBADF when there are none.

        The client leaves them before it asks for the job, so they are here by now.
        """
        while token not in self._left and (self._accept() or self._hear_silent()):
            pass
        descriptors = self._left.pop(token, [])
        try:
            if len(descriptors) != 3:
                raise GovernorError(errno.EBADF, "a job needs stdin, stdout and stderr")
            yield descriptors
        finally:
            _close(descriptors)

    def _accept(self) -> bool:
        """Let one client in and hear it; False when none is at the door."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # nobody is there, or no descriptor is left for them
            return False
        connection.setblocking(False)
        self._silent.append(connection)
        self._hear(connection)
        if len(self._silent) > SILENT_MAX:
            self._hear_silent()  # they were let in before they could speak
        while len(self._silent) > SILENT_MAX:
            self._silent.pop(0).close()
        return True

    def _hear_silent(self) -> bool:
        """Hear those who had said nothing when they were let in; whether one has by now."""
        return any([self._hear(connection) for connection in list(self._silent)])

    def _hear(self, connection: socket.socket) -> bool:
        """Take what a client leaves; False while it says nothing."""
        try:
            received = channel.receive(connection, STDIO)
        except BlockingIOError:
            return False
        except (ProtocolError, OSError):
            received = None
        self._silent.remove(connection)
        connection.close()
        if received is not None:
            _close(self._left.pop(received[0].token, ()))
            self._left[received[0].token] = received[1]
            if len(self._left) > LEFT_MAX:
                _close(self._left.pop(next(iter(self._left))))
        return True

    def close(self) -> None:
        """Stop accepting; what nobody collected is closed."""
        self._listener.close()
        for connection in self._silent:
            connection.close()
        for descriptors in self._left.values():
            _close(descriptors)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
