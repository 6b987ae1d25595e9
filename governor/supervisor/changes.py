"""Who is told of what changes, so that it can be recorded; here, nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.core.container import Container
    from governor.core.hierarchy import Hierarchy
    from governor.supervisor.jobs import Job


class Changes:
    """Told after the change, of what is to be looked at again before anybody else hears of it."""

    def hierarchy(self, hierarchy: Hierarchy) -> None:
        """It came, went, or has other subsystems, and with that its root."""

    def container(self, container: Container) -> None:
        """It came, went, was renamed, or its state is another."""

    def group(self, id: int) -> None:
        """It came, went, or more is known of its processes."""

    def job(self, job: Job) -> None:
        """It began, ended, was forgotten, or is further than it was."""

    def process(self, pid: int) -> None:
        """What the ledger knows of this process is another."""

    def figures(self) -> None:
        """Counters, meters and processes have been looked at."""

    def require_room_for(self, processes: int) -> None:
        """Refuse that so many processes move if that could not be recorded: ENOSPC, EIO, ..."""

    def flush(self) -> None:
        """What comes next must not happen before all this is written."""
