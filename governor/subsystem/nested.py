"""Nested sets: numbered things (processors, nodes of memory) handed down a tree of containers.

A container's set lies within its parent's, and an exclusive one shares nothing with those of
its siblings. Things may come and go while they are in sets: the effective set is what is there
of it. Rules and errnos are those of cpuset(7), in the order in which the kernel looks at them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from governor.errors import GovernorError
from governor.units import LARGEST_CPU, LARGEST_NODE, format_cpus, parse_numbers

if TYPE_CHECKING:
    from governor.core.container import Container


class Kind(NamedTuple):
    """A kind of thing: the ``name`` of its files, that of its ``flag``, and ``words`` for people.

    ``largest`` is the highest number that the kernel has room for.
    """

    name: str
    flag: str
    words: str
    largest: int


CPUS = Kind("cpus", "cpu_exclusive", "CPUs", LARGEST_CPU)
MEMS = Kind("mems", "mem_exclusive", "memory nodes", LARGEST_NODE)


class NumberSet:
    """The set of one container, as it was written: ``members``, and whether ``exclusive``.

    ``exclusive_below`` counts the children whose sets are.
    """

    __slots__ = ("exclusive", "exclusive_below", "members")

    def __init__(self, members: frozenset[int], exclusive: bool = False) -> None:
        self.members = members
        self.exclusive = exclusive
        self.exclusive_below = 0


class NestedSets:
    """The sets of one kind in all containers; ``of(container)`` is where each is kept.

    ``usable`` is the root's set, which never changes; ``present`` is what is there now.
    """

    def __init__(
        self,
        kind: Kind,
        usable: frozenset[int],
        present: frozenset[int],
        of: Callable[[Container], NumberSet],
    ) -> None:
        self.kind = kind
        self.usable = usable
        self.present = present
        self.of = of

    def new(self, parent: Container | None) -> NumberSet:
        """A new container's: what its parent has and no sibling has for itself.

        The root's is exclusive, so that the flag can be handed down.
        """
        if parent is None:
            return NumberSet(self.usable, exclusive=True)
        above = self.of(parent)
        if not above.exclusive_below:  # so that siblings by the thousand cost nothing
            return NumberSet(above.members)
        taken = [self.of(child) for child in parent.children.values()]
        return NumberSet(above.members.difference(*(s.members for s in taken if s.exclusive)))

    def gone(self, container: Container, own: NumberSet) -> None:
        """The container, whose set this was, is not there any more."""
        if container.parent is not None:
            self.of(container.parent).exclusive_below -= own.exclusive

    def effective(
        self, container: Container, present: frozenset[int] | None = None
    ) -> frozenset[int]:
        """What is present of the set; when nothing is, what is present of the nearest above.

        Nothing for an empty set, which no process can be in.
        """
        present = self.present if present is None else present
        if not self.of(container).members:
            return frozenset()
        for node in container.ancestors():
            if there := self.of(node).members & present:
                return there
        return present

    def require_room(self, container: Container) -> None:
        """Refuse a process that would enter an empty set; ENOSPC."""
        if not self.of(container).members:
            raise GovernorError(
                errno.ENOSPC,
                f"{container.label} has no {self.kind.words}, so no process can run there",
            )

    def parse(self, value: object) -> frozenset[int]:
        """A list of usable things, of which one is present at least, or the empty list.

        ValueError says which there are, `OutOfRange` that the kernel has no such numbers.
        """
        _, _, words, largest = self.kind
        numbers = parse_numbers(str(value), words, largest)
        if strange := numbers - self.usable:
            raise ValueError(
                f"there are no {words} {format_cpus(strange)} here; usable are "
                f"{format_cpus(self.usable)}"
            )
        if numbers and not numbers & self.present:
            raise ValueError(f"none of these {words} is online; {format_cpus(self.present)} are")
        return numbers

    # -- changes -------------------------------------------------------------------

    def set_members(self, container: Container, members: frozenset[int]) -> Callable[[], None]:
        """Change a set; returns what takes it back. EACCES: the root's; else as `_check` says."""
        if container.parent is None:
            raise GovernorError(
                errno.EACCES, f"the {self.kind.words} of the root {container.label} are fixed"
            )
        own = self.of(container)
        self._check(container, NumberSet(members, own.exclusive))
        before, own.members = own.members, members
        return partial(setattr, own, "members", before)

    def set_exclusive(self, container: Container, exclusive: bool) -> None:
        """Change the flag; refused as `_check` says."""
        own = self.of(container)
        self._check(container, NumberSet(own.members, exclusive))
        if container.parent is not None:
            self.of(container.parent).exclusive_below += exclusive - own.exclusive
        own.exclusive = exclusive

    def _check(self, container: Container, trial: NumberSet) -> None:
        """Refuse what breaks a rule.

        EBUSY: a child has more. EACCES: the parent has less. ENOSPC: processes would be left
        with nothing. EINVAL: a sibling has some of it, and one of the two is exclusive.
        """
        for child in container.children.values():
            self._nest(child, self.of(child), container, trial, errno.EBUSY)
        if container.parent is None:
            return
        self._nest(container, trial, container.parent, self.of(container.parent), errno.EACCES)
        if container.tasks and not trial.members:
            raise GovernorError(
                errno.ENOSPC,
                f"{container.label} needs {self.kind.words}: {container.tasks} processes run there",
            )
        for sibling in container.parent.children.values():
            if sibling is not container:
                self._keep_apart(container, trial, sibling)

    def _nest(
        self, inner: Container, low: NumberSet, outer: Container, high: NumberSet, code: int
    ) -> None:
        """Refuse with ``code`` what the inner container would have and the outer one has not."""
        if not low.members <= high.members:
            raise GovernorError(
                code,
                f"{self.kind.name} {format_cpus(low.members)} of {inner.label} are not within "
                f"{format_cpus(high.members) or 'nothing'} of its parent {outer.label}",
            )
        if low.exclusive and not high.exclusive:
            raise GovernorError(
                code, f"{self.kind.flag} of {inner.label} takes that of its parent {outer.label}"
            )

    def _keep_apart(self, container: Container, trial: NumberSet, sibling: Container) -> None:
        other = self.of(sibling)
        both = trial.members & other.members
        if both and (trial.exclusive or other.exclusive):
            owner = container if trial.exclusive else sibling
            raise GovernorError(
                errno.EINVAL,
                f"{container.label} and {sibling.label} cannot both have {self.kind.name} "
                f"{format_cpus(both)}: {owner.label} has {self.kind.flag} set",
            )
