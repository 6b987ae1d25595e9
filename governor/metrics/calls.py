"""Names of the system calls that are trapped, of the kernel's ABI as in `workers.syscalls`."""

from __future__ import annotations

import os
from typing import Final

_COMMON: Final = {
    425: "io_uring_setup", 426: "io_uring_enter", 427: "io_uring_register", 428: "open_tree",
    430: "fsopen", 432: "fsmount", 433: "fspick", 434: "pidfd_open", 435: "clone3",
    437: "openat2", 444: "landlock_create_ruleset", 447: "memfd_secret", 453: "map_shadow_stack",
    467: "open_tree_attr",
}  # fmt: skip
NAMES: Final = {
    "x86_64": {
        2: "open", 9: "mmap", 10: "mprotect", 12: "brk", 22: "pipe", 25: "mremap",
        41: "socket", 43: "accept", 53: "socketpair", 56: "clone", 57: "fork", 58: "vfork",
        72: "fcntl", 73: "flock", 85: "creat", 160: "setrlimit", 203: "sched_setaffinity",
        213: "epoll_create", 238: "set_mempolicy", 240: "mq_open", 253: "inotify_init",
        256: "migrate_pages", 257: "openat", 272: "unshare", 282: "signalfd",
        283: "timerfd_create", 284: "eventfd", 288: "accept4", 289: "signalfd4", 290: "eventfd2",
        291: "epoll_create1", 293: "pipe2", 294: "inotify_init1", 298: "perf_event_open",
        300: "fanotify_init", 302: "prlimit64", 304: "open_by_handle_at", 308: "setns",
        312: "kcmp", 317: "seccomp", 319: "memfd_create", 321: "bpf", 323: "userfaultfd",
        329: "pkey_mprotect", **_COMMON,
    },
    "aarch64": {
        19: "eventfd2", 20: "epoll_create1", 25: "fcntl", 26: "inotify_init1", 32: "flock",
        56: "openat", 59: "pipe2", 74: "signalfd4", 85: "timerfd_create", 97: "unshare",
        122: "sched_setaffinity", 164: "setrlimit", 180: "mq_open", 198: "socket",
        199: "socketpair", 202: "accept", 214: "brk", 216: "mremap", 220: "clone", 222: "mmap",
        226: "mprotect", 237: "set_mempolicy", 238: "migrate_pages", 241: "perf_event_open",
        242: "accept4", 261: "prlimit64", 262: "fanotify_init", 265: "open_by_handle_at",
        268: "setns", 272: "kcmp", 277: "seccomp", 279: "memfd_create", 280: "bpf",
        282: "userfaultfd", 288: "pkey_mprotect", **_COMMON,
    },
}  # fmt: skip
"""By machine, as ``uname -m`` spells it, and number."""


def name_of(nr: int) -> str:
    """The name of a system call of this machine; its number where that has none here."""
    return NAMES.get(os.uname().machine, {}).get(nr, str(nr))
