"""ns: containers named after sets of namespaces (namespaces(7)).

A process in a hierarchy with ``ns`` that enters other namespaces, by unshare, setns or clone,
gets a container of its own below the one it is in (``node1``, ``node2``, ...; the numbers
are never used again), with all that is bound to the hierarchy. The container goes by itself
when nothing is left in it. Otherwise a process moves into an empty container only, which must
be a child of its own [EPERM], so that the tree always shows who made which namespaces.

Not promised: namespaces are a thread's own, but the whole process moves; what other threads
of a process fork while one of them clones into new namespaces may land in the new container.
Where the kernel hides a process's namespaces from governor (a process that has just unshared
and not executed anything since, seen by an ordinary user), a further call that fails is taken
for one that succeeded. Namespaces that a process had before it was governed, or before ``ns``
was bound, have no container.
"""

from __future__ import annotations

import errno

from governor.core.container import Container
from governor.errors import GovernorError
from governor.subsystem import Subsystem


class _Place:
    """What is kept of a container: the process that is about to move in, 0 for none."""

    coming = 0


class Namespaces(Subsystem):
    """A container for every set of namespaces."""

    name = "ns"
    traps = frozenset({"namespaces"})
    facility = "namespaces"
    clones = True

    def create(self, container: Container) -> _Place:
        """Nobody is about to come."""
        return _Place()

    def destroy(self, container: Container, state: object) -> None:
        """Nothing has been kept."""

    def can_attach(self, container: Container, old: Container, pid: int) -> None:
        """EPERM but for an empty child of the container the process is in."""
        if container.parent is not old:
            raise GovernorError(
                errno.EPERM,
                f"it is in {old.label} and can move to a child of that only",
            )
        place = _place(container)
        if place.coming or self.host.members(container):
            raise GovernorError(
                errno.EPERM, f"{container.label} has processes, whose namespaces it stands for"
            )
        place.coming = pid

    def cancel_attach(self, container: Container, pid: int) -> None:
        """Another one may come."""
        _place(container).coming = 0

    def post_attach(self, container: Container, pid: int) -> None:
        """It is there."""
        _place(container).coming = 0


def _place(container: Container) -> _Place:
    found = container.states[Namespaces.name]
    assert isinstance(found, _Place)
    return found
