"""The surroundings the operations are timed in."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from governor.errors import GovernorError

UNGOVERNED: Final = "ungoverned"
FLOOR: Final = "floor"
CGROUP_V1: Final = "cgroup-v1"
DEPTH: Final = 3
"""Containers below the root down to the one the loop runs in, for governor and cgroup alike."""
HIGH_LIMIT: Final = 100_000
"""A limit that really applies to every operation and is never met."""

DEADLINE: Final = 120.0
"""Seconds after which a run that has not ended is given up (`loop.c` gives up itself after 60)."""


def governed(hierarchies: int) -> str:
    """Return the name of the variant with so many hierarchies."""
    return f"governed-{hierarchies}"


class Variant(Protocol):
    """Somewhere to run the loop."""

    name: str

    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one operation of ``count``; GovernorError [EIO]."""


class CommandVariant:
    """The loop as a command, started by whatever is put before it."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._command = list(command)

    def run(self, operation: str, count: int) -> float:
        """Start the loop and return what it prints; raises GovernorError [EIO]."""
        command = [*self._command, operation, str(count)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DEADLINE, check=False
            )
        except subprocess.TimeoutExpired:
            raise GovernorError(errno.EIO, f"{self.name}: {operation} did not end") from None
        if done.returncode:
            reason = done.stderr.strip() or f"status {done.returncode}"
            raise GovernorError(errno.EIO, f"{self.name}: {operation} failed: {reason}")
        return float(done.stdout)


def floor_variant(floor: str, loop: str) -> CommandVariant:
    """The loop under an answerer in C, with the very filter that governor's own jobs get."""
    from workers import seccomp, syscalls

    program = seccomp.build(frozenset({"tasks", "files"}), syscalls.table())
    return CommandVariant(FLOOR, [floor, program.hex(), loop])


@contextlib.contextmanager
def cgroup_v1_variant(loop: str) -> Iterator[CommandVariant]:
    """The loop in a cgroup v1 of the pids controller, limited on every level.

    Raises GovernorError [ENOTSUP] when the controller is not mounted or this user may not make
    groups.
    """
    mount = _pids_mount()
    if mount is None:
        raise GovernorError(errno.ENOTSUP, "the pids controller of cgroup v1 is not mounted")
    with contextlib.ExitStack() as stack:
        try:
            group = _limited_group(mount / f"governor-bench-{os.getpid()}", stack)
        except OSError as refusal:
            reason = f"no cgroup below {mount}: {refusal.strerror}"
            raise GovernorError(errno.ENOTSUP, reason) from refusal
        enter = 'echo 0 >"$1"/cgroup.procs && shift && exec "$@"'
        yield CommandVariant(CGROUP_V1, ["/bin/sh", "-c", enter, "sh", str(group), loop])


def _limited_group(group: Path, stack: contextlib.ExitStack) -> Path:
    """Make ``group`` and what is below it, removed with ``stack``; return the innermost."""
    for level in range(DEPTH):
        group = group / "level" if level else group
        group.mkdir()
        stack.callback(group.rmdir)
        (group / "pids.max").write_text(str(HIGH_LIMIT))
    return group


def _pids_mount() -> Path | None:
    """Return where the version 1 pids controller is mounted, from /proc/mounts (fstab(5))."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "pids" in options.split(","):
            return Path(where)
    return None
