"""A supervisor small enough to be seen through: containers as paths, four control files each."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from governor.errors import GovernorError
from governor.wire import client as wire
from governor.wire.codec import Message

FILES = {"tasks": True, "numtasks.limit": True, "numtasks.held": False, "cpuset.cpus": True}


class Model:
    """Answers what the control filesystem asks. ``writes`` are those that it let through."""

    def __init__(self) -> None:
        self.containers = {("load", "/"), ("load", "/a"), ("load", "/a/b"), ("cpu", "/")}
        self.values: dict[str, int | str] = {
            "tasks": "17\n42", "numtasks.limit": "max", "numtasks.held": 2, "cpuset.cpus": "",
        }  # fmt: skip
        self.writes: list[tuple[str, str, str, int | str]] = []

    def ask(self, request: Callable[[int], Message], /) -> Any:
        """Carry out one request."""
        match request(1):
            case wire.Hierarchies():
                return [
                    ["0", [], True, 1, 1],
                    ["load", ["numtasks"], True, 3, 1],
                    ["cpu", ["cpuset"], True, 1, 1],
                    ["left", ["cpuacct"], False, 2, 1],
                ]
            case wire.Lookup(_, hierarchy, path):
                return self._find(hierarchy, path)[1]
            case wire.List(_, hierarchy, path):
                self._find(hierarchy, path)
                return [self._children(hierarchy, path), [[*item] for item in FILES.items()]]
            case wire.Read(_, hierarchy, path, file):
                self._find(hierarchy, path)
                return self.values[file]
            case wire.Write(_, hierarchy, path, file, value):
                self._find(hierarchy, path)
                if value == "bad":
                    raise GovernorError(errno.EINVAL, "not a number")
                self.writes.append((hierarchy, path, file, value))
            case wire.Mkdir(_, hierarchy, path):
                self._find(hierarchy, path.rpartition("/")[0] or "/")
                self.containers.add((hierarchy, path))
                return path
            case wire.Rmdir(_, hierarchy, path):
                if self._children(*self._find(hierarchy, path)):
                    raise GovernorError(errno.EBUSY, "has children")
                self.containers.remove((hierarchy, path))
            case wire.Rename(_, hierarchy, path, name):
                self.containers.remove(self._find(hierarchy, path))
                self.containers.add((hierarchy, f"{path.rpartition('/')[0]}/{name}"))
            case other:
                raise AssertionError(other)

    def _find(self, hierarchy: str, path: str) -> tuple[str, str]:
        if (hierarchy, path) not in self.containers:
            raise GovernorError(errno.ENOENT, f"no {hierarchy}:{path}")
        return hierarchy, path

    def _children(self, hierarchy: str, path: str) -> list[str]:
        base = path.rstrip("/")
        below = [p for h, p in self.containers if h == hierarchy and p != "/"]
        return sorted(p.rpartition("/")[2] for p in below if p.rpartition("/")[0] == base)
