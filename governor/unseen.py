"""Resources of the BeanCounters announcement that user space can neither count nor refuse.

They are what the kernel keeps for itself. The seeds name them in the second announcement of
BeanCounters (003): kernel memory, network buffers, pinned directory entries, iptables entries.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Unseen(NamedTuple):
    """A resource by its name there, what it is, and why governor has no subsystem for it."""

    name: str
    what: str
    why: str


UNSEEN: Final = (
    Unseen(
        "kmemsize",
        "kernel memory",
        "nothing tells whose the kernel's objects are; the memory controller of cgroups does",
    ),
    Unseen(
        "pagetables",
        "page tables",
        "VmPTE in /proc/PID/status is one process's, and no call makes them: touching memory does",
    ),
    Unseen(
        "lockedpages",
        "memory that is locked",
        "VmLck is one process's, and RLIMIT_MEMLOCK limits it; mlockall locks what comes later,"
        " by no call",
    ),
    Unseen(
        "sockbuf",
        "network buffers",
        "what fills them comes from the other end; sock_diag tells of sockets in one's own"
        " network namespace only",
    ),
    Unseen(
        "dcachesize",
        "pinned directory entries",
        "/proc/sys/fs/dentry-state is the machine's; nothing tells who pins one",
    ),
    Unseen(
        "numiptent",
        "iptables entries",
        "they belong to a network namespace, not to processes, and only its root sees them",
    ),
)
