"""A hierarchy, as clients see it."""

from __future__ import annotations

from collections.abc import Iterable

from governor.api.container import Container
from governor.client import Client
from governor.wire import client as wire


class Hierarchy:
    """A tree of containers with the subsystems bound to it."""

    def __init__(self, client: Client, name: str, subsystems: list[str]) -> None:
        self._client = client
        self.name = name
        self.subsystems = subsystems

    def __repr__(self) -> str:
        return f"<hierarchy {self.name}: {', '.join(self.subsystems)}>"

    @property
    def root(self) -> Container:
        """The root container, where every process is that was put nowhere else."""
        return Container(self._client, self, "/")

    def __getitem__(self, path: str) -> Container:
        """The container at ``path``. ENOENT."""
        path = self._client.ask(lambda n: wire.Lookup(n, self.name, path))
        return Container(self._client, self, path)

    def remount(self, subsystems: Iterable[str]) -> None:
        """Bind these subsystems instead, while the root has no children [EBUSY].

        EBUSY too for one that another hierarchy has, EINVAL for none, ENOENT for an unknown.
        """
        wanted = list(subsystems)
        _, self.subsystems = self._client.ask(lambda n: wire.Remount(n, self.name, wanted))

    def mkdir(self, path: str) -> Container:
        """Make a container. EEXIST: it is there already. ENOENT: its parent is not."""
        path = self._client.ask(lambda n: wire.Mkdir(n, self.name, path))
        return Container(self._client, self, path)
