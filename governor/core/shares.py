"""Shares: parts of a parent's resource, as guaranteed minimums and as caps.

The rules are those of ResGroups (the seeds' ``res_group`` shares library). A share is a
dividend in the child over a divisor in the parent, so that a change concerns a container, its
parent and its children and nobody else. What shares are worth in units follows from the total
at the root, see `Shares.amounts`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final, NamedTuple

from governor.core.container import EMPTY, put, take
from governor.errors import GovernorError
from governor.units import UNLIMITED

UNCHANGED: Final = -1
"""What a change leaves as it is; never stored."""
UNSUPPORTED: Final = -2
"""A field that the resource does not have; what is written to it is ignored."""
DONT_CARE: Final = -3
"""No guarantee, or no cap."""
DEFAULT_DIVISOR: Final = 100
MAX_DEPTH: Final = 5
"""Depth of the deepest node that may have shares of its own; the root is at 0."""


class Change(NamedTuple):
    """New values of the three fields a user sets, each a quantity or symbolic."""

    min_shares: int = UNCHANGED
    max_shares: int = UNCHANGED
    child_shares_divisor: int = UNCHANGED


class Amounts(NamedTuple):
    """What shares are worth, in units of the resource; DONT_CARE where that is open."""

    min: int
    max: int
    unused: int
    """What of ``min`` is not handed on to children."""


NOTHING: Final = Amounts(DONT_CARE, DONT_CARE, DONT_CARE)


class Shares:
    """The shares of one container; a child of ``parent``'s until `leave`.

    ``unsupported`` names fields of `Change` that the resource does not have. ``total``, in
    units, counts at the root only: as long as it is not set, shares are worth nothing.
    """

    __slots__ = ("children", "depth", "divisor", "max", "min", "parent", "total", "unused")

    def __init__(self, parent: Shares | None = None, unsupported: Collection[str] = ()) -> None:
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.children: Mapping[Shares, None] = EMPTY
        self.min = UNSUPPORTED if "min_shares" in unsupported else DONT_CARE
        self.max = UNSUPPORTED if "max_shares" in unsupported else DONT_CARE
        self.divisor = DEFAULT_DIVISOR
        self.unused = DEFAULT_DIVISOR
        self.total = UNLIMITED
        if parent is not None:
            parent.children = put(parent.children, self, None)

    @property
    def fields(self) -> Change:
        """The three fields as they are."""
        return Change(self.min, self.max, self.divisor)

    def leave(self) -> None:
        """The container is gone: its minimum goes back to the parent, which the seeds forgot."""
        if self.parent is not None:
            self.parent.unused += max(self.min, 0)
            self.parent.children = take(self.parent.children, self)
            self.parent = None

    def change(self, change: Change) -> Callable[[], None]:
        """Set the fields that ``change`` names, all or none [EINVAL]; gives what takes it back."""
        new = Change(
            *(
                old if old == UNSUPPORTED or wanted == UNCHANGED else wanted
                for old, wanted in zip(self.fields, change, strict=True)
            )
        )
        breach = self._cannot_be(new) or self._cannot_have(new) or self._cannot_give(new)
        if breach:
            raise GovernorError(errno.EINVAL, breach)
        take_back = partial(self._become, self.fields)
        self._become(new)
        return take_back

    def _become(self, new: Change) -> None:
        if self.parent is not None:
            self.parent.unused -= max(new.min_shares, 0) - max(self.min, 0)
        self.unused += new.child_shares_divisor - self.divisor
        self.min, self.max, self.divisor = new

    def _cannot_be(self, new: Change) -> str:
        """Why these values are wrong by themselves; empty when they are not."""
        for name, old, value in zip(Change._fields[:2], self.fields, new, strict=False):
            if value < 0 and value != DONT_CARE and value != old:
                return f"{name} is a quantity from 0, {UNCHANGED} or {DONT_CARE}, not {value}"
        if 0 <= new.max_shares < new.min_shares:
            return f"min_shares {new.min_shares} is more than max_shares {new.max_shares}"
        if new.child_shares_divisor < 1:
            return f"child_shares_divisor is at least 1, not {new.child_shares_divisor}"
        return ""

    def _cannot_have(self, new: Change) -> str:
        """Why the parent does not grant this; the root has nobody to ask."""
        if self.depth > MAX_DEPTH and new != self.fields:
            return f"below depth {MAX_DEPTH} containers have no shares of their own"
        if self.parent is None:
            return ""
        free = self.parent.unused + max(self.min, 0)
        if new.min_shares > free:
            return f"min_shares {new.min_shares} is more than the parent has left: {free}"
        if new.max_shares > self.parent.divisor:
            return (
                f"max_shares {new.max_shares} is more than the parent's child_shares_divisor: "
                f"{self.parent.divisor}"
            )
        return ""

    def _cannot_give(self, new: Change) -> str:
        """Why the children have too much for this divisor; what was enough for them remains so."""
        if new.child_shares_divisor >= self.divisor:
            return ""
        largest = max((child.max for child in self.children), default=0)
        for used, whose in (
            (self.divisor - self.unused, "what the children have as min_shares"),
            (largest, "the largest max_shares of a child"),
        ):
            if new.child_shares_divisor < used:
                return (
                    f"child_shares_divisor {new.child_shares_divisor} is less than {whose}: {used}"
                )
        return ""

    # -- what shares are worth -----------------------------------------------------

    @property
    def amounts(self) -> Amounts:
        """Shares in units: of the parent's amounts, rounded down; a don't-care passes down."""
        line = [self]  # not by recursion: containers may be deeper than Python's stack
        while line[-1].parent is not None:
            line.append(line[-1].parent)
        root = line.pop()
        if root.total == UNLIMITED:
            return NOTHING
        low = high = root.total
        above = root
        for shares in reversed(line):
            low = part(shares.min, low, above.divisor)
            high = part(shares.max, high, above.divisor)
            above = shares
        return Amounts(low, high, part(self.unused, low, self.divisor))

    @property
    def minimum(self) -> int:
        """Units that nobody else can take; 0 without a guarantee."""
        return max(self.amounts.min, 0)

    @property
    def cap(self) -> int:
        """The most units that may be held here; UNLIMITED without a cap."""
        high = self.amounts.max
        return UNLIMITED if high == DONT_CARE else high

    @property
    def reserved(self) -> int:
        """Units of this container that are kept for its children, whoever asks for more."""
        low = self.amounts.min
        if low == DONT_CARE or self.unused == self.divisor:
            return 0
        return sum(max(part(child.min, low, self.divisor), 0) for child in self.children)


def part(shares: int, amount: int, divisor: int) -> int:
    """So many shares of an amount, rounded down; DONT_CARE when either is symbolic."""
    return shares * amount // divisor if shares >= 0 and amount >= 0 else DONT_CARE
