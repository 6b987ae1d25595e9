"""Which supervisor, job and container group a process belongs to: the kernel remembers.

RLIMIT_LOCKS has had no effect since Linux 2.4.25 (getrlimit(2)), yet every process has it, a
child inherits it in the instant of the fork, and an exec keeps it. Its soft value is the tag:

    nonce (23 bits) << 40 | job (20 bits) << 20 | group (20 bits)

The hard value stays unlimited. One write moves a process, whatever it is doing: a child forked
meanwhile has the old group or the new one, never something between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Container, Iterable
from typing import NamedTuple, Self

RLIMIT_LOCKS = 10
NONCE_BITS = 23
JOB_BITS = 20
GROUP_BITS = 20

MAX_NONCE = (1 << NONCE_BITS) - 1
MAX_JOB = (1 << JOB_BITS) - 1
MAX_GROUP = (1 << GROUP_BITS) - 1
UNTAGGED = resource.RLIM_INFINITY
STARTING = b"governor-start"
"""The name (``/proc/PID/comm``) of a tagged process that is about to exec its job's program."""

_JOB_SHIFT = GROUP_BITS
_NONCE_SHIFT = GROUP_BITS + JOB_BITS
_PASSES = 8
"""Looks at the list of processes at most, where others come all the time."""


class Tag(NamedTuple):
    """A process's supervisor (``nonce``, 1..MAX_NONCE), job and container group."""

    nonce: int
    job: int
    group: int

    def encode(self) -> int:
        """The resource limit that says this. Raises ValueError for a number out of range."""
        if not 1 <= self.nonce <= MAX_NONCE:
            raise ValueError(f"nonce {self.nonce}: must be 1..{MAX_NONCE}")
        if not 0 <= self.job <= MAX_JOB:
            raise ValueError(f"job {self.job}: must be 0..{MAX_JOB}")
        if not 0 <= self.group <= MAX_GROUP:
            raise ValueError(f"group {self.group}: must be 0..{MAX_GROUP}")
        return self.nonce << _NONCE_SHIFT | self.job << _JOB_SHIFT | self.group

    @classmethod
    def decode(cls, value: int) -> Self | None:
        """The tag in a resource limit; None for no limit or one that somebody set by hand."""
        nonce = value >> _NONCE_SHIFT
        if value == UNTAGGED or not 1 <= nonce <= MAX_NONCE:
            return None
        return cls(nonce, value >> _JOB_SHIFT & MAX_JOB, value & MAX_GROUP)


def read(pid: int) -> Tag | None:
    """The tag of a process (a thread's id will do); None when it has none or is another user's.

    Raises ProcessLookupError when there is no such process; a zombie still is one.
    """
    try:
        return Tag.decode(resource.prlimit(pid, RLIMIT_LOCKS)[0])
    except PermissionError:
        return Tag.decode(_shown(pid)) if os.geteuid() == 0 else None


def _shown(pid: int) -> int:
    """The same value from ``/proc/PID/limits``, which everybody may read and which takes longer.

    A root without CAP_SYS_RESOURCE, as in most containers, needs it for jobs of his that have
    become another user. An ordinary user's cannot: they run without gaining rights.
    """
    try:
        with open(f"/proc/{pid}/limits", "rb", buffering=0) as file:
            text = file.read(4096)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return UNTAGGED
    words = text.partition(b"Max file locks")[2].split(maxsplit=1)
    return int(words[0]) if words and words[0].isdigit() else UNTAGGED


def read_ours(pid: int, nonce: int) -> Tag | None:
    """The tag of a process of this supervisor; None for any other, or when it is gone."""
    try:
        tag = read(pid)
    except ProcessLookupError:
        return None
    return tag if tag is not None and tag.nonce == nonce else None


def write(pid: int, tag: Tag) -> None:
    """Tag a process; all its threads, and its children to come, are of that group from now on.

    Raises ProcessLookupError when it is gone, PermissionError when it is another user's or has
    given itself a hard RLIMIT_LOCKS.
    """
    try:
        resource.prlimit(pid, RLIMIT_LOCKS, (tag.encode(), resource.RLIM_INFINITY))
    except ValueError as error:
        raise PermissionError(f"process {pid} cannot be tagged: {error}") from error


def try_to_write(pid: int, tag: Tag) -> int:
    """Tag a process; the errno when that failed, EBUSY when another governor prevents it."""
    try:
        write(pid, tag)
        return 0 if read(pid) == tag else errno.EBUSY
    except OSError as error:
        return error.errno or errno.EPERM


def clear(pid: int) -> None:
    """Take the tag off a process; nothing happens when it is gone or another user's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, RLIMIT_LOCKS, (UNTAGGED, resource.RLIM_INFINITY))


def are_in(nonce: int, pids: Iterable[int], groups: Container[int], number: int) -> bool:
    """Whether so many of these processes, zombies included, are in these groups just now."""
    for pid in pids:
        tag = read_ours(pid, nonce)
        number -= tag is not None and tag.group in groups
        if number <= 0:
            return True
    return number <= 0


def scan(nonce: int, proc: str = "/proc") -> dict[int, Tag]:
    """Every process of this supervisor: pid -> tag, zombies included.

    A process that comes or goes meanwhile may be missed or not. But of a row of processes that
    each fork and end, one is always found: so look again until nobody unknown is there.
    """
    prlimit, is_root = resource.prlimit, os.geteuid() == 0
    found: dict[int, Tag] = {}
    known: set[str] = set()
    for _ in range(_PASSES):
        new = set(os.listdir(proc)) - known
        known |= new
        pids = [int(name) for name in new if name.isdigit()]
        if not pids:
            break
        for pid in pids:
            try:
                value = prlimit(pid, RLIMIT_LOCKS)[0]
            except ProcessLookupError:
                continue
            except PermissionError:
                if not is_root:
                    continue
                value = _shown(pid)
            if value >> _NONCE_SHIFT == nonce:
                found[pid] = Tag(nonce, value >> _JOB_SHIFT & MAX_JOB, value & MAX_GROUP)
    return found
