"""The faults, and how they are planted into the processes of a governor.

Everything here happens in a process that becomes a supervisor and its children by plain forks,
which is how these come to have the fault. Memory shared by all of them says which stage the
story is at and whether the fault has struck: it strikes once.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

from governor.journal.place import Place
from governor.supervisor import server
from governor.supervisor.spawner_link import SpawnerLink
from governor.transport import Peer, Server
from governor.wire.codec import Catalogue, encode
from tests.faults.protocols import (
    AGENT,
    CHANNEL,
    CLIENT,
    PLANS,
    PROTOCOLS,
    REQUESTS,
    SPAWNER,
    SUPERVISOR,
    WORKER,
    Step,
)
from tests.process.agent_faults import STEPS as AGENT_STEPS
from workers import agent, bootstrap, channel, seccomp, spawner

AGENT_TIMEOUT = 4.0
STALL = 9.0
"""Longer than that."""
DELAY = 0.3
JUMP = 3600.0
_CUT = 3
"""Bytes that a truncated message lacks."""

SENDER_KINDS = ("kill-before", "kill-after", "drop", "duplicate", "delay", "reorder", "truncate")
KINDS = (
    *SENDER_KINDS,
    "kill-receiver",
    "stall-sender",
    "stall-receiver",
    "clock-sender",
    "clock-receiver",
    "descriptors",
    "fork",
    "kill-agent",
    "disk-full",
    "disk-broken",
)
"""``descriptors``: the agent can have no more of them; ``fork``: the spawner cannot fork;
``kill-agent``: the agent dies when the supervisor has something else to do."""

Frames = list[bytes]
Prepared = tuple[Frames, Callable[[Frames], object]]
_ANSWERS = ("Result", "Failure")
FUNCTIONS = AGENT_STEPS | {
    "bury spawner": (SpawnerLink, "_bury_spawner"),
    "start spawner": (SpawnerLink, "_start_another"),
    "ask again": (SpawnerLink, "_ask_again"),
    "record": (Place, "write"),
    "sync": (Place, "sync"),
}
"""What agents and the supervisor do by themselves: where it is and its name."""
_STAGES = list(PROTOCOLS)
_CODES = {"receive": seccomp.RECV, "answer": seccomp.SEND}


class Stage:
    """Which protocol is being gone through, as all processes see it, and what has struck."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, 4096)).cast("q")

    def set(self, *protocols: str) -> None:
        """From now on these are at work."""
        self._words[0] = sum(1 << _STAGES.index(protocol) for protocol in protocols)

    def is_at(self, protocol: str) -> bool:
        """Whether this one is."""
        return bool(self._words[0] >> _STAGES.index(protocol) & 1)

    def note(self, role: str) -> None:
        """This process is the agent or the spawner now."""
        self._words[2 if role == AGENT else 3] = os.getpid()

    @property
    def spawner(self) -> int:
        """The first one; those after it are programs of their own."""
        return self._words[3]

    def kill_agent(self) -> None:
        """Kill the one that was noted last."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._words[2], signal.SIGKILL)

    def strike(self, path: str) -> bool:
        """Whether the fault is to happen now, which it does once."""
        if self._words[1]:
            return False
        self._words[1] = 1
        with open(path, "w") as file:  # for those who look when all of us are dead
            file.write(str(os.getpid()))
        return True


class Fault:
    """One fault at one step. ``path``: the file that is made when it strikes."""

    def __init__(self, step: Step, kind: str, stage: Stage, path: str) -> None:
        self._step = step
        self._kind = kind
        self._stage = stage
        self._path = path
        self._role = CLIENT
        self._held: Callable[[], object] | None = None
        self._offset = 0.0

    def plant(self) -> None:
        """Put it into this process, and all that are forked from it."""
        self._mark_roles()
        self._plant_clock()
        if self._step.receiver:
            self._plant_in_sockets()
            self._plant_in_channels()
        else:
            self._plant_in_function()

    # -- who we are ----------------------------------------------------------------

    def _mark_roles(self) -> None:
        self._mark(server.Supervisor, "__init__", SUPERVISOR)
        self._mark(spawner.Spawner, "serve", SPAWNER)
        self._mark(agent.Agent, "serve", AGENT)
        self._mark(bootstrap, "main", WORKER)

    def _mark(self, place: Any, name: str, role: str) -> None:
        original = getattr(place, name)

        def marked(*arguments: Any, **keys: Any) -> Any:
            self._role = role
            if role in (AGENT, SPAWNER):
                self._stage.note(role)
            return original(*arguments, **keys)

        setattr(place, name, marked)

    def _plant_clock(self) -> None:
        monotonic, wall = time.monotonic, time.time
        time.monotonic = lambda: monotonic() + self._offset
        time.time = lambda: wall() - self._offset

    # -- when it strikes -----------------------------------------------------------

    def _is_due(self, side: str, what: str) -> bool:
        step = self._step
        return (
            what == step.what
            and self._role == side
            and self._stage.is_at(step.protocol)
            and self._stage.strike(self._path)
        )

    def _harm(self, kind: str) -> None:
        """What can happen to a process between two of its own steps."""
        if kind in ("kill-before", "kill-after", "kill-receiver"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind.startswith("stall"):
            time.sleep(STALL)
        elif kind.startswith("clock"):
            self._offset = JUMP
        elif kind == "descriptors":
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            )
        elif kind == "fork":
            self._fail_next_fork()
        elif kind == "kill-agent":
            self._stage.kill_agent()
        elif kind.startswith("disk"):
            number = errno.ENOSPC if kind == "disk-full" else errno.EIO
            raise OSError(number, os.strerror(number))

    def _fail_next_fork(self) -> None:
        original = os.fork

        def fork() -> int:
            os.fork = original
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        os.fork = fork

    # -- messages ------------------------------------------------------------------

    @property
    def _at_receiver(self) -> bool:
        if self._kind == "descriptors":
            return self._step.receiver == AGENT
        return self._kind in ("kill-receiver", "stall-receiver", "clock-receiver", "fork")

    def _sending(
        self, what: str, link: str, send: Callable[[], Any], prepare: Callable[[], Prepared]
    ) -> Any:
        """Send a message by ``send``, or do otherwise with what ``prepare`` gives."""
        if self._at_receiver or link != self._step.link:
            return send()
        if self._held is not None:
            held, self._held = self._held, None
            try:
                return send()
            finally:
                held()
        if not self._is_due(self._step.sender, what):
            return send()
        match self._kind:
            case "drop" | "duplicate" | "reorder" | "truncate":
                self._mangle(*prepare())
                return True
            case "delay":
                time.sleep(DELAY)
            case "kill-after":
                send()
                self._harm(self._kind)
            case kind:
                self._harm(kind)
        return send()

    def _mangle(self, frames: Frames, emit: Callable[[Frames], object]) -> None:
        match self._kind:
            case "duplicate":
                emit(frames)
                emit(frames)
            case "reorder":
                self._held = lambda: emit(frames)
            case "truncate":
                emit([*frames[:-1], frames[-1][:-_CUT]])

    def _received(self, what: str) -> None:
        if self._at_receiver and self._is_due(self._step.receiver, what):
            self._harm(self._kind)

    def _plant_in_sockets(self) -> None:
        """ZeroMQ."""
        server_send, server_receive = Server.send, Server.receive
        peer_send, peer_receive = Peer.send, Peer.receive

        def send_to(at: Server, peer: bytes, message: Any) -> bool:
            name = type(message).__name__
            link = REQUESTS if name in _ANSWERS else PLANS
            send = partial(server_send, at, peer, message)
            return bool(self._sending(name, link, send, partial(_prepare, at, send)))

        def receive_from(at: Server) -> tuple[bytes, Any] | None:
            received = server_receive(at)
            if received is not None:
                self._received(type(received[1]).__name__)
            return received

        def send(at: Peer, message: Any) -> None:
            link = PLANS if self._role == AGENT else REQUESTS
            send = partial(peer_send, at, message)
            self._sending(type(message).__name__, link, send, partial(_prepare, at, send))

        def receive(at: Peer) -> Any:
            message = peer_receive(at)
            if message is not None:
                self._received(type(message).__name__)
            return message

        _replace(Server, "send", send_to)
        _replace(Server, "receive", receive_from)
        _replace(Peer, "send", send)
        _replace(Peer, "receive", receive)

    def _plant_in_channels(self) -> None:
        """Unix sockets. The worker sends its first word by itself."""
        channel_send, channel_receive = channel.send, channel.receive
        send_fds = socket.send_fds

        def send(end: socket.socket, message: Any, descriptors: Any = ()) -> bool:
            def prepare() -> Prepared:
                return [encode(message)], lambda frames: send_fds(end, frames, descriptors)

            send = partial(channel_send, end, message, descriptors)
            return bool(self._sending(type(message).__name__, CHANNEL, send, prepare))

        def receive(end: socket.socket, catalogue: Catalogue) -> tuple[Any, list[int]] | None:
            received = channel_receive(end, catalogue)
            if received is not None:
                self._received(type(received[0]).__name__)
            return received

        def send_ready(end: socket.socket, frames: Any, descriptors: Any) -> int:
            send = partial(send_fds, end, frames, descriptors)
            if self._role != WORKER or self._step.what != "Ready":
                return send()
            emit = lambda frames: send_fds(end, frames, descriptors)  # noqa: E731
            return int(self._sending("Ready", CHANNEL, send, lambda: (frames, emit)))

        channel.send, channel.receive = send, receive
        _replace(socket, "send_fds", send_ready)

    # -- what an agent does by itself --------------------------------------------------

    def _plant_in_function(self) -> None:
        step = self._step.what
        place, name = FUNCTIONS[step]
        original = getattr(place, name)

        def faulty(*arguments: Any, **keys: Any) -> Any:
            other = step in _CODES and arguments[1] != _CODES[step]
            if other or not self._is_due(self._step.sender, step):
                return original(*arguments, **keys)
            if self._kind != "kill-after":
                self._harm(self._kind)
                return original(*arguments, **keys)
            try:
                return original(*arguments, **keys)
            finally:
                self._harm(self._kind)

        setattr(place, name, faulty)


class _Desk:
    """Keeps what a socket is to send."""

    def __init__(self) -> None:
        self.frames: Frames = []

    def send_multipart(self, frames: Frames, *_: object) -> None:
        self.frames = list(frames)


def _prepare(at: Server | Peer, send: Callable[[], object]) -> Prepared:
    """What ``send`` would send, and a way to: whatever else it does has been done."""
    real, desk = at.socket, _Desk()
    _replace(at, "socket", desk)
    try:
        send()
    finally:
        at.socket = real

    def emit(frames: Frames) -> None:
        with contextlib.suppress(zmq.ZMQError):  # whom it is for may be gone by now
            real.send_multipart(frames)

    return desk.frames, emit


def _replace(place: Any, name: str, value: object) -> None:
    setattr(place, name, value)
