"""The desk where clients leave a job's stdin, stdout and stderr, since ZeroMQ carries none."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from governor.errors import GovernorError, ProtocolError
from governor.wire.client import STDIO
from workers import channel

LEFT_MAX = 128
"""Sets of descriptors kept at most: a client may end before it asks for its job."""


class StdioDesk:
    """A listening socket in the governor's directory; each connection leaves one set."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(LEFT_MAX)
        self._listener.setblocking(False)
        self._left: dict[str, list[int]] = {}

    @contextmanager
    def collect(self, token: str) -> Iterator[list[int]]:
        """The three descriptors left under ``token``; closed afterwards. EBADF when there are none.

        The client leaves them before it asks for the job, so they are here by now.
        """
        while token not in self._left and self._accept():
            pass
        descriptors = self._left.pop(token, [])
        try:
            if len(descriptors) != 3:
                raise GovernorError(errno.EBADF, "a job needs stdin, stdout and stderr")
            yield descriptors
        finally:
            _close(descriptors)

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return False
        with connection:
            connection.settimeout(1.0)
            try:
                received = channel.receive(connection, STDIO)
            except (ProtocolError, TimeoutError):
                return True
        if received is not None:
            self._left[received[0].token] = received[1]
            if len(self._left) > LEFT_MAX:
                _close(self._left.pop(next(iter(self._left))))
        return True

    def close(self) -> None:
        """Stop accepting; what nobody collected is closed."""
        self._listener.close()
        for descriptors in self._left.values():
            _close(descriptors)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
