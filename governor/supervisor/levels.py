"""Levels of enforcement: what has really been enforced for the processes of a container.

A limit that is not enforced is never called enforced. What counts is not what the host
could do but what each job that was placed in a container had in its filter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from governor.core.container import Container
from governor.core.group import Group
from governor.results import ENFORCED, LEVELS, OBSERVED, PARTIAL
from governor.subsystem import Subsystem
from governor.supervisor.told import tell


class Record:
    """What is known about the processes that a group, or a container, has had."""

    __slots__ = ("hidden", "trapped", "unfollowed", "untrapped")

    def __init__(self) -> None:
        self.trapped: set[str] = set()
        self.untrapped: set[str] = set()
        self.hidden = False
        """Some process may not be looked into."""
        self.unfollowed = False
        """Some process carries no tag, so that nothing at all can be done for it."""

    def dump(self) -> tuple[list[str], list[str], bool, bool]:
        """All of it as plain values, for `load`."""
        return sorted(self.trapped), sorted(self.untrapped), self.hidden, self.unfollowed

    def load(
        self, trapped: list[str], untrapped: list[str], hidden: bool, unfollowed: bool
    ) -> None:
        """Know what `dump` gave."""
        self.trapped, self.untrapped = set(trapped), set(untrapped)
        self.hidden, self.unfollowed = hidden, unfollowed

    def add(self, other: Record) -> None:
        """What holds for the other's processes holds for some of these."""
        self.trapped |= other.trapped
        self.untrapped |= other.untrapped
        self.hidden |= other.hidden
        self.unfollowed |= other.unfollowed

    def level(self, subsystem: Subsystem) -> str:
        """How well ``subsystem`` was enforced: never better than its best."""
        return max(self._level(subsystem), subsystem.best, key=LEVELS.index)

    def _level(self, subsystem: Subsystem) -> str:
        hidden = self.hidden and subsystem.looks_inside
        if not self.unfollowed and not hidden and not subsystem.traps & self.untrapped:
            return ENFORCED
        return PARTIAL if subsystem.traps & self.trapped else OBSERVED


def level_of(record: Record, subsystem: Subsystem, container: Container) -> str:
    """How well ``subsystem`` was enforced in ``container`` and below, by its own account too."""
    level = record.level(subsystem)
    if level != ENFORCED:
        return level
    # One that fails in its answer is not believed to be kept.
    lapsed = (tell(subsystem, "lapsed", node) is not False for node in container.descendants())
    return PARTIAL if any(lapsed) else level


def levels_of(
    records: Mapping[Container, Record], subsystem: Subsystem, containers: Collection[Container]
) -> list[int]:
    """`level_of` for many containers, as places in `LEVELS`.

    They are given parents before children, and whole subtrees.
    """
    best = LEVELS.index(subsystem.best)
    found = {
        c: LEVELS.index(records[c].level(subsystem)) if c in records else best for c in containers
    }
    if type(subsystem).lapsed is not Subsystem.lapsed:
        for container in containers:
            if tell(subsystem, "lapsed", container) is not False:
                for node in container.ancestors():
                    found[node] = found[node] or LEVELS.index(PARTIAL)
    return list(found.values())


class Levels:
    """A record per group, for as long as the group lives, and what is left of it in containers."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}
        self.kept: dict[Container, Record] = {}
        """Of groups that are forgotten."""

    def record(self, group: int) -> Record:
        """What is known of a group."""
        return self._records.setdefault(group, Record())

    def placed(
        self, group: int, wanted: Collection[str], trapped: Collection[str], tagged: bool
    ) -> None:
        """A process came into ``group``; of the facilities wanted, these are trapped in it."""
        record = self.record(group)
        record.trapped.update(trapped)
        record.untrapped.update(set(wanted).difference(trapped))
        record.unfollowed |= not tagged

    def wanted(self, group: int, wanted: Collection[str]) -> None:
        """More is wanted by now than the filters of ``group`` trap."""
        record = self.record(group)
        record.untrapped.update(set(wanted) - record.trapped)

    def unreadable(self, group: int) -> None:
        """A process of ``group`` may not be looked into."""
        self.record(group).hidden = True

    def moved(self, source: int, target: int) -> None:
        """A process brought its filter along from ``source``."""
        self.record(target).add(self.record(source))

    def forget(self, group: int) -> None:
        """The group was released."""
        self._records.pop(group, None)

    def keep(self, group: Group) -> None:
        """The group is released and its containers stay: they have had those processes."""
        record = self._records.pop(group.id, None)
        if record is not None:
            for container in group.containers:
                self.kept.setdefault(container, Record()).add(record)

    def gone(self, container: Container) -> None:
        """The container was removed."""
        self.kept.pop(container, None)

    def by_container(self, groups: Iterable[Group]) -> dict[Container, Record]:
        """The records of all containers, each including its sub-containers."""
        found: dict[Container, Record] = {}
        known = [(group.containers, self._records.get(group.id)) for group in groups]
        for members, record in [*known, *(((c,), kept) for c, kept in self.kept.items())]:
            if record is not None:
                for member in members:
                    for node in member.ancestors():
                        found.setdefault(node, Record()).add(record)
        return found
