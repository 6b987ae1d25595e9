"""A container: a node of a hierarchy, with the state of every bound subsystem."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.core.group import Group
    from governor.core.hierarchy import Hierarchy

K = TypeVar("K")
V = TypeVar("V")

NAME_MAX = 255
"""Longest container name in bytes, as for a directory (NAME_MAX of limits.h)."""

EMPTY: Final[Mapping[Any, Any]] = MappingProxyType({})
"""The mapping that all share who have no children, or no groups: most of ten thousand."""


def put(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    """One more entry; returns what holds it, which is a mapping of its own from now on."""
    if not isinstance(mapping, dict):
        return {key: value}
    mapping[key] = value
    return mapping


def take(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    """One entry less; returns what holds the others, `EMPTY` when there are none."""
    assert isinstance(mapping, dict)
    del mapping[key]
    return mapping or EMPTY


class Container:
    """A set of processes plus one state object per subsystem bound to the hierarchy.

    ``groups`` are those, by id, whose processes are in this container or below it; `GroupTable`
    keeps them. ``tasks`` counts the processes in it (sub-containers aside) when they were last
    counted, ``busy`` the references subsystems hold to keep it alive (the seeds' css_get/css_put).
    """

    __slots__ = (
        "auto_remove",
        "busy",
        "children",
        "ending",
        "groups",
        "hierarchy",
        "name",
        "notify_on_release",
        "occupied",
        "parent",
        "states",
        "tasks",
    )

    def __init__(self, hierarchy: Hierarchy, parent: Container | None, name: str) -> None:
        self.hierarchy = hierarchy
        self.parent = parent
        self.name = name
        self.children: Mapping[str, Container] = EMPTY
        self.states: dict[str, object] = {}
        self.groups: Mapping[int, Group] = EMPTY
        self.tasks = 0
        self.busy = 0
        # Inherited at creation, as containers.txt section 1.4 has it.
        self.notify_on_release: bool = parent.notify_on_release if parent else False
        self.auto_remove: bool = parent.auto_remove if parent else False
        self.occupied = False
        """Whether a process or a child has been here since the last release."""
        self.ending = False
        """Whether it is being removed with all that is in it, so that nothing may enter."""

    def __repr__(self) -> str:
        return f"Container({self.label})"

    @property
    def path(self) -> str:
        """Path from the root of the hierarchy: ``/``, ``/students``, ``/students/bob``."""
        names = [node.name for node in self.ancestors() if node.parent is not None]
        return "/" + "/".join(reversed(names))

    @property
    def label(self) -> str:
        """How messages name the container: ``hierarchy:/path``."""
        return f"{self.hierarchy.name}:{self.path}"

    @property
    def is_there(self) -> bool:
        """Whether it has not been removed."""
        return self.parent is None or self.parent.children.get(self.name) is self

    def keep(self) -> None:
        """Hold a reference: the container cannot be removed until `let_go`.

        ENODEV when it has been removed, or is about to be.
        """
        if self.ending or not self.is_there:
            raise GovernorError(errno.ENODEV, f"container {self.label} is being removed")
        self.busy += 1

    def let_go(self) -> None:
        """Give a reference back."""
        if not self.busy:
            raise ValueError(f"{self.label} was let go more often than kept")
        self.busy -= 1

    def ancestors(self) -> Iterator[Container]:
        """This container, its parent, ... up to the root."""
        node: Container | None = self
        while node is not None:
            yield node
            node = node.parent

    def descendants(self) -> Iterator[Container]:
        """This container and everything below it, parents before children."""
        nodes = [self]  # not by recursion: a tree may be deeper than Python's stack
        while nodes:
            node = nodes.pop()
            yield node
            if node.children:
                nodes += reversed(list(node.children.values()))

    def lookup(self, path: str) -> Container:
        """The container at ``path`` below this one; ENOENT names the first missing part."""
        node = self
        for name in split_path(path):
            child = node.children.get(name)
            if child is None:
                raise GovernorError(
                    errno.ENOENT,
                    f"no container {self.hierarchy.name}:{path}: {node.label} has no {name!r}",
                )
            node = child
        return node


def check_name(name: str) -> None:
    """Refuse a container's name that is not a single part of a path; EINVAL, ENAMETOOLONG."""
    if split_path(f"/{name}") != [name]:
        raise GovernorError(errno.EINVAL, f"{name!r} cannot be a container's name")


def split_path(path: str) -> list[str]:
    """The names in an absolute container path; EINVAL for anything that is not one."""
    if not path.startswith("/"):
        raise GovernorError(errno.EINVAL, f"container path {path!r} must start with '/'")
    names = [name for name in path.split("/") if name]
    for name in names:
        if name in (".", "..") or "\0" in name or "\n" in name:
            raise GovernorError(errno.EINVAL, f"{name!r} cannot be a container's name in {path!r}")
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise GovernorError(
                errno.EINVAL, f"a container's name must be UTF-8 text: {name!r}"
            ) from None
        if size > NAME_MAX:
            raise GovernorError(
                errno.ENAMETOOLONG, f"a container's name has at most {NAME_MAX} bytes: {name!r}"
            )
    return names
