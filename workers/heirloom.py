"""What a spawner keeps for the next supervisor: descriptors, and ends that nobody has recorded."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections import deque

from governor.wire.codec import Message
from governor.wire.spawner import Buried, Drop, Inherited, Keep, Kept, Recorded, Running
from workers import channel

HEIRS = "heirs"
"""The socket in a governor's directory where a new supervisor connects."""
_CREDENTIALS = struct.Struct("3i")
_PATIENCE = 1.0
"""Seconds until those are let in who were at the door before."""


def is_waiting(directory: str) -> bool:
    """Whether there is a spawner that waits for a supervisor, or has one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.path.join(directory, HEIRS))
        except BlockingIOError:  # others are at the door
            return True
        except OSError:
            return False
    return True


def waiting(directory: str) -> int | None:
    """A pidfd of the spawner that waits there; None when there is none, or it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect(os.path.join(directory, HEIRS))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            return os.pidfd_open(_CREDENTIALS.unpack(credentials)[0])
        except OSError:
            return None


class Heirloom:
    """One for each spawner that goes on without its supervisor, in ``directory``."""

    def __init__(self, directory: str, nonce: int, expected: bool = True) -> None:
        self._nonce = nonce
        self.expected = expected
        """Whether there can be a next supervisor: whoever is to start it knows of this one."""
        self._kept: dict[tuple[str, int], int] = {}
        self._ends: deque[list[Message]] = deque()
        self._end: list[Message] = []
        self.running: dict[int, int] = {}
        """The job of each process that was forked, by pid; 0 for an agent."""
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.path.join(directory, HEIRS)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._door.bind(path)
        self._door.listen(1)

    def fileno(self) -> int:
        """Readable when somebody is at the door."""
        return self._door.fileno()

    def note(self, report: Message) -> None:
        """Remember what is said of an end until it is `Recorded`."""
        self._end.append(report)
        if isinstance(report, Buried):
            self.running.pop(report.pid, None)
            self._ends.append(self._end)
            self._end = []

    def obey(self, message: Message, descriptors: list[int]) -> None:
        """Keep or drop what the supervisor says; ``descriptors`` stay the caller's."""
        match message:
            case Keep(kind, id):
                self._drop(kind, id)
                self._kept[kind, id] = os.dup(descriptors[0])
            case Drop(kind, id):
                self._drop(kind, id)
            case Recorded(ends):
                self.expected = True
                for _ in range(min(ends, len(self._ends))):
                    self._ends.popleft()

    def _drop(self, kind: str, id: int) -> None:
        descriptor = self._kept.pop((kind, id), None)
        if descriptor is not None:
            os.close(descriptor)

    def accept(self) -> socket.socket | None:
        """Let somebody in who is one of us; None for anybody else."""
        heir, _ = self._door.accept()
        credentials = heir.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(credentials)[1] == os.geteuid():
            return heir
        heir.close()
        return None

    def hand_over(self, heir: socket.socket) -> None:
        """Tell a new supervisor everything; it may die over it, and then there is another one."""
        for (kind, id), descriptor in self._kept.items():
            channel.send(heir, Kept(kind, id), [descriptor])
        for pid, job in self.running.items():
            channel.send(heir, Running(job, pid))
        channel.send(heir, Inherited(self._nonce))
        for end in self._ends:
            for report in end:
                channel.send(heir, report)

    def close(self) -> None:
        """Let go of everything, in a process that is something else."""
        self._door.close()
        for descriptor in self._kept.values():
            os.close(descriptor)
