"""ZeroMQ between the processes of one governor. Nothing else imports zmq.

All sockets are ``ipc://`` files in a directory of mode 0700, so only the same user can
reach them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

import zmq

from governor.errors import ProtocolError
from governor.wire.codec import SIZE_MAX, Catalogue, Message, encode

CLIENTS = "clients"
AGENTS = "agents"
STDIO = "stdio"
"""Names of the sockets in a governor's directory."""
FULL = ".full"
"""What the name of a socket's file ends with while nobody else may connect."""
UNREAD_MAX = 64
"""Messages that wait for one client, or of one client, at most; ours have one request at a time."""
_NUMBER_SIZE = 8
_RESERVE = 192
"""More than libzmq lets wait at its door (ZMQ_BACKLOG, 100), and some to work with."""
_LOOK_AGAIN = 0.1
"""Seconds after which doors that are shut may be opened again."""
_DESCRIPTORS = 1024
"""For so many there is room from the start."""


def make_room() -> None:
    """Have the kernel enlarge this process's table of descriptors while it has one thread.

    With ZeroMQ's threads that waits for all CPUs to have passed through the scheduler
    (expand_fdtable in the kernel's fs/file.c), 10 ms or more each time the table doubles.
    """
    last = min(_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[0]) - 1
    with contextlib.suppress(OSError):  # our caller has left that one open, which does it as well
        os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, last))


def _socket(kind: int, unread_max: int = 0) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.linger = 0
    socket.maxmsgsize = SIZE_MAX
    socket.sndhwm = socket.rcvhwm = unread_max
    return socket


class _Numbers:
    """Numbers what goes over one link, so that whoever hears it misses nothing unawares.

    A connection that is made anew, or a queue that is dropped, loses messages silently.
    """

    def __init__(self) -> None:
        self._sent = self._heard = 0

    def next(self) -> bytes:
        """The number of the next message that is sent."""
        self._sent += 1
        return self._sent.to_bytes(_NUMBER_SIZE, "little")

    def is_new(self, frame: bytes) -> bool:
        """Whether a message was not heard before. `ProtocolError` when one before it was not."""
        number, wanted = int.from_bytes(frame, "little"), self._heard + 1
        if number < wanted:
            return False
        self._heard = number
        if number > wanted:
            raise ProtocolError(f"message {wanted} is missing: {number} has come")
        return True


class Server:
    """The supervisor's end: many peers, each named by the identity of its messages.

    ``unread_max``: how many messages may wait to be read by one peer, or by us of one peer; 0
    for any number. ``allowed``: whether a process may send anything, where not everybody may.
    ``numbered``: no message is missed or heard twice; the peers' ends have to agree.
    """

    def __init__(
        self,
        path: str,
        catalogue: Catalogue,
        unread_max: int = 0,
        allowed: Callable[[int], bool] | None = None,
        numbered: bool = False,
    ) -> None:
        self.path = path
        self._catalogue = catalogue
        self._allowed = allowed
        self._numbers: defaultdict[bytes, _Numbers] | None = (
            defaultdict(_Numbers) if numbered else None
        )
        self.socket = _socket(zmq.ROUTER, unread_max)
        # Without it a message to a peer that is gone would be dropped silently.
        self.socket.router_mandatory = True
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_ACCEPT_FAILED)
        try:
            self.socket.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            raise OSError(error.errno, str(error)) from None

    def receive(self) -> tuple[bytes, Message] | None:
        """The next message and who sent it, None when there is none.

        Raises `ProtocolError` for a frame that is not a message, and if one was missed; it is
        gone then.
        """
        while True:
            try:
                if self._allowed is None:
                    frames = self.socket.recv_multipart(zmq.NOBLOCK)
                else:
                    frames = self._receive_allowed(self._allowed)
            except zmq.Again:
                return None
            try:
                numbers = None if self._numbers is None else self._numbers[frames[0]]
                message = _message(frames[1:], self._catalogue, numbers)
            except ProtocolError as error:
                error.peer = frames[0]
                raise
            if message is not None:
                return frames[0], message

    def _receive_allowed(self, allowed: Callable[[int], bool]) -> list[bytes]:
        """The next frames of a process that may send any; others are not even looked at."""
        while True:
            frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            # What SO_PEERCRED said when it connected, as host:uid:gid:pid.
            pid = int(str(frames[-1].get("Peer-Address")).rpartition(":")[2])
            if allowed(pid):
                return [frame.bytes for frame in frames]

    def send(self, peer: bytes, message: Message) -> bool:
        """Send to one peer; False when it is gone, or does not read what it is sent."""
        frames = [peer, encode(message)]
        if self._numbers is not None:
            frames.insert(1, self._numbers[peer].next())
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK)
        except (zmq.Again, zmq.ZMQError):
            return False
        return True

    def close(self) -> None:
        """Close the socket; what was not delivered is dropped."""
        self.monitor.close(0)
        self.socket.disable_monitor()
        self.socket.close()


