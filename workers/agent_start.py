"""The agent's process from its start to its end, which may be the end of everything."""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import struct
import sys

from governor.errors import ProtocolError
from governor.results import OWN_FAILURE
from governor.transport import Peer, close_all, make_room
from governor.wire import agent as wire
from workers.agent import Agent
from workers.estate import Estate

_CREDENTIALS = struct.Struct("3i")
_DYING = 1.0
"""Seconds in which a process that has closed its sockets is dead."""
_ENDING = 10.0
"""Seconds in which a spawner that nobody holds up has ended all jobs, and this process."""


def main(endpoint: str, end: socket.socket, nonce: int, estate: int, stays: bool = False) -> int:
    """Run an agent until its supervisor says stop or, unless it ``stays``, goes away.

    The exit status is not 0 when another has to go on in its place.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    gc.disable()  # cycles are taken apart by hand, and a collection would delay a trap
    try:
        elders = os.pidfd_open(_maker_of(end)), os.pidfd_open(os.getppid())
    except ProcessLookupError:  # nobody is there to be served
        return 0
    make_room()  # every job that runs needs one here
    peer = Peer(endpoint, wire.TO_AGENT, numbered=True)
    try:
        records = Estate(estate)
        os.close(estate)
        Agent(peer, end, nonce, records, os.path.dirname(endpoint) if stays else "").serve()
        if not stays and _is_last(end, *elders):
            from workers import spawner

            spawner.end_leftovers(nonce)
            spawner.remove_directory(os.path.dirname(endpoint))
    except ProtocolError as error:
        return _give_up(f"what the supervisor says cannot be understood: {error}")
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # Whoever cannot look can neither count nor admit.
        return _give_up(os.strerror(error.errno))
    finally:
        close_all([peer])
    return 0


def _maker_of(end: socket.socket) -> int:
    """The process that has made a pair of sockets: the supervisor."""
    credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[0])


def _is_last(end: socket.socket, supervisor: int, spawner: int) -> bool:
    """Whether the supervisor has died and nobody else ends the jobs.

    The spawner does, and kills this process after them, unless it dies first or is held up.
    """
    poll = select.poll()
    poll.register(end, select.POLLRDHUP)  # whatever is still to be read
    if not poll.poll(0) or not _has_ended(supervisor, _DYING):
        return False
    _has_ended(spawner, _ENDING)
    return True


def _has_ended(pidfd: int, seconds: float) -> bool:
    """Wait so long at most for the end of a process; whether it has come."""
    return bool(select.select([pidfd], [], [], seconds)[0])


def _give_up(reason: str) -> int:
    print(f"governor: an agent gives up: {reason}", file=sys.stderr)
    return OWN_FAILURE
