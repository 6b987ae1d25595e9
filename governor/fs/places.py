"""What a path below the mount point means."""

from __future__ import annotations

import errno
from typing import NamedTuple, Self

from governor.errors import GovernorError


class Place(NamedTuple):
    """A path as hierarchy and path in it, ``""`` and ``/`` for the mount point itself.

    Whether there is a container or a control file of that name, only the supervisor knows.
    """

    hierarchy: str
    path: str

    @classmethod
    def of(cls, path: str) -> Self:
        """The place of ``/HIERARCHY/CONTAINER/...``; EINVAL for a name that is not UTF-8."""
        if not path.isascii():
            try:
                path.encode()
            except UnicodeEncodeError:
                raise GovernorError(errno.EINVAL, f"{path!r} is not UTF-8") from None
        hierarchy, _, rest = path.lstrip("/").partition("/")
        return cls(hierarchy, f"/{rest}")

    @property
    def is_top(self) -> bool:
        """Whether it is the mount point."""
        return not self.hierarchy

    @property
    def is_hierarchy(self) -> bool:
        """Whether it is a name at the top, where only hierarchies are."""
        return self.path == "/" and not self.is_top

    @property
    def name(self) -> str:
        """The last part of the path in the hierarchy."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Place:
        """The container that this is in; not for the mount point and what is at the top."""
        return Place(self.hierarchy, self.path.rpartition("/")[0] or "/")

    @property
    def label(self) -> str:
        """As messages name it."""
        return f"{self.hierarchy}:{self.path}"