class Doors:
    """Let peers connect to servers for as long as there are descriptors for them.

    libzmq would accept until there are none, and then abort (ipc_listener_t::accept knows of no
    EMFILE). It cannot refuse, but a socket whose file has another name is not found. Peers try
    again. Its thread does not wait for ours: there has to be room for all who come between two
    looks, for which half of the descriptors is left.
    """

    def __init__(self, servers: Iterable[Server]) -> None:
        self._servers = list(servers)
        self._are_open = True
        self._reserve: list[int] = []
        self._keep_reserve()

    def _keep_reserve(self) -> None:
        """Keep some descriptors for when somebody was quicker than we."""
        self._reserve += [os.dup(0) for _ in range(_RESERVE - len(self._reserve))]

    def tend(self, ready: Collection[object]) -> float | None:
        """Shut the doors when it is full inside; seconds until the next look, None for none.

        ``ready`` is what the poller has found.
        """
        if self._are_open and not any(server.monitor in ready for server in self._servers):
            return None
        come = [_drain(server.monitor) for server in self._servers]
        if self._are_open and not any(come):
            return None
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        taken = _descriptors()
        if self._are_open and taken > most:
            self._shut()
        elif not self._are_open and taken + _RESERVE <= most * 3 // 4:
            self._open()
        return None if self._are_open else _LOOK_AGAIN

    def _shut(self) -> None:
        """From now on only those come in who are at the door already: there is room for them."""
        for server in self._servers:
            os.rename(server.path, server.path + FULL)
        self._are_open = False
        while self._reserve:
            os.close(self._reserve.pop())

    def _open(self) -> None:
        self._keep_reserve()
        for server in self._servers:
            os.rename(server.path + FULL, server.path)
        self._are_open = True


def _drain(monitor: zmq.Socket[bytes]) -> bool:
    """Take away all that a monitor has to say; whether that was anything."""
    said = False
    with contextlib.suppress(zmq.Again):
        while True:
            monitor.recv_multipart(zmq.NOBLOCK)
            said = True
    return said


def _descriptors() -> int:
    """How many descriptors this process has, asked for without using one (Linux 6.2)."""
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))


def _message(
    frames: Sequence[bytes], catalogue: Catalogue, numbers: _Numbers | None
) -> Message | None:
    """What was sent; None for what has been heard before. `ProtocolError` as for `receive`."""
    wanted = 1 if numbers is None else 2
    if len(frames) != wanted:
        raise ProtocolError(f"{len(frames)} frames instead of {wanted}")
    if numbers is not None and not numbers.is_new(frames[0]):
        return None
    return catalogue.decode(frames[-1])


class Peer:
    """A client's or an agent's end: one connection to the supervisor."""

    def __init__(self, path: str, catalogue: Catalogue, numbered: bool = False) -> None:
        self._catalogue = catalogue
        self._numbers = _Numbers() if numbered else None
        self.socket = _socket(zmq.DEALER)
        self.socket.connect(f"ipc://{path}")

    def fileno(self) -> int:
        """Edge-triggered: after it fires, `receive` until None, and again after `send`."""
        fd = self.socket.getsockopt(zmq.FD)
        assert isinstance(fd, int)
        return fd

    def send(self, message: Message) -> None:
        """Send to the supervisor."""
        frames = [encode(message)]
        if self._numbers is not None:
            frames.insert(0, self._numbers.next())
        self.socket.send_multipart(frames)

    def receive(self) -> Message | None:
        """The next message, None when there is none. `ProtocolError` as for `Server.receive`."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            message = _message(frames, self._catalogue, self._numbers)
            if message is not None:
                return message

    def close(self) -> None:
        """Close the socket; what was not delivered is dropped."""
        self.socket.close()


_LONGEST_WAIT = 3600.0
"""Seconds after which a wait is begun anew: poll(2) takes no endless numbers."""


class Poller:
    """Waits for messages and for plain file descriptors at once.

    The latter, a thousand perhaps, cost nothing while nothing happens to them: ZeroMQ, which
    goes through all it waits for, sees one for all of them.
    """

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._plain = select.epoll()
        self._poller.register(self._plain.fileno(), zmq.POLLIN)

    def add(self, source: Server | Peer | int) -> None:
        """Watch a socket of ours or a file descriptor for input."""
        if isinstance(source, int):
            self._plain.register(source, select.EPOLLIN)
        else:
            self._poller.register(source.socket, zmq.POLLIN)

    def add_number(self, fd: int) -> None:
        """Watch whatever is open under this number, which dup2(2) may replace, for input.

        An epoll would go on with what had been there before.
        """
        self._poller.register(fd, zmq.POLLIN)

    def add_door(self, server: Server) -> None:
        """Watch for peers that connect, which `Doors.tend` wants to know of."""
        self._poller.register(server.monitor, zmq.POLLIN)

    def add_hangup(self, fd: int) -> None:
        """Watch a file descriptor for its end only, not for input."""
        self._plain.register(fd, 0)

    def remove(self, source: Server | Peer | int) -> None:
        """Stop watching; to be called before a file descriptor is closed."""
        if not isinstance(source, int):
            with contextlib.suppress(KeyError):
                self._poller.unregister(source.socket)
        else:
            with contextlib.suppress(FileNotFoundError):
                self._plain.unregister(source)

    def close(self) -> None:
        """Wait for nothing any more."""
        self._plain.close()

    def poll(self, timeout: float | None) -> set[object]:
        """Wait up to ``timeout`` seconds (None: for ever); the sockets and fds that are ready.

        May give up after an hour, as after any wait in vain.
        """
        milliseconds = None
        if timeout is not None:
            milliseconds = max(0, round(min(timeout, _LONGEST_WAIT) * 1000))
        ready: set[object] = {source for source, _ in self._poller.poll(milliseconds)}
        if self._plain.fileno() in ready:
            ready.remove(self._plain.fileno())
            ready.update(fd for fd, _ in self._plain.poll(0))
        return ready


def close_all(endpoints: Iterable[Server | Peer]) -> None:
    """Close endpoints and this process's ZeroMQ threads."""
    for endpoint in endpoints:
        endpoint.close()
    zmq.Context.instance().term()
