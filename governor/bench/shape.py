"""How the containers around an operation are arranged: what the sweeps vary."""

from __future__ import annotations

from typing import Final, NamedTuple

HIGH_LIMIT: Final = 100_000
"""A limit that really applies to every operation and is never met."""

NONE, SOME, ALL = "none", "some", "all"


class Shape(NamedTuple):
    """The same for governor and for the kernel's cgroups.

    ``depth`` is the number of containers below the root down to the one the operation is done in;
    ``limits`` says which of these have one: none, some (the innermost), or all. ``groups`` counts
    combinations of containers with a process in them, and ``processes`` those in the innermost
    container, both with the one that is measured; ``empty`` containers more, limited like all
    others, have nobody in them. ``resources`` are what governor counts, as words
    with commas; the kernel's cgroups count tasks whatever it says.
    """

    hierarchies: int = 1
    depth: int = 3
    limits: str = ALL
    groups: int = 1
    processes: int = 1
    resources: str = "tasks,files"
    empty: int = 0

    def limited(self, level: int) -> bool:
        """Whether the container so many levels below the root has a limit."""
        return self.limits == ALL or (self.limits == SOME and level == self.depth)

    @property
    def note(self) -> str:
        """What a reader has to know of figures in this shape."""
        if not self.empty:
            return ""
        return f"{self.groups:,} of {self.groups + self.empty:,} groups have a process in them"

    def to_words(self) -> list[str]:
        """Return it as words of a command line."""
        return [str(value) for value in self]

    @classmethod
    def from_words(cls, words: list[str]) -> Shape:
        """Return what `to_words` was made of."""
        hierarchies, depth, limits, groups, processes, resources, empty = words
        return cls(
            int(hierarchies), int(depth), limits, int(groups), int(processes), resources, int(empty)
        )
