"""Which subsystem is bound to which hierarchy: mount, remount, unmount.

What is bound nowhere is in hierarchy 0, which has one container, for all processes. A
subsystem takes its state in the root along when it is bound elsewhere, as in the seeds; a
named instance (``NAME@INSTANCE``) lives only while it is bound.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from governor.core.container import NAME_MAX, Container
from governor.core.hierarchy import Hierarchy
from governor.core.transaction import Tell, all_or_none
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.subsystem import Subsystem

UNBOUND = "0"
"""The name of the hierarchy of whatever is bound nowhere."""


class Bindings:
    """All hierarchies by name, in mount order, and the one of the unbound subsystems."""

    def __init__(
        self, load: Callable[[str], Subsystem], new_id: Callable[[], int], tell: Tell
    ) -> None:
        self._load = load
        self._tell = tell
        self._new_id = new_id
        self.hierarchies: dict[str, Hierarchy] = {}
        self.unbound = Hierarchy(UNBOUND, new_id)

    def identical(self, labels: Sequence[str]) -> Hierarchy | None:
        """The hierarchy with exactly these subsystems."""
        for hierarchy in self.hierarchies.values():
            if set(hierarchy.labels) == set(labels):
                return hierarchy
        return None

    def mount(self, name: str, labels: Sequence[str]) -> Hierarchy:
        """A new hierarchy with these subsystems; nothing has changed when one refuses."""
        check_hierarchy_name(name)
        wanted = self._find_all(name, labels)
        if (same := self.identical(labels)) is not None:
            same.mounted = True
            return same
        self._check_free(name, wanted)
        if name in self.hierarchies:
            there = ", ".join(self.hierarchies[name].labels)
            raise GovernorError(errno.EEXIST, f"a hierarchy {name!r} exists with {there}")
        hierarchy = Hierarchy(name, self._new_id)
        self._enter(hierarchy, wanted, self._new_states(hierarchy.root, wanted))
        self.hierarchies[name] = hierarchy
        return hierarchy

    def remount(self, hierarchy: Hierarchy, labels: Sequence[str]) -> None:
        """Bind exactly these subsystems to a hierarchy whose root is alone [EBUSY]."""
        if hierarchy.root.children:
            raise GovernorError(
                errno.EBUSY,
                f"hierarchy {hierarchy.name!r} has sub-containers "
                f"({', '.join(hierarchy.root.children)}), so its subsystems cannot change",
            )
        wanted = self._find_all(hierarchy.name, labels)
        bound = list(hierarchy.subsystems.values())
        added = [subsystem for subsystem in wanted if subsystem not in bound]
        self._check_free(hierarchy.name, added)
        states = self._new_states(hierarchy.root, added)
        self._leave(hierarchy, [subsystem for subsystem in bound if subsystem not in wanted])
        self._enter(hierarchy, added, states)
        hierarchy.subsystems = {subsystem.name: subsystem for subsystem in wanted}

    def umount(self, hierarchy: Hierarchy) -> None:
        """End a hierarchy that has only its root."""
        del self.hierarchies[hierarchy.name]
        self._leave(hierarchy, list(hierarchy.subsystems.values()))

    # -- finding -------------------------------------------------------------------

    def _find_all(self, name: str, labels: Sequence[str]) -> list[Subsystem]:
        if not labels:
            raise GovernorError(errno.EINVAL, f"hierarchy {name!r} names no subsystem")
        if len(set(labels)) < len(labels):
            raise GovernorError(errno.EINVAL, f"hierarchy {name!r} names a subsystem twice")
        wanted = [self._find(label) for label in labels]
        kinds = [subsystem.name for subsystem in wanted]
        if twice := [kind for kind in kinds if kinds.count(kind) > 1]:
            raise GovernorError(
                errno.EINVAL, f"hierarchy {name!r} can have one instance of {twice[0]!r} only"
            )
        return wanted

    def _find(self, label: str) -> Subsystem:
        """The subsystem with this label, wherever it is bound, or a new one; ENOENT."""
        for hierarchy in (self.unbound, *self.hierarchies.values()):
            for subsystem in hierarchy.subsystems.values():
                if subsystem.label == label:
                    return subsystem
        return self._load(label)

    def _check_free(self, name: str, wanted: Iterable[Subsystem]) -> None:
        for hierarchy in self.hierarchies.values():
            for subsystem in wanted:
                if subsystem in hierarchy.subsystems.values():
                    raise GovernorError(
                        errno.EBUSY,
                        f"subsystem {subsystem.label!r} wanted for {name!r} is bound to hierarchy "
                        f"{hierarchy.name!r}; an instance of its own, such as "
                        f"{subsystem.name}@{name}, can be bound as well",
                    )

    # -- binding -------------------------------------------------------------------

    def _new_states(self, root: Container, wanted: Iterable[Subsystem]) -> dict[str, object]:
        """The states of those that have none in hierarchy 0; all or none.

        Whose control files cannot be had is found out before.
        """
        wanted = list(wanted)
        all_or_none((subsystem.populate, lambda: None) for subsystem in wanted)
        kept = list(self.unbound.subsystems.values())
        new = [subsystem for subsystem in wanted if subsystem not in kept]
        return create_states(root, new, self._tell)

    def _enter(
        self, hierarchy: Hierarchy, wanted: Iterable[Subsystem], states: dict[str, object]
    ) -> None:
        for subsystem in wanted:
            kind = subsystem.name
            if self.unbound.subsystems.get(kind) is subsystem:
                del self.unbound.subsystems[kind]
                states[kind] = self.unbound.root.states.pop(kind)
            hierarchy.subsystems[kind] = subsystem
            hierarchy.root.states[kind] = states[kind]
            self._tell(subsystem, "bind", hierarchy.root)

    def _leave(self, hierarchy: Hierarchy, leaving: Iterable[Subsystem]) -> None:
        for subsystem in leaving:
            kind = subsystem.name
            del hierarchy.subsystems[kind]
            state = hierarchy.root.states.pop(kind)
            if subsystem.instance:
                self._tell(subsystem, "destroy", hierarchy.root, state)
                continue
            self.unbound.subsystems[kind] = subsystem
            self.unbound.root.states[kind] = state
            self._tell(subsystem, "bind", self.unbound.root)


def create_states(
    container: Container, subsystems: Iterable[Subsystem], tell: Tell
) -> dict[str, object]:
    """Every subsystem's state for a new container, or none: undone in reverse on a refusal."""
    states: dict[str, object] = {}

    def create(subsystem: Subsystem) -> None:
        states[subsystem.name] = subsystem.create(container)

    def destroy(subsystem: Subsystem) -> None:
        tell(subsystem, "destroy", container, states.pop(subsystem.name))

    all_or_none((partial(create, s), partial(destroy, s)) for s in subsystems)
    return states


def check_hierarchy_name(name: str) -> None:
    """Hierarchy names are used as ``name:/path``, in labels and as directories' names."""
    if len(name.encode(errors="replace")) > NAME_MAX:
        raise GovernorError(
            errno.ENAMETOOLONG, f"a hierarchy's name has at most {NAME_MAX} bytes: {name[:40]}..."
        )
    plain = name.replace("-", "").replace(".", "").replace("_", "")
    if not name or (plain and not plain.isalnum()) or name == UNBOUND or name in (".", ".."):
        raise GovernorError(
            errno.EINVAL,
            f"hierarchy name {name!r} must be letters, digits, '.', '-' or '_', and not "
            f"{UNBOUND!r}, '.' or '..'",
        )
