"""Private writable address space in pages: what may need memory, or has it already."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from governor.memory import PAGE_SIZE, memory, pages
from workers.resources import Resource, When
from workers.spaces import heap_end, spaces
from workers.syscalls import CLONE_VM, Table, clone_flags

_PROT_WRITE = 2
_MAP_TYPE = 15
_MAP_PRIVATE = 2
_MAP_DROPPABLE = 8
_MAP_HUGETLB = 0x40000
_HUGE_SHIFT = 26
_HUGE_MASK = 63
_HUGE_DEFAULT = 21
_MREMAP_DONTUNMAP = 4


class Counted(Resource):
    """As mmap(2) fails under RLIMIT_DATA, which counts the same for one process.

    What a call asks for is what it makes, unless it replaces or reprotects what is private and
    writable already: then it asks for more than it will have.
    """

    name = "privvmpages"
    errno = errno.ENOMEM
    vague = True

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        memory = table.memory
        changing = (memory.mmap, *memory.mprotect, memory.brk, memory.mremap)
        # How much it is depends on the arguments each time: see `exact`.
        self.calls = dict.fromkeys((*changing, memory.map_shadow_stack, *memory.copies), 1)
        writable = When(2, bits=_PROT_WRITE)
        self.when = dict.fromkeys(memory.mprotect, writable)
        private = When(3, bits=_MAP_PRIVATE | _MAP_DROPPABLE)
        self.when[memory.mmap] = writable._replace(also=private)

    def exact(self, nr: int, args: Sequence[int], tid: int) -> int:
        """Pages; 0 for what makes room or changes nothing."""
        calls = self.table.memory
        if nr == calls.mmap:
            return _mapped(args)
        if nr == calls.brk:
            return _moved(args[0], tid)
        if nr == calls.mremap:
            return _resized(args)
        if nr in calls.copies:
            return self._copied(nr, args, tid)
        return pages(args[1]) if nr == calls.map_shadow_stack or args[2] & _PROT_WRITE else 0

    def unasked(self, nr: int, args: Sequence[int], tid: int) -> int:
        """A program begins by asking where its heap is: all that its exec has mapped is new."""
        if nr == self.table.memory.brk and not args[0]:
            space = memory(tid)
            return space.data if space else 0
        return 0

    def refusal(self, nr: int, args: Sequence[int], tid: int) -> tuple[int, int]:
        """brk(2) answers with the end of the heap as it is, and C libraries compare.

        Where we may not know that, 0 makes the GNU library ask again before its next try.
        """
        if nr == self.table.memory.brk:
            return heap_end(tid) or 0, 0
        return 0, self.errno

    def count(self, pids: Sequence[int]) -> int:
        """Data and stacks of every address space, once."""
        return sum(space.data for _, space in spaces(pids))

    def _copied(self, nr: int, args: Sequence[int], tid: int) -> int:
        """What a new process has from the start; a thread or a vfork has nothing of its own."""
        flags = clone_flags(self.table, nr, args, tid)
        if flags is not None and flags & CLONE_VM:
            return 0
        parent = memory(tid)
        return parent.data if parent else 0


def _moved(wanted: int, tid: int) -> int:
    """Pages from the end of the heap to ``wanted``; 0 where the end may not be known."""
    end = heap_end(tid)
    return 0 if end is None else max(0, pages(wanted) - end // PAGE_SIZE)


def _mapped(args: Sequence[int]) -> int:
    length, protection, flags = args[1:4]
    if not protection & _PROT_WRITE or flags & _MAP_TYPE not in (_MAP_PRIVATE, _MAP_DROPPABLE):
        return 0
    if flags & _MAP_HUGETLB:
        size: int = 1 << (flags >> _HUGE_SHIFT & _HUGE_MASK or _HUGE_DEFAULT)
        length = -(-length // size) * size
    return pages(length)


def _resized(args: Sequence[int]) -> int:
    """mremap(2); with MREMAP_DONTUNMAP the old pages stay where they are."""
    old, new, flags = args[1:4]
    return pages(new) if flags & _MREMAP_DONTUNMAP else max(0, pages(new) - pages(old))
