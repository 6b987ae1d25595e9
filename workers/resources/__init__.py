"""The resources that an agent can count, and whose making it can trap: one file for each.

Counting one more resource takes a `Resource` in a file of this package and its name in `NAMES`.
A file is imported when a job or a plan needs it, since imports are most of starting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from workers.syscalls import Table

NAMES = (
    "tasks",
    "files",
    "sockets",
    "ptys",
    "locks",
    "signals",
    "privvmpages",
    "physpages",
    "rsspages",
)
"""All of them, in the order of demands: whoever reads the first one of a fork finds a task."""


NONE_KNOWN: Mapping[int, int] = MappingProxyType({})
"""Of no process is known how many threads it has."""


class When(NamedTuple):
    """The filter itself lets a call pass unless an argument shows that it may matter.

    Looked at are the low 32 bits of the ``argument`` (0 to 5): any of ``bits`` set, or the
    whole equal to one of ``values``. What is said in ``also`` must hold besides.
    """

    argument: int
    bits: int = 0
    values: tuple[int, ...] = ()
    also: When | None = None


class Resource:
    """Something that processes hold, that the kernel shows, and that certain calls make.

    Subclasses are called ``Counted`` and set what differs; an instance belongs to one user.
    """

    name: ClassVar[str]
    errno: ClassVar[int]
    """How a call that would make too much fails."""
    movable: ClassVar[bool] = False
    """Whether a process can get it from another, or inherit it: then who comes while the
    processes are counted may have brought what one gone since had."""
    vague: ClassVar[bool] = False
    """Whether `calls` mostly make nothing of it, so that those of a group with a limit are
    looked at one by one."""

    one_each: ClassVar[bool] = False
    """Whether every process holds one at least, whatever it does."""
    slow: ClassVar[bool] = False
    """Whether counting may take long, as it does where the kernel has to look at every page."""

    calls: Mapping[int, int]
    """The calls that can make it, frequent ones first, and the most that each can make."""
    when: Mapping[int, When]
    """Those among ``calls`` that are trapped under a condition only."""
    may_block: Collection[int]
    """Those that may rightly sleep for ever, and have what they make, unseen, from the start."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.calls = {}
        self.when = {}
        self.may_block = frozenset()
        self.unreadable: set[int] = set()
        """Processes that counts so far could not look into."""
        self.breathe: Callable[[], object] = lambda: None
        """To be called now and then in a count that takes long: who counts is not dead."""

    def exact(self, nr: int, args: Sequence[int], tid: int) -> int:
        """What this very call of ``tid`` makes when it succeeds; never too little."""
        return self.calls[nr]

    def unasked(self, nr: int, args: Sequence[int], tid: int) -> int:
        """What the caller may have got without a call since it was counted; charged in any case.

        To be asked for calls of a `vague` resource only.
        """
        return 0

    def refusal(self, nr: int, args: Sequence[int], tid: int) -> tuple[int, int]:
        """How this call is answered when it is refused: the value it returns, or else an errno.

        The errno is 0 for a call that fails by what it returns (brk).
        """
        return 0, self.errno

    def count(self, pids: Sequence[int]) -> int:
        """How much of it these processes hold together, as the kernel shows it now."""
        raise NotImplementedError

    def at_most(self, pids: Sequence[int], threads: Mapping[int, int] = NONE_KNOWN) -> int | None:
        """A figure that `count` does not exceed and that is had quickly; None: there is none.

        ``threads``: how many these processes have just now, if that is known; 0: it is gone.
        """
        return None

    def leaving(self) -> int:
        """What processes that the last count found on their way out have, for a moment yet.

        Nobody may tell it apart from what others have, so it may be counted there already.
        """
        return 0


def load(name: str, table: Table) -> Resource:
    """The resource ``name`` on this machine. Raises ValueError when there is none."""
    if name not in NAMES:
        raise ValueError(f"no such resource: {name}; there are {', '.join(NAMES)}")
    from importlib import import_module

    counted: type[Resource] = import_module(f"workers.resources.{name}").Counted
    return counted(table)


def trapped(traps: Collection[str], table: Table) -> list[Resource]:
    """The resources among the facilities of a filter, in the order of `NAMES`."""
    return [load(name, table) for name in NAMES if name in traps]
