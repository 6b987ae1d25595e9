"""Messages with file descriptors between related processes, over a SOCK_SEQPACKET pair.

The spawner must not have ZeroMQ's threads, and descriptors cannot travel over ZeroMQ.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence

from governor.wire.codec import Catalogue, Message, encode

PATIENCE = 10.0
"""Seconds after which a peer that takes nothing is as good as gone."""
_FRAME_MAX = 64 * 1024
_ANCILLARY_MAX = socket.CMSG_LEN(8 * 4)
"""Room for eight descriptors."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; a message arrives whole, EOF when the other end is closed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> bool:
    """Send a message with copies of ``descriptors``; False when the peer is gone.

    An end with a timeout takes a peer that reads nothing for so long for one that is gone.
    """
    try:
        socket.send_fds(end, [encode(message)], descriptors)
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        return False
    return True


def is_readable(descriptor: int, seconds: float | None = None) -> bool:
    """Wait until there is something to read, or a pidfd's process has ended; False: in vain.

    select(2) knows no descriptor above 1023, and every job has one.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def receive(end: socket.socket, catalogue: Catalogue) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors (close-on-exec), None when the peer is gone.

    Blocks while there is none. A message comes with all its descriptors, or with none when this
    process has no room for them. Raises `ProtocolError` for bytes that are no message.
    """
    try:
        frame, ancillary, flags, _ = end.recvmsg(
            _FRAME_MAX, _ANCILLARY_MAX, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        # The peer went without having read all. That is told once, before its own last words.
        frame, ancillary, flags, _ = end.recvmsg(
            _FRAME_MAX, _ANCILLARY_MAX, socket.MSG_CMSG_CLOEXEC
        )
    # Not socket.recv_fds: that ignores its flags, and a job would inherit every descriptor.
    descriptors = [
        descriptor for *_, data in ancillary for descriptor in memoryview(data).cast("i")
    ]
    if not frame or flags & socket.MSG_CTRUNC:
        # An empty message is no message, whatever comes with it; and some are of no use.
        while descriptors:
            os.close(descriptors.pop())
    if not frame:
        return None
    try:
        return catalogue.decode(frame), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def receive_descriptor(end: socket.socket, catalogue: Catalogue) -> int | None:
    """The descriptor of the next message, None when the peer is gone. EMFILE: no room for it."""
    received = receive(end, catalogue)
    if received is None:
        return None
    if not received[1]:
        raise OSError(errno.EMFILE, "no descriptor is left for what a message brings")
    return received[1][0]
