"""A host on which nothing runs, for subsystems that are asked about their figures."""

from __future__ import annotations

from governor.core.container import Container
from governor.results import Value


class IdleHost:
    """Implements `governor.subsystem.Host`; ``events`` are those that were told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[tuple[str, str, dict[str, Value]]] = []

    def members(self, container: Container) -> list[int]:
        """Nobody."""
        return []

    def signal(self, pid: int, number: int) -> None:
        """There is nobody to signal."""

    def event(self, kind: str, container: Container, **fields: Value) -> None:
        """Write it down."""
        self.events.append((kind, container.label, fields))

    def changed(self, container: Container) -> None:
        """Nothing is recorded here."""
