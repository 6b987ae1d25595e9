"""What each request to the control filesystem does: the errnos of cgroup v1, asked over a client.

Everything raises GovernorError. Nothing is kept from one request to the next, so what other
clients change shows at once.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from governor.errors import GovernorError
from governor.fs import texts
from governor.fs.places import Place
from governor.results import HierarchyReport
from governor.wire import client as wire
from governor.wire.codec import Message

TASKS = "tasks"
MYSELF = "0"
"""Written to `TASKS`, it means the process that writes."""


class Ask(Protocol):
    """Sends ``request(number)`` to the supervisor and returns the value of the answer."""

    def __call__(self, request: Callable[[int], Message], /) -> Any:
        """GovernorError when it is refused or not answered in time."""


class Node(NamedTuple):
    """What a name is: a container (or hierarchy), or a control file that may be writable."""

    is_directory: bool
    writable: bool


DIRECTORY = Node(True, True)


class Tree:
    """Hierarchies as directories. Those that are mounted are listed, all can be entered."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    # -- looking -------------------------------------------------------------------

    def node(self, place: Place) -> Node:
        """What is there. ENOENT: nothing."""
        if place.is_top:
            return DIRECTORY
        try:
            self._ask(lambda n: wire.Lookup(n, *place))
        except GovernorError as error:
            if error.errno != errno.ENOENT or place.is_hierarchy:
                raise
        else:
            return DIRECTORY
        return self._file(place)

    def entries(self, place: Place) -> dict[str, Node]:
        """What is in a directory, by name."""
        if place.is_top:
            # The first is that of the unbound subsystems, which cannot be mounted.
            reports = [HierarchyReport(*row) for row in self._ask(wire.Hierarchies)[1:]]
            return {report.name: DIRECTORY for report in reports if report.mounted}
        names, files = self._ask(lambda n: wire.List(n, *place))
        entries = {file: Node(False, writable) for file, writable in files}
        return entries | dict.fromkeys(names, DIRECTORY)

    def _file(self, place: Place) -> Node:
        node = self.entries(place.parent).get(place.name)
        if node is None:
            raise GovernorError(errno.ENOENT, f"there is no {place.label}")
        return node

    # -- control files -------------------------------------------------------------

    def open(self, place: Place, *, to_write: bool) -> None:
        """Check that a file may be opened. EACCES: it is read-only, for root as well."""
        if to_write and not self._file(place).writable:
            raise GovernorError(errno.EACCES, f"{place.label} is read-only")

    def read(self, place: Place) -> bytes:
        """The value of a control file, as a line. ENODEV: its container is gone by now."""
        parent = place.parent
        return texts.to_bytes(self._on_open(lambda n: wire.Read(n, *parent, place.name)))

    def write(self, place: Place, data: bytes, writer: Callable[[], int]) -> None:
        """Write a control file with one value; ``writer()`` is the pid of whoever does it.

        ENODEV: its container is gone by now. EINVAL: not an allowed value.
        """
        value = texts.to_value(data)
        if place.name == TASKS and value == MYSELF:
            value = str(writer())
        parent = place.parent
        self._on_open(lambda n: wire.Write(n, *parent, place.name, value))

    def _on_open(self, request: Callable[[int], Message]) -> Any:
        """Ask about a file that was there when it was opened."""
        try:
            return self._ask(request)
        except GovernorError as error:
            if error.errno != errno.ENOENT:
                raise
            raise GovernorError(errno.ENODEV, error.message) from None

    # -- containers ----------------------------------------------------------------

    def mkdir(self, place: Place) -> None:
        """Make a container. EEXIST: the name is a control file's or a sibling's."""
        self._refuse_at_top(place, "made by 'governor mount'")
        if place.name in self.entries(place.parent):
            raise GovernorError(errno.EEXIST, f"{place.label} exists already")
        self._ask(lambda n: wire.Mkdir(n, *place))

    def rmdir(self, place: Place) -> None:
        """Remove a container. EBUSY while it has children, processes or is kept."""
        self._refuse_at_top(place, "removed by 'governor umount'")
        self._ask(lambda n: wire.Rmdir(n, *place))

    def rename(self, old: Place, new: Place) -> None:
        """Give a container another name where it is.

        ENOTDIR: a control file keeps its name. EEXIST: nothing is replaced. EIO: a container
        stays in its parent. (Not EXDEV, on which mv(1) would make a copy.)
        """
        for place in (old, new):
            self._refuse_at_top(place, "not renamed")
        if not self.node(old).is_directory:
            raise GovernorError(errno.ENOTDIR, f"{old.label} is a control file")
        if new.name in self.entries(new.parent):
            raise GovernorError(errno.EEXIST, f"{new.label} exists already")
        if old.parent != new.parent:
            raise GovernorError(errno.EIO, f"{old.label} cannot leave {old.parent.label}")
        self._ask(lambda n: wire.Rename(n, *old, new.name))

    def _refuse_at_top(self, place: Place, how: str) -> None:
        if place.is_top or place.is_hierarchy:
            raise GovernorError(errno.EPERM, f"hierarchies are {how}")
