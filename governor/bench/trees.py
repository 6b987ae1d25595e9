"""Hierarchies of kernel cgroups: where they are mounted, and mounting more of them for a time."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from governor.bench.marks import mark
from governor.errors import GovernorError

_PATIENCE: Final = 10.0
_PAUSE: Final = 0.1
"""Seconds in which hierarchies have to end, and between two tries."""


class Tree(NamedTuple):
    """Where a hierarchy is mounted and whether it has the pids controller."""

    mount: Path
    limited: bool
    unified: bool = False


class Mount(NamedTuple):
    """A line of /proc/mounts (fstab(5))."""

    where: str
    kind: str
    options: list[str]


def version_1(hierarchies: int, stack: contextlib.ExitStack) -> list[Tree]:
    """Return the pids hierarchy and the named ones that are missing, mounted until ``stack`` ends.

    All that one benchmark mounts share their names, so that they are the same few hierarchies.
    Raises GovernorError [ENOTSUP] without the controller, or when this user may not mount.
    """
    found = [mount for mount in mounts() if mount.kind == "cgroup" and "pids" in mount.options]
    if not found:
        raise GovernorError(errno.ENOTSUP, "the pids controller of cgroup v1 is not mounted")
    trees = [Tree(Path(found[0].where), limited=True)]
    while len(trees) < hierarchies:
        where = stack.enter_context(tempfile.TemporaryDirectory(prefix=mark()))
        options = f"none,name={mark()}{len(trees)}"
        stack.callback(unmount, where)
        _run("mount", "-t", "cgroup", "-o", options, "cgroup", where)
        trees.append(Tree(Path(where), limited=False))
    return trees


def version_2() -> Tree:
    """Return the unified hierarchy; groups made there limit tasks only where it says so.

    Raises GovernorError [ENOTSUP] where there is none.
    """
    found = next((mount.where for mount in mounts() if mount.kind == "cgroup2"), None)
    if found is None:
        raise GovernorError(errno.ENOTSUP, "cgroup v2 is not mounted")
    given = (Path(found) / "cgroup.subtree_control").read_text().split()
    return Tree(Path(found), limited="pids" in given, unified=True)


def mounts() -> Iterator[Mount]:
    """Give every mount of a cgroup hierarchy."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield Mount(where, kind, options.split(","))


def named() -> set[str]:
    """The names of the hierarchies without a controller, mounted or not (cgroups(7))."""
    fields = [line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    return {field.removeprefix("name=") for field in fields if field.startswith("name=")}


def unmount(where: str) -> None:
    """Unmount what is mounted there, if it is; raises GovernorError [ENOTSUP] when refused."""
    if any(mount.where == where for mount in mounts()):
        _run("umount", where)


def end(names: Collection[str]) -> None:
    """End hierarchies that are mounted nowhere, with the groups in them; as far as that can be.

    The kernel ends one only if no group is left when it is unmounted (cgroup_kill_sb in its
    kernel/cgroup/cgroup.c), and a group is there for some time after it was removed.
    Raises GovernorError [ENOTSUP] when refused.
    """
    until = time.monotonic() + _PATIENCE
    with tempfile.TemporaryDirectory(prefix=mark()) as where:
        while left := named().intersection(names):
            for name in left:
                _run("mount", "-t", "cgroup", "-o", f"none,name={name}", "cgroup", where)
                for group in filter(Path.is_dir, Path(where).iterdir()):
                    remove(group)
                _run("umount", where)
            if time.monotonic() > until:
                return
            time.sleep(_PAUSE)


def remove(top: Path) -> None:
    """Remove a group with all below it; one that somebody is still in stays, with its parents."""
    for path, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _run(*command: str) -> None:
    """Run mount(8) or umount(8); raises GovernorError [ENOTSUP] with what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GovernorError(errno.ENOTSUP, f"{command[0]} cgroup: {done.stderr.strip()}")
