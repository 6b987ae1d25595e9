"""A container, as clients see it."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from governor.client import DEADLINE, Client
from governor.errors import GovernorError
from governor.results import ContainerReport, ProcessReport, Value
from governor.wire import client as wire

if TYPE_CHECKING:
    from governor.api.governor import Governor
    from governor.api.hierarchy import Hierarchy


class Container:
    """A node of a hierarchy. Its control files are read and written like a mapping."""

    def __init__(self, client: Client, hierarchy: Hierarchy, path: str) -> None:
        self._client = client
        self.hierarchy = hierarchy
        self.path = path

    @property
    def governor(self) -> Governor:
        """The governor whose container it is. EIO: that is not kept by anybody any more."""
        owner: Governor | None = self._client.owner()
        if owner is None:
            raise GovernorError(errno.EIO, f"the governor of {self} is gone")
        return owner

    def __repr__(self) -> str:
        return f"<container {self.hierarchy.name}:{self.path}>"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Container) and self.hierarchy.name == other.hierarchy.name
        return same and isinstance(other, Container) and self.path == other.path

    def __hash__(self) -> int:
        return hash((self.hierarchy.name, self.path))

    def __getitem__(self, file: str) -> Value:
        """Read a control file. ENOENT: there is none of that name."""
        value: Value = self._ask(wire.Read, file)
        return value

    def __setitem__(self, file: str, value: Value) -> None:
        """Write a control file, in force on return.

        ENOENT: there is none of that name. EACCES: read-only. EINVAL: not an allowed value.
        """
        if type(value) not in (int, str):
            raise GovernorError(
                errno.EINVAL, f"{file} takes a whole number or a text, not {value!r}"
            )
        self._ask(wire.Write, file, value)

    def files(self) -> dict[str, Value]:
        """All control files with their values, read at one moment."""
        for report in snapshot(self._client):
            if (report.hierarchy, report.path) == (self.hierarchy.name, self.path):
                return report.files
        raise GovernorError(errno.ENOENT, f"no container {self.hierarchy.name}:{self.path}")

    @property
    def tasks(self) -> list[int]:
        """The pids of the processes in this container, without its sub-containers."""
        pids: list[int] = self._ask(wire.Tasks)
        return pids

    def attach(self, *pids: int, within_limits: bool = False) -> None:
        """Move running processes here, all or none, with their charge and their children to come.

        Children that exist stay, unless they are named. Those who end meanwhile are left out.
        ESRCH: one was gone before. EACCES: it is another user's. EINVAL: it is the governor's own.
        EAGAIN: ``within_limits`` of this container and those above is no room for all of them;
        otherwise nobody is refused for a limit, and nothing new is admitted before there is room.
        """
        if len(pids) == 1 and not within_limits:
            self._ask(wire.Attach, *pids)
        else:
            self._ask(wire.AttachMany, list(pids), within_limits)

    def attach_all(
        self, source: Container, *, recursive: bool = False, within_limits: bool = False
    ) -> int:
        """Move everybody in ``source`` here, all or none; how many there were.

        ``recursive``: in the containers below it, too. It may be in another hierarchy. Nobody
        stays behind: who is forked meanwhile comes along. Refused as by `attach`.
        """
        place = source.hierarchy.name, source.path
        count: int = self._ask(wire.AttachAll, *place, recursive, within_limits)
        return count

    def mkdir(self, name: str) -> Container:
        """Make a sub-container. EEXIST, ENOENT."""
        return self.hierarchy.mkdir(f"{self.path.rstrip('/')}/{name}")

    def rmdir(self) -> None:
        """Remove the container. EBUSY while it has children or processes."""
        self._ask(wire.Rmdir)

    def remove(self, *, recursive: bool = False, kill: bool = False, grace: float = 2.0) -> None:
        """Remove the container, and all below it when ``recursive``.

        ``kill``: first end what runs there, by TERM, and KILL after ``grace`` seconds. EBUSY
        as for `rmdir`.
        """
        deadline = grace + DEADLINE
        self._ask(wire.Remove, recursive, kill, grace, deadline=deadline)

    def rename(self, name: str) -> Container:
        """Give the container another name. EEXIST: a sibling has it. EIO: it is a path."""
        return Container(self._client, self.hierarchy, self._ask(wire.Rename, name))

    def kill(self, number: int = signal.SIGTERM, *, recursive: bool = False) -> int:
        """Signal every process here, below as well when ``recursive``; how many there were."""
        count: int = self._ask(wire.Kill, int(number), recursive)
        return count

    def processes(self, *, recursive: bool = False) -> list[ProcessReport]:
        """The processes here, of sub-containers as well when ``recursive``."""
        return [ProcessReport(*row) for row in self._ask(wire.Processes, recursive)]

    @property
    def children(self) -> list[Container]:
        """The sub-containers."""
        names, _ = self._ask(wire.List)
        base = self.path.rstrip("/")
        return [Container(self._client, self.hierarchy, f"{base}/{name}") for name in names]

    def list_files(self) -> dict[str, bool]:
        """The names of the control files, and whether each can be written."""
        _, files = self._ask(wire.List)
        return dict(files)

    def _ask(self, verb: Callable[..., Any], *args: object, deadline: float = DEADLINE) -> Any:
        name, path = self.hierarchy.name, self.path
        return self._client.ask(lambda n: verb(n, name, path, *args), deadline)


def snapshot(client: Client, endings: Iterable[str] | None = None) -> list[ContainerReport]:
    """Ask for all containers, with all control files or with those whose names end so."""
    if endings is None:
        return [ContainerReport(*report) for report in client.ask(wire.Snapshot)]
    wanted = list(endings)
    return [ContainerReport(*report) for report in client.ask(lambda n: wire.Look(n, wanted))]
