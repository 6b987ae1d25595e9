"""On which nodes the memory of processes lies: the policy for new pages, and moving old ones.

Only a thread itself can change its policy (set_mempolicy(2)); its pages can be moved by any
process of the same user (migrate_pages(2)).
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

from governor.subsystem.machine import Machine
from governor.units import LARGEST_NODE
from workers.syscalls import table

_MPOL_BIND = 2
_MASK_BITS = LARGEST_NODE + 1

Nodes = frozenset[int]


def bind(nodes: Collection[int]) -> None:
    """Allocate memory of this thread, and of whatever comes from it, from ``nodes`` only.

    Kept over exec. Raises OSError: EINVAL when none of the nodes is there, ENOSYS on a kernel
    without CONFIG_NUMA, EPERM where a seccomp profile forbids it.
    """
    _call(table().set_mempolicy, _MPOL_BIND, _mask(nodes), _MASK_BITS + 1)


def migrate(pid: int, source: Collection[int], target: Collection[int]) -> int:
    """Move a process's pages from ``source`` to ``target`` nodes; how many could not be moved.

    Pages of the first node go to the first one, and so on. What processes share stays, unless
    we have CAP_SYS_NICE. Raises OSError: ESRCH when it is gone, EPERM for another user's.
    """
    return _call(table().migrate_pages, pid, _MASK_BITS + 1, _mask(source), _mask(target))


def _mask(nodes: Collection[int]) -> bytes:
    """One bit per node; all machines of `workers.syscalls` are little-endian."""
    return sum(1 << node for node in set(nodes)).to_bytes(_MASK_BITS // 8, "little")


def _call(number: int, *arguments: int | bytes) -> int:
    # Not PyDLL: a migration may take seconds, in which other threads have to run.
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Mover:
    """Moves pages when plans change or processes move, one process after the other.

    A thread of its own does it, since nobody's trapped call can wait for gigabytes to move.
    ``members(group)`` gives the processes of a group.
    """

    def __init__(
        self, members: Callable[[int], Iterable[int]], machine: Machine | None = None
    ) -> None:
        self._members = members
        self._all = (machine or Machine()).usable("mems")
        self._mems: dict[int, Nodes] = {}
        self._pages: dict[int, Nodes] = {}
        self._orders: queue.SimpleQueue[tuple[int, Nodes, Nodes]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def set_plan(self, group: int, confined: Mapping[str, Collection[int]]) -> None:
        """The pages of a group's processes have to lie on ``pages``, if that is confined."""
        before = self._mems.pop(group, self._all)
        self.drop_plan(group)
        if "mems" in confined:
            self._mems[group] = frozenset(confined["mems"])
        if "pages" in confined:
            self._pages[group] = frozenset(confined["pages"])
            if not before <= self._pages[group]:
                self._order(self._members(group), before, self._pages[group])

    def drop_plan(self, group: int) -> None:
        """Nobody is in this group any more."""
        self._mems.pop(group, None)
        self._pages.pop(group, None)

    def moved(self, pid: int, source: int | None, target: int) -> None:
        """A process has moved from one group (None: from outside) to another."""
        before = self._all if source is None else self._mems.get(source, self._all)
        after = self._pages.get(target)
        if after is not None and not before <= after:
            self._order([pid], before, after)

    def _order(self, pids: Iterable[int], source: Nodes, target: Nodes) -> None:
        for pid in pids:
            self._orders.put((pid, source, target))

    def _serve(self) -> None:
        while True:
            pid, source, target = self._orders.get()
            with suppress(OSError):  # gone, or it has become another user's
                migrate(pid, source, target)
