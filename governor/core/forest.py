"""The forest: all hierarchies at once, the containers in them and the groups across them.

Every operation checks everything first, then changes, then cannot fail any more; the
errno of each refusal is that of the seeds' containers.txt.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from governor.core.bindings import Bindings, create_states
from governor.core.container import Container, check_name, put, split_path, take
from governor.core.group import Group, GroupTable
from governor.core.hierarchy import Hierarchy
from governor.core.transaction import Tell, all_or_none, insist
from governor.errors import GovernorError
from governor.units import OutOfRange

if TYPE_CHECKING:
    from governor.subsystem import ControlFile, Subsystem, Value


TASKS = "tasks"
"""The control file of every container that lists, and takes, its processes."""


VALUE_MAX = 65_536
"""Characters in a value at most: longer than a list of all the CPUs that a kernel can have."""


class Forest:
    """Hierarchies by name, in mount order, and the interned container groups.

    ``load(label)`` gives a new subsystem; ``own_files`` are control files that every container
    has, whatever is bound; ``tell`` is for callbacks that cannot refuse.
    """

    def __init__(
        self,
        load: Callable[[str], Subsystem],
        own_files: Mapping[str, ControlFile] | None = None,
        tell: Tell = insist,
    ) -> None:
        self._own_files = own_files or {}
        self._tell = tell
        self.last_id = 0
        """The id that was given to a counter last."""
        self._bindings = Bindings(load, self._new_id, tell)
        self.groups = GroupTable()
        self._populated: set[Container] = set()
        """The containers that had processes when these were last counted."""

    def _new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    # -- hierarchies ---------------------------------------------------------------

    @property
    def hierarchies(self) -> Mapping[str, Hierarchy]:
        """The active hierarchies by name, in mount order; hierarchy 0 is not among them."""
        return self._bindings.hierarchies

    @property
    def unbound(self) -> Hierarchy:
        """Hierarchy 0, that of the subsystems bound to no other."""
        return self._bindings.unbound

    def mount(self, name: str, labels: Sequence[str]) -> Hierarchy:
        """Activate a hierarchy with these subsystems, or reuse the one that has exactly them.

        EINVAL: no subsystem, one named twice, or a bad name. ENOENT: unknown subsystem.
        EBUSY: a subsystem is bound elsewhere. EEXIST: the name is another hierarchy's.
        """
        before = set(self.hierarchies)
        hierarchy = self._bindings.mount(name, labels)
        if hierarchy.name not in before:
            for group in list(self.groups):
                self.groups.substitute(group, (*group.containers, hierarchy.root))
        return hierarchy

    def remount(self, name: str, labels: Sequence[str]) -> Hierarchy:
        """Bind these subsystems instead, while the root is alone.

        EBUSY: there are sub-containers, or one of them is bound elsewhere. Otherwise as `mount`.
        """
        hierarchy = self.hierarchy(name)
        self._bindings.remount(hierarchy, labels)
        hierarchy.mounted = True
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
        self._bindings.umount(hierarchy)
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
        self._check_name_free(parent, names[-1])
        if parent.ending:
            raise GovernorError(errno.ENODEV, f"container {parent.label} is being removed")
        container = Container(parent.hierarchy, parent, names[-1])
        bound_here = parent.hierarchy.subsystems.values()
        container.states = create_states(container, bound_here, self._tell)
        parent.children = put(parent.children, container.name, container)
        parent.occupied = True
        return container

    def _check_name_free(self, parent: Container, name: str) -> None:
        """EEXIST for a name that a sibling has, or a control file of the parent."""
        path = f"{parent.label.rstrip('/')}/{name}"
        if name in parent.children:
            raise GovernorError(errno.EEXIST, f"container {path} exists already")
        if name == TASKS or name in self.files(parent):
            raise GovernorError(errno.EEXIST, f"{path} is a control file, not a container")

    def rename(self, hierarchy: str, path: str, name: str) -> Container:
        """Give a container another name in the same parent.

        EBUSY: the root. EEXIST: a sibling has the name. EIO: the name is a path elsewhere, which
        is not EXDEV so that mv(1) does not begin to copy.
        """
        container = self.lookup(hierarchy, path)
        if "/" in name:
            raise GovernorError(
                errno.EIO, f"{container.label} can be renamed in place only, not to {name!r}"
            )
        check_name(name)
        parent = container.parent
        if parent is None:
            raise GovernorError(errno.EBUSY, f"{container.label} is a root and has no name")
        if name == container.name:
            return container
        self._check_name_free(parent, name)
        # In the place it had, so that listings keep their order.
        parent.children = {
            name if child is container else key: child for key, child in parent.children.items()
        }
        container.name = name
        return container

    def rmdir(self, hierarchy: str, path: str) -> Container:
        """Remove a container without children, processes and busy references [EBUSY]."""
        container = self.lookup(hierarchy, path)
        self.remove(container)
        return container

    def remove(self, container: Container) -> None:
        """The same for a container that has been looked up."""
        if container.parent is None:
            raise GovernorError(errno.EBUSY, f"{container.label} is a root; unmount the hierarchy")
        if reason := self.in_use(container):
            raise GovernorError(errno.EBUSY, f"container {container.label} {reason}")
        for group in self.groups_of(container):
            self.groups.release(group)
        container.parent.children = take(container.parent.children, container.name)
        for kind, subsystem in reversed(container.hierarchy.subsystems.items()):
            self._tell(subsystem, "destroy", container, container.states.pop(kind))

    def in_use(self, container: Container) -> str:
        """Why a container cannot be removed, as the end of a sentence; empty when it can.

        Processes are those that were there when they were last counted by `populate`.
        """
        if container.children:
            return f"has children ({', '.join(container.children)})"
        if container.tasks:
            return "has processes"
        return "is kept by a subsystem" if container.busy else ""

    def files(self, container: Container) -> dict[str, ControlFile]:
        """All control files of a container, by full name."""
        return _files_on(container, self._own_files) | control_files(container)

    def control_file(self, container: Container, name: str) -> ControlFile:
        """The control file ``name``; ENOENT lists those the container has."""
        files = self.files(container)
        file = files.get(name)
        if file is None:
            raise GovernorError(
                errno.ENOENT, f"{container.label} has no file {name!r}; it has {', '.join(files)}"
            )
        return file

    def write(self, container: Container, name: str, value: Value) -> Callable[[], None] | None:
        """Write a control file; refusals of the file's own aside:

        EACCES: read-only. EINVAL: a value that is not allowed. ERANGE: a number beyond any use.
        E2BIG: a text longer than `VALUE_MAX`.
        """
        file = self.control_file(container, name)
        if file.parse is None or file.write is None:
            raise GovernorError(errno.EACCES, f"{name} of {container.label} is read-only")
        if len(str(value)) > VALUE_MAX:
            raise GovernorError(
                errno.E2BIG, f"{name} of {container.label} takes at most {VALUE_MAX} characters"
            )
        try:
            parsed = file.parse(value)
        except ValueError as error:
            raise GovernorError(
                errno.ERANGE if isinstance(error, OutOfRange) else errno.EINVAL,
                f"{name} of {container.label} cannot be {value!r}: {error}",
            ) from None
        return file.write(container, parsed)

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

    def groups_of(self, container: Container) -> list[Group]:
        """The groups whose processes are in this very container."""
        return [group for group in container.groups.values() if container in group.containers]

    def admit(self, group: Group) -> None:
        """Ask every subsystem whether a job may be started in ``group``; all or none agree."""
        for container in group.containers:
            check_enterable(container)
        all_or_none(
            (partial(s.can_fork, container), partial(self._tell, s, "cancel_fork", container))
            for container, s in bound(group)
        )

    def move(self, group: Group, container: Container, pid: int) -> Group:
        """The group ``pid`` is in after moving from ``group`` into ``container``.

        As `move_all` of this one.
        """
        return self.move_all(container, [(group, pid)])[group]

    def move_all(
        self, container: Container, movers: Sequence[tuple[Group, int]]
    ) -> dict[Group, Group]:
        """The groups that processes are in after moving into ``container``, by those they were in.

        ``movers`` has the group and the pid of each. Every subsystem is asked about every one
        before anything changes; when one refuses, those that had agreed are told, and the error
        is raised. The caller leaves out moves to where a process is already.
        """
        check_enterable(container)
        hierarchy = container.hierarchy
        subsystems = [
            subsystem
            for subsystem in hierarchy.subsystems.values()
            if subsystem.answers("can_attach") or subsystem.answers("cancel_attach")
        ]
        places = {
            group: next(c for c in group.containers if c.hierarchy is hierarchy)
            for group, _ in movers
        }
        all_or_none(
            (
                partial(_ask_to_attach, subsystem, container, places[group], pid, len(movers) > 1),
                partial(self._tell, subsystem, "cancel_attach", container, pid),
            )
            for group, pid in movers
            for subsystem in subsystems
        )
        try:
            return {
                group: self.groups.find(
                    tuple(container if c is place else c for c in group.containers)
                )
                for group, place in places.items()
            }
        except GovernorError:
            self.cancel_move(container, (pid for _, pid in movers))
            raise

    def cancel_move(self, container: Container, pids: Iterable[int]) -> None:
        """Moves that every subsystem had agreed to do not take place."""
        subsystems = [
            subsystem
            for subsystem in reversed(container.hierarchy.subsystems.values())
            if subsystem.answers("cancel_attach")
        ]
        for pid in pids if subsystems else ():
            for subsystem in subsystems:
                self._tell(subsystem, "cancel_attach", container, pid)

    def populate(self, tasks: Mapping[int, int]) -> list[Group]:
        """Set how many processes refer to each group, by id; returns the groups left empty."""
        for container in self._populated:
            container.tasks = 0
        self._populated = set()
        for group in self.groups:
            group.tasks = tasks.get(group.id, 0)
            for container in group.containers if group.tasks else ():
                container.tasks += group.tasks
                self._populated.add(container)
        return [group for group in self.groups if not group.tasks]


def _ask_to_attach(
    subsystem: Subsystem, container: Container, old: Container, pid: int, among_others: bool
) -> None:
    """Ask one subsystem about one process; a refusal of one ``among_others`` names it."""
    try:
        subsystem.can_attach(container, old, pid)
    except GovernorError as error:
        if not among_others:
            raise
        message = f"process {pid} cannot move to {container.label}: {error.message}"
        raise GovernorError(error.errno, message) from None


def bound(group: Group) -> Iterator[tuple[Container, Subsystem]]:
    """Every subsystem that has a say about a group's processes, with its container."""
    for container in group.containers:
        for subsystem in container.hierarchy.subsystems.values():
            yield container, subsystem


def check_enterable(container: Container) -> None:
    """ENODEV for a container that is being removed with all that is in it."""
    if container.ending:
        raise GovernorError(errno.ENODEV, f"container {container.label} is being removed")


def control_files(container: Container) -> dict[str, ControlFile]:
    """The control files that a container has from its subsystems, by full name."""
    files: dict[str, ControlFile] = {}
    for subsystem in container.hierarchy.subsystems.values():
        files.update(_files_on(container, subsystem.populate()))
    return files


def _files_on(container: Container, files: Mapping[str, ControlFile]) -> dict[str, ControlFile]:
    place = "root" if container.parent is None else "child"
    return {name: file for name, file in files.items() if file.on in ("all", place)}
