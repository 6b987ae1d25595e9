"""What the naive model of the forest knows, and a snapshot of everything in the real one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from governor.core.container import NAME_MAX, Container
from governor.core.counter import Counter
from governor.core.forest import Forest
from governor.core.hierarchy import Hierarchy
from governor.core.usage import Meter
from governor.units import UNLIMITED
from tests.unit.toys import COUNTED

HIERARCHIES = ("one", "two", "three")
NAMES = ("a", "b")
PATHS = ("/", "/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/b")
BAD_PATHS = {
    "a": errno.EINVAL,
    "": errno.EINVAL,
    "/..": errno.EINVAL,
    "/a/.": errno.EINVAL,
    "/a\nb": errno.EINVAL,
    "/a\0": errno.EINVAL,
    "/\udcff": errno.EINVAL,
    "/" + "ü" * (NAME_MAX // 2 + 1): errno.ENAMETOOLONG,
}
BAD_NAMES = ("", "a b", "a/b", "x:y", "a,b", "a\n")


class ModelHierarchy:
    """What the model knows of a hierarchy: path -> what its files were set to."""

    def __init__(self, subsystems: list[str]) -> None:
        self.subsystems = subsystems
        self.containers: dict[str, dict[str, Any]] = {"/": {}}
        self.busy: dict[str, int] = {}

    def children(self, path: str) -> list[str]:
        return [p for p in self.containers if p != "/" and parent_of(p) == path]


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def ancestors_of(path: str) -> Iterator[str]:
    yield path
    while path != "/":
        path = parent_of(path)
        yield path


def snapshot(forest: Forest) -> object:
    """Everything that an operation may change, down to the identity of the objects."""

    def state(value: object) -> object:
        if isinstance(value, Counter):
            return id(value), value.id, value.limit, value.charged, value.held, value.failcnt
        return (id(value), value.total) if isinstance(value, Meter) else value

    def container(node: Container) -> object:
        return (
            id(node),
            node.path,
            list(node.groups),
            node.busy,
            node.notify_on_release,
            {name: state(value) for name, value in node.states.items()},
            [container(child) for child in node.children.values()],
        )

    def hierarchy(tree: Hierarchy) -> object:
        bound = [(name, id(subsystem)) for name, subsystem in tree.subsystems.items()]
        return id(tree), tree.name, tree.mounted, bound, container(tree.root)

    groups = [(id(g), g.id, g.tasks, list(map(id, g.containers))) for g in forest.groups]
    trees = (forest.unbound, *forest.hierarchies.values())
    return [hierarchy(tree) for tree in trees], groups


def kind_of(label: str) -> str:
    """What a named instance is an instance of."""
    return label.partition("@")[0]


def sort(lists: dict[str, list[int]]) -> dict[str, list[int]]:
    return {key: sorted(value) for key, value in lists.items()}


def files_of(subsystem: str) -> set[str]:
    if subsystem in COUNTED:
        return {"limit", "held"}
    return {"set"} if subsystem == "delta" else set()


def parse(subsystem: str, kind: str, value: int | str) -> object:
    """What a value means to the model, None when it is not allowed."""
    if kind == "set":
        return frozenset(map(int, str(value))) if str(value).isdigit() else None
    if value in ("max", "4k"):
        return UNLIMITED if value == "max" else 4000
    return int(value) if str(value).isdigit() else None
