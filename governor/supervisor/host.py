"""What subsystems may see of the running processes, and do to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from governor.core.container import Container
from governor.results import Value
from governor.supervisor.endings import signal_all

if TYPE_CHECKING:
    from governor.supervisor.policy import Policy


class ProcessHost:
    """The `governor.subsystem.Host` of a running governor."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def now(self) -> float:
        """Seconds on a clock that only goes forward."""
        return time.monotonic()

    def members(self, container: Container) -> list[int]:
        """The pids in a container, without its sub-containers."""
        return sorted(self._policy.members_of(container))

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a governed process; nothing happens when it has ended."""
        if pid in self._policy.members():
            signal_all([pid], number)

    def event(self, kind: str, container: Container, **fields: Value) -> None:
        """Tell whoever follows the events."""
        self._policy.events.of(kind, container, **fields)
