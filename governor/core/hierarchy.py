"""A hierarchy: a tree of containers that partitions all processes, and its subsystems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from governor.core.container import Container

if TYPE_CHECKING:
    from governor.subsystem import Subsystem


class Hierarchy:
    """One tree. ``subsystems`` maps names to the bound controllers, in mount order."""

    __slots__ = ("mounted", "name", "new_id", "root", "subsystems")

    def __init__(
        self, name: str, subsystems: Sequence[Subsystem], new_id: Callable[[], int]
    ) -> None:
        self.name = name
        self.mounted = True
        self.new_id = new_id
        self.subsystems = {subsystem.name: subsystem for subsystem in subsystems}
        self.root = Container(self, None, "")

    def __repr__(self) -> str:
        return f"Hierarchy({self.name!r}, {list(self.subsystems)})"

    def containers(self) -> Iterator[Container]:
        """Every container, parents before children."""
        return self.root.descendants()
