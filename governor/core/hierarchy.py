"""A hierarchy: a tree of containers that partitions all processes, and its subsystems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from governor.core.container import Container

if TYPE_CHECKING:
    from governor.subsystem import Subsystem


class Hierarchy:
    """One tree. ``subsystems`` maps kinds to the bound controllers, in mount order.

    ``release_agent`` is the program that is told of containers that have become empty.
    """

    __slots__ = ("mounted", "name", "new_id", "release_agent", "root", "subsystems")

    def __init__(self, name: str, new_id: Callable[[], int]) -> None:
        self.name = name
        self.mounted = True
        self.new_id = new_id
        self.release_agent = ""
        self.subsystems: dict[str, Subsystem] = {}
        self.root = Container(self, None, "")

    def __repr__(self) -> str:
        return f"Hierarchy({self.name!r}, {list(self.subsystems)})"

    @property
    def labels(self) -> list[str]:
        """What is bound here, as `mount` is given it."""
        return [subsystem.label for subsystem in self.subsystems.values()]

    def containers(self) -> Iterator[Container]:
        """Every container, parents before children."""
        return self.root.descendants()
