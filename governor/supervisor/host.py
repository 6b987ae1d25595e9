"""What subsystems may see of the running processes, and do to them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
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
        self._one_look = False
        self._seen: dict[Container, list[int]] | None = None

    @property
    def now(self) -> float:
        """Seconds on a clock that only goes forward."""
        return time.monotonic()

    def members(self, container: Container) -> list[int]:
        """The pids in a container, without its sub-containers."""
        if not self._one_look:
            return sorted(self._policy.members.of(container))
        if self._seen is None:
            self._seen = self._policy.members.by_container()
        return sorted(self._seen.get(container, ()))

    @contextlib.contextmanager
    def one_look(self) -> Iterator[None]:
        """In here `members` are those of one moment: a crowd of containers needs one look."""
        self._one_look = True
        try:
            yield
        finally:
            self._one_look, self._seen = False, None

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a governed process; nothing happens when it has ended."""
        if self._policy.members.governs(pid):
            signal_all([pid], number)

    def event(self, kind: str, container: Container, **fields: Value) -> None:
        """Tell whoever follows the events; with a ``pid``, of its job as well."""
        if "pid" in fields:
            fields["job"] = self._policy.members.job_of(int(fields["pid"]))
        self._policy.events.of(kind, container, **fields)

    def changed(self, container: Container) -> None:
        """What is to be kept of a container is another by now."""
        self._policy.changes.container(container)
