"""Container groups: the tuple of containers a process is in, one per hierarchy.

A process carries the group's id and nothing else (the seeds' single ``container_group``
pointer per task). Groups are interned: the same combination is the same group, found by
hash in O(1), which the seeds left as future work.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from governor.core.container import Container, put, take
from governor.errors import GovernorError

GROUP_MAX = 2**20 - 1
"""Largest group id: it has 20 bits in the tag that every governed process carries."""


class Group:
    """One combination of containers. ``tasks`` counts who refers to it."""

    __slots__ = ("containers", "id", "tasks")

    def __init__(self, id: int, containers: tuple[Container, ...]) -> None:
        self.id = id
        self.containers = containers
        self.tasks = 0

    def __repr__(self) -> str:
        return f"Group({self.id}, {[c.label for c in self.containers]}, tasks={self.tasks})"


class GroupTable:
    """All groups in use: by combination, by id, and by each container that they are in or below.

    The last is kept in the containers themselves, so that what concerns a container costs what
    is in it, however many groups there are elsewhere.
    """

    def __init__(self) -> None:
        self._by_containers: dict[tuple[Container, ...], Group] = {}
        self._by_id: dict[int, Group] = {}
        self.last = 0
        """The id that was given last."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._by_id.values())

    def get(self, id: int) -> Group | None:
        """The group with this id, None when it has been released."""
        return self._by_id.get(id)

    def find(self, containers: tuple[Container, ...]) -> Group:
        """The group of exactly these containers, made when there is none yet."""
        group = self._by_containers.get(containers)
        if group is None:
            group = Group(self._free_id(), containers)
            self._add(group)
        return group

    def adopt(self, id: int, containers: tuple[Container, ...]) -> Group:
        """The group that had this id in a governor before this one."""
        group = Group(id, containers)
        self._add(group)
        return group

    def release(self, group: Group) -> None:
        """Forget a group that nobody refers to."""
        del self._by_containers[group.containers]
        del self._by_id[group.id]
        for node in lines(group):
            node.groups = take(node.groups, group.id)

    def substitute(self, group: Group, containers: tuple[Container, ...]) -> None:
        """Give ``group`` other containers: a hierarchy came or went for all its tasks."""
        self.release(group)
        group.containers = containers
        self._add(group)

    def _add(self, group: Group) -> None:
        self._by_containers[group.containers] = group
        self._by_id[group.id] = group
        for node in lines(group):
            node.groups = put(node.groups, group.id, group)

    def _free_id(self) -> int:
        """The next id in use by nobody, counting on from the last so that ids rest a while."""
        if len(self._by_id) >= GROUP_MAX:
            raise GovernorError(errno.ENOSPC, f"at most {GROUP_MAX} container groups can exist")
        while True:
            self.last = self.last % GROUP_MAX + 1
            if self.last not in self._by_id:
                return self.last


def lines(group: Group) -> Iterator[Container]:
    """The containers of a group, each with all above it."""
    for container in group.containers:
        yield from container.ancestors()
