"""The forest: all hierarchies at once, the containers in them and the groups across them.

Every operation checks everything first, then changes, then cannot fail any more; the
errno of each refusal is that of the seeds' containers.txt.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from governor.core.container import Container, split_path
from governor.core.group import Group, GroupTable
from governor.core.hierarchy import Hierarchy
from governor.errors import GovernorError
from governor.units import OutOfRange

if TYPE_CHECKING:
    from governor.subsystem import ControlFile, Subsystem, Value


class Forest:
    """Hierarchies by name, in mount order, and the interned container groups."""

    def __init__(self, load: Callable[[str], Subsystem]) -> None:
        self._load = load
        self._new_id = itertools.count(1).__next__
        self.hierarchies: dict[str, Hierarchy] = {}
        self.groups = GroupTable()

    # -- hierarchies ---------------------------------------------------------------

    def mount(self, name: str, subsystems: Sequence[str]) -> Hierarchy:
        """Activate a hierarchy with these subsystems, or reuse the one that has exactly them.

        EINVAL: no subsystem, one named twice, or a bad name. ENOENT: unknown subsystem.
        EBUSY: a subsystem is bound elsewhere. EEXIST: the name is another hierarchy's.
        """
        check_hierarchy_name(name)
        wanted = self._load_all(name, subsystems)
        for hierarchy in self.hierarchies.values():
            if set(hierarchy.subsystems) == set(subsystems):
                hierarchy.mounted = True
                return hierarchy
        self._check_unbound(name, subsystems)
        if name in self.hierarchies:
            raise GovernorError(
                errno.EEXIST,
                f"a hierarchy {name!r} exists with {', '.join(self.hierarchies[name].subsystems)}",
            )
        hierarchy = Hierarchy(name, wanted, self._new_id)
        self._create_states(hierarchy.root)
        self.hierarchies[name] = hierarchy
        for group in list(self.groups):
            self.groups.substitute(group, (*group.containers, hierarchy.root))
        for subsystem in wanted:
            subsystem.bind(hierarchy.root)
        return hierarchy

    def umount(self, name: str) -> bool:
        """Unmount; True when that ended the hierarchy, False when sub-containers keep it active."""
        hierarchy = self.hierarchy(name)
        hierarchy.mounted = False
        if hierarchy.root.children:
            return False
        for group in list(self.groups):
            rest = tuple(c for c in group.containers if c.hierarchy is not hierarchy)
            self.groups.substitute(group, rest)
        del self.hierarchies[name]
        self._destroy_states(hierarchy.root)
        return True

    def hierarchy(self, name: str) -> Hierarchy:
        """The hierarchy ``name``; ENOENT lists the names there are."""
        hierarchy = self.hierarchies.get(name)
        if hierarchy is None:
            there = ", ".join(self.hierarchies) or "none yet"
            raise GovernorError(errno.ENOENT, f"no hierarchy {name!r}; mounted: {there}")
        return hierarchy

    # -- containers ----------------------------------------------------------------

    def lookup(self, hierarchy: str, path: str) -> Container:
        """The container ``hierarchy:path``; ENOENT."""
        return self.hierarchy(hierarchy).root.lookup(path)

    def mkdir(self, hierarchy: str, path: str) -> Container:
        """Make one container; its parent must exist [ENOENT] and it must not [EEXIST]."""
        names = split_path(path)
        if not names:
            raise GovernorError(errno.EEXIST, f"the root of hierarchy {hierarchy!r} exists")
        parent = self.lookup(hierarchy, "/" + "/".join(names[:-1]))
        if names[-1] in parent.children:
            raise GovernorError(errno.EEXIST, f"container {hierarchy}:{path} exists already")
        container = Container(parent.hierarchy, parent, names[-1])
        self._create_states(container)
        parent.children[names[-1]] = container
        return container

    def rmdir(self, hierarchy: str, path: str) -> Container:
        """Remove a container without children, processes and busy references [EBUSY]."""
        container = self.lookup(hierarchy, path)
        if container.parent is None:
            raise GovernorError(errno.EBUSY, f"{container.label} is a root; unmount the hierarchy")
        reason = None
        if container.children:
            reason = f"has children ({', '.join(container.children)})"
        elif any(group.tasks for group in self.groups if container in group.containers):
            reason = "has processes"
        elif container.busy:
            reason = "is kept by a subsystem"
        if reason:
            raise GovernorError(errno.EBUSY, f"container {container.label} {reason}")
        for group in [group for group in self.groups if container in group.containers]:
            self.groups.release(group)
        del container.parent.children[container.name]
        self._destroy_states(container)
        return container

    def control_file(self, container: Container, name: str) -> ControlFile:
        """The control file ``name``; ENOENT lists those the container has."""
        files = control_files(container.hierarchy)
        file = files.get(name)
        if file is None:
            raise GovernorError(
                errno.ENOENT, f"{container.label} has no file {name!r}; it has {', '.join(files)}"
            )
        return file

    def write(self, container: Container, name: str, value: Value) -> None:
        """Write a control file; refusals of the file's own aside:

        EACCES: read-only. EINVAL: a value that is not allowed. ERANGE: a number beyond any use.
        """
        file = self.control_file(container, name)
        if file.parse is None or file.write is None:
            raise GovernorError(errno.EACCES, f"{name} of {container.label} is read-only")
        try:
            parsed = file.parse(value)
        except ValueError as error:
            raise GovernorError(
                errno.ERANGE if isinstance(error, OutOfRange) else errno.EINVAL,
                f"{name} of {container.label} cannot be {value!r}: {error}",
            ) from None
        file.write(container, parsed)

    # -- groups --------------------------------------------------------------------

    def group(self, containers: Sequence[Container]) -> Group:
        """The group with these containers, and the root of every other hierarchy.

        EINVAL when two of them belong to one hierarchy.
        """
        chosen: dict[Hierarchy, Container] = {}
        for container in containers:
            other = chosen.setdefault(container.hierarchy, container)
            if other is not container:
                raise GovernorError(
                    errno.EINVAL,
                    f"{other.label} and {container.label} are in one hierarchy; name at most one",
                )
        return self.groups.find(tuple(chosen.get(h, h.root) for h in self.hierarchies.values()))

    def move(self, group: Group, container: Container, pid: int) -> Group:
        """The group ``pid`` is in after moving from ``group`` into ``container``.

        Every subsystem is asked before anything changes; when one refuses, those that had
        agreed are told, and the error is raised. The caller leaves out moves to where ``pid``
        is already.
        """
        hierarchy = container.hierarchy
        agreed: list[Subsystem] = []
        try:
            for subsystem in hierarchy.subsystems.values():
                subsystem.can_attach(container, pid)
                agreed.append(subsystem)
            return self.groups.find(
                tuple(container if c.hierarchy is hierarchy else c for c in group.containers)
            )
        except GovernorError:
            for subsystem in reversed(agreed):
                subsystem.cancel_attach(container, pid)
            raise

    def populate(self, tasks: Mapping[int, int]) -> list[Group]:
        """Set how many processes refer to each group, by id; returns the groups left empty."""
        for hierarchy in self.hierarchies.values():
            for container in hierarchy.containers():
                container.tasks = 0
        for group in self.groups:
            group.tasks = tasks.get(group.id, 0)
            for container in group.containers:
                container.tasks += group.tasks
        return [group for group in self.groups if not group.tasks]

    # -- helpers -------------------------------------------------------------------

    def _load_all(self, name: str, subsystems: Sequence[str]) -> list[Subsystem]:
        if not subsystems:
            raise GovernorError(errno.EINVAL, f"hierarchy {name!r} names no subsystem")
        if len(set(subsystems)) != len(subsystems):
            raise GovernorError(errno.EINVAL, f"hierarchy {name!r} names a subsystem twice")
        return [self._load(subsystem) for subsystem in subsystems]

    def _check_unbound(self, name: str, subsystems: Sequence[str]) -> None:
        for hierarchy in self.hierarchies.values():
            for subsystem in subsystems:
                if subsystem in hierarchy.subsystems:
                    raise GovernorError(
                        errno.EBUSY,
                        f"subsystem {subsystem!r} wanted for {name!r} is bound to hierarchy "
                        f"{hierarchy.name!r}",
                    )

    def _create_states(self, container: Container) -> None:
        """Create every subsystem's state, or none: undone in reverse when one refuses."""
        try:
            for subsystem in container.hierarchy.subsystems.values():
                container.states[subsystem.name] = subsystem.create(container)
        except GovernorError:
            self._destroy_states(container)
            raise

    def _destroy_states(self, container: Container) -> None:
        for name in reversed(list(container.states)):
            container.hierarchy.subsystems[name].destroy(container, container.states.pop(name))


def control_files(hierarchy: Hierarchy) -> dict[str, ControlFile]:
    """The control files that every container of ``hierarchy`` has, by full name."""
    files: dict[str, ControlFile] = {}
    for subsystem in hierarchy.subsystems.values():
        files.update(subsystem.populate())
    return files


def check_hierarchy_name(name: str) -> None:
    """Hierarchy names are used as ``name:/path`` and in labels: no separators, not empty."""
    if not name or not name.replace("-", "_").replace(".", "_").replace("_", "a").isalnum():
        raise GovernorError(
            errno.EINVAL,
            f"hierarchy name {name!r} must be letters, digits, '.', '-' or '_'",
        )
