"""privvmpages: limit the private writable address space of a container, in pages.

Counted are the data and the stacks of every member, as ``/proc/PID/statm`` has them, whether
touched or not; a copy by fork counts in full, threads and a vfork share. At the limit mmap,
mprotect, mremap and fork fail with ENOMEM, and brk leaves the heap as it is.

Not promised: a stack that grows does so by a page fault, and an exec maps the program before
anybody is asked. Both are counted, and then refused nothing themselves. Shared and read-only
mappings are not counted.
"""

from __future__ import annotations

from governor.results import PARTIAL
from governor.subsystem.pages import PagesSubsystem


class PrivVmPages(PagesSubsystem):
    """Private writable address space, limited per container."""

    name = "privvmpages"
    resource = "privvmpages"
    traps = frozenset({"privvmpages"})
    facility = "memory"
    best = PARTIAL
    why = "stacks that grow and what an exec maps are counted, but not refused"
