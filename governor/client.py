"""A client: requests to a supervisor and their answers, from any thread."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from governor.errors import GovernorError
from governor.transport import CLIENTS, STDIO, Peer, Poller
from governor.wire import client as wire
from governor.wire.codec import Message
from workers import channel

DEADLINE = 30.0
"""Seconds in which a supervisor answers whatever does not wait for a job."""
_SIGNAL_SLICE = 0.5
"""Seconds after which a wait is begun anew. A signal that comes just before the poll does not
interrupt it, and Python runs handlers, such as that of Ctrl-C, only between its own steps."""


class Client:
    """Talks to the supervisor in ``directory``; descriptor ``gone`` is readable when that is gone.

    Every thread has a socket of its own, since ZeroMQ's cannot be shared.
    """

    def __init__(self, directory: str, gone: int) -> None:
        self._directory = directory
        self._gone = gone
        self._requests = itertools.count(1)
        self._local = threading.local()
        self._peers: list[Peer] = []
        self._closed = False

    def ask(self, request: Callable[[int], Message], timeout: float | None = DEADLINE) -> Any:
        """Send ``request(number)`` and wait for its answer's value, for ever without a timeout.

        Raises the GovernorError with which the request was refused; EIO when the
        supervisor is gone, ETIMEDOUT when it does not answer.
        """
        number = next(self._requests)
        peer, poller = self._connection()
        peer.send(request(number))
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            answer = peer.receive()
            if answer is None:
                self._await(poller, deadline)
            elif answer.request == number:
                if isinstance(answer, wire.Failure):
                    raise GovernorError(answer.errno, answer.message)
                return answer.value

    def leave_stdio(self, descriptors: Sequence[int]) -> str:
        """Leave a job's stdin, stdout and stderr with the supervisor; returns their token."""
        token = os.urandom(8).hex()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            try:
                connection.connect(os.path.join(self._directory, STDIO))
            except OSError:
                raise _gone() from None
            channel.send(connection, wire.Stdio(token), descriptors)
        return token

    def close(self) -> None:
        """Close every thread's connection; whatever is asked from now on is refused."""
        self._closed = True
        for peer in self._peers:
            peer.close()

    def _connection(self) -> tuple[Peer, Poller]:
        if self._closed:
            raise _gone()
        if not hasattr(self._local, "connection"):
            peer = Peer(os.path.join(self._directory, CLIENTS), wire.FROM_SUPERVISOR)
            self._peers.append(peer)
            poller = Poller()
            poller.add(peer)
            poller.add(self._gone)
            self._local.connection = peer, poller
        connection: tuple[Peer, Poller] = self._local.connection
        return connection

    def _await(self, poller: Poller, deadline: float | None) -> None:
        remaining = None if deadline is None else deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            raise GovernorError(errno.ETIMEDOUT, "the supervisor does not answer")
        slice_ = _SIGNAL_SLICE if remaining is None else min(remaining, _SIGNAL_SLICE)
        if self._gone in poller.poll(slice_):
            raise _gone()


def _gone() -> GovernorError:
    return GovernorError(errno.EIO, "the supervisor has ended")
