"""ZeroMQ between the processes of one governor. Nothing else imports zmq.

All sockets are ``ipc://`` files in a directory of mode 0700, so only the same user can
reach them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import zmq

from governor.errors import ProtocolError
from governor.wire.codec import SIZE_MAX, Catalogue, Message, encode

CLIENTS = "clients"
AGENTS = "agents"
STDIO = "stdio"
"""Names of the sockets in a governor's directory."""


def _socket(kind: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.linger = 0
    socket.maxmsgsize = SIZE_MAX
    socket.sndhwm = socket.rcvhwm = 0
    return socket


class Server:
    """The supervisor's end: many peers, each named by the identity of its messages."""

    def __init__(self, path: str, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.socket = _socket(zmq.ROUTER)
        # Without it a message to a peer that is gone would be dropped silently.
        self.socket.router_mandatory = True
        self.socket.bind(f"ipc://{path}")

    def receive(self) -> tuple[bytes, Message] | None:
        """The next message and who sent it, None when there is none.

        Raises `ProtocolError` for a frame that is not a message; it is gone then.
        """
        try:
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        if len(frames) != 2:
            raise ProtocolError(f"{len(frames)} frames instead of 2")
        try:
            return frames[0], self._catalogue.decode(frames[1])
        except ProtocolError as error:
            error.peer = frames[0]
            raise

    def send(self, peer: bytes, message: Message) -> bool:
        """Send to one peer; False when it is gone."""
        try:
            self.socket.send_multipart([peer, encode(message)], zmq.NOBLOCK)
        except (zmq.Again, zmq.ZMQError):
            return False
        return True

    def close(self) -> None:
        """Close the socket; what was not delivered is dropped."""
        self.socket.close()


class Peer:
    """A client's or an agent's end: one connection to the supervisor."""

    def __init__(self, path: str, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.socket = _socket(zmq.DEALER)
        self.socket.connect(f"ipc://{path}")

    def fileno(self) -> int:
        """Edge-triggered: after it fires, `receive` until None, and again after `send`."""
        fd = self.socket.getsockopt(zmq.FD)
        assert isinstance(fd, int)
        return fd

    def send(self, message: Message) -> None:
        """Send to the supervisor."""
        self.socket.send(encode(message))

    def receive(self) -> Message | None:
        """The next message, None when there is none."""
        try:
            frame = self.socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return self._catalogue.decode(frame)

    def close(self) -> None:
        """Close the socket; what was not delivered is dropped."""
        self.socket.close()


_LONGEST_WAIT = 3600.0
"""Seconds after which a wait is begun anew: poll(2) takes no endless numbers."""


class Poller:
    """Waits for messages and for plain file descriptors at once."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()

    def add(self, source: Server | Peer | int) -> None:
        """Watch a socket of ours or a file descriptor for input."""
        self._poller.register(_pollable(source), zmq.POLLIN)

    def add_hangup(self, fd: int) -> None:
        """Watch a file descriptor for its end only, not for input."""
        self._poller.register(fd, zmq.POLLERR)

    def remove(self, source: Server | Peer | int) -> None:
        """Stop watching."""
        with contextlib.suppress(KeyError):
            self._poller.unregister(_pollable(source))

    def poll(self, timeout: float | None) -> set[object]:
        """Wait up to ``timeout`` seconds (None: for ever); the sockets and fds that are ready.

        May give up after an hour, as after any wait in vain.
        """
        milliseconds = None
        if timeout is not None:
            milliseconds = max(0, round(min(timeout, _LONGEST_WAIT) * 1000))
        return {source for source, _ in self._poller.poll(milliseconds)}


def _pollable(source: Server | Peer | int) -> zmq.Socket[bytes] | int:
    return source if isinstance(source, int) else source.socket


def close_all(endpoints: Iterable[Server | Peer]) -> None:
    """Close endpoints and this process's ZeroMQ threads."""
    for endpoint in endpoints:
        endpoint.close()
    zmq.Context.instance().term()
