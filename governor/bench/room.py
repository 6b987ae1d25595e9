"""Whether the host has room for the idle processes of a large shape."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Final

from governor.errors import GovernorError

_BYTES_PER_PROCESS: Final = 300_000
"""Of kernel and governor, for one that does nothing: more than was ever seen."""
_AT_ONCE: Final = 2
"""The same shape is had twice at once: under governor and in kernel cgroups."""


def check(processes: int) -> None:
    """Raise GovernorError [EAGAIN] where so many would find no room beside as many others."""
    wanted = _AT_ONCE * processes
    needed = wanted * _BYTES_PER_PROCESS
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free:
        reason = f"{needed >> 20} MiB are needed for its processes, {free >> 20} MiB are free"
        raise GovernorError(errno.EAGAIN, reason)
    most = _most_processes()
    if wanted > most:
        reason = f"{wanted} processes are needed, {most} are allowed"
        raise GovernorError(errno.EAGAIN, reason)


def _most_processes() -> int:
    """Return what kernel.pid_max and kernel.threads-max leave, and `ulimit -u` to all but root."""
    kernel = Path("/proc/sys/kernel")
    limits = [int((kernel / name).read_text()) for name in ("pid_max", "threads-max")]
    own = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.geteuid() and own != resource.RLIM_INFINITY:
        limits.append(own)
    # All that run count, those of other users too: less is allowed then than might be.
    return min(limits) - int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
