"""A client: requests to a supervisor and their answers, from any thread."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
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
_LATE = 5.0
"""The same for somebody who has been told by Ctrl-C not to wait."""
_SIGNAL_SLICE = 0.5
"""Seconds after which a wait is begun anew. A signal that comes just before the poll does not
interrupt it, and Python runs handlers, such as that of Ctrl-C, only between its own steps."""


class _Connection:
    """One thread's socket, which no other thread may close while it waits there."""

    def __init__(self, directory: str, gone: int) -> None:
        self.peer = Peer(os.path.join(directory, CLIENTS), wire.FROM_SUPERVISOR)
        self.poller = Poller()
        self.poller.add(self.peer)
        self.poller.add(gone)
        self.lock = threading.Lock()
        self.thread = threading.current_thread()

    def close(self) -> None:
        """Leave no descriptor."""
        self.peer.close()
        self.poller.close()


class Client:
    """Talks to the supervisor in ``directory``; descriptor ``gone`` is readable when that is gone.

    Every thread has a socket of its own, since ZeroMQ's cannot be shared.
    """

    def __init__(self, directory: str, gone: int) -> None:
        self._directory = directory
        self._gone = gone
        self.owner: Callable[[], Any] = lambda: None
        """Whoever made it, as a weak reference."""
        self._requests = itertools.count(1)
        self._local = threading.local()
        self._connections: list[_Connection] = []
        self._closed = False

    def ask(
        self,
        request: Callable[[int], Message],
        timeout: float | None = DEADLINE,
        undo: Callable[[Any], object] | None = None,
    ) -> Any:
        """Send ``request(number)`` and wait for its answer's value, for ever without a timeout.

        Raises the GovernorError with which the request was refused; EIO when the
        supervisor is gone, ETIMEDOUT when it does not answer, EINVAL for a timeout of NaN.
        ``undo(value)`` is called where an exception from outside, such as that of Ctrl-C, takes
        the place of the answer: before that goes on, what has been done is taken back.
        """
        if timeout is not None and timeout != timeout:
            raise GovernorError(errno.EINVAL, f"a time cannot be {timeout}")
        connection = self._connection()
        number = next(self._requests)
        with connection.lock:
            if self._closed:
                raise _gone()
            connection.peer.send(request(number))
        try:
            return self._answer(connection, number, timeout)
        except GovernorError:
            raise
        except BaseException:
            if undo is not None:
                with contextlib.suppress(GovernorError):
                    undo(self._answer(connection, number, _LATE))
            raise

    def _answer(self, connection: _Connection, number: int, timeout: float | None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        with connection.lock:
            while not self._closed:
                answer = connection.peer.receive()
                if answer is None:
                    self._await(connection.poller, deadline)
                elif answer.request == number:
                    if isinstance(answer, wire.Failure):
                        raise GovernorError(answer.errno, answer.message)
                    return answer.value
            raise _gone()

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

    @property
    def gone(self) -> int:
        """The descriptor that is readable when the supervisor has ended."""
        return self._gone

    @property
    def is_gone(self) -> bool:
        """Whether the supervisor has ended, or `close` was called."""
        if self._closed:
            return True
        poll = select.poll()  # select(2) takes no descriptor from 1024 on
        poll.register(self._gone, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close every thread's connection; whatever is asked, or still waited for, is refused."""
        self._closed = True
        for connection in self._connections:
            with connection.lock:  # whoever waits there looks up twice a second
                connection.close()

    def _connection(self) -> _Connection:
        if self._closed:
            raise _gone()
        if not hasattr(self._local, "connection"):
            self._drop_abandoned()
            self._local.connection = _Connection(self._directory, self._gone)
            self._connections.append(self._local.connection)
        connection: _Connection = self._local.connection
        return connection

    def _drop_abandoned(self) -> None:
        """Close the connections of threads that have ended."""
        for connection in list(self._connections):
            if not connection.thread.is_alive():
                with contextlib.suppress(ValueError):  # another thread has just done it
                    self._connections.remove(connection)
                    connection.close()

    def _await(self, poller: Poller, deadline: float | None) -> None:
        if self._closed:
            raise _gone()
        remaining = None if deadline is None else deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            raise GovernorError(errno.ETIMEDOUT, "the supervisor does not answer")
        slice_ = _SIGNAL_SLICE if remaining is None else min(remaining, _SIGNAL_SLICE)
        if poller.poll(slice_) == {self._gone}:  # not with an answer, its last one
            raise _gone()


def _gone() -> GovernorError:
    return GovernorError(errno.EIO, "the supervisor has ended")
