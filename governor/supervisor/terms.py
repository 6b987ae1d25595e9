"""What a supervisor is started with, whether that is by a fork or by `exec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Terms(NamedTuple):
    """All that it is told, but for its owner's socket."""

    directory: str
    """For its sockets; empty: a new one."""
    nonce: int
    """What marks its processes, unless there are others to go on with."""
    agent_timeout: float
    """Seconds of silence after which an agent or spawner is replaced."""
    lock: int | None
    """A descriptor that every spawner is to hold as long as it runs."""
    state: str
    """The directory in which everything is recorded; empty: nothing is."""

    def arguments(self) -> list[str]:
        """All of it, as arguments of a program."""
        lock = "" if self.lock is None else str(self.lock)
        return [self.directory, str(self.nonce), str(self.agent_timeout), lock, self.state]

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Terms:
        """What `arguments` has given."""
        directory, nonce, agent_timeout, lock, state = arguments
        return cls(directory, int(nonce), float(agent_timeout), int(lock) if lock else None, state)
