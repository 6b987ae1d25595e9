"""Hierarchies of kernel cgroups: where they are mounted, and mounting more of them for a time."""

from __future__ import annotations

import contextlib
import errno
import itertools
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from governor.bench.marks import mark
from governor.errors import GovernorError

_numbers: Final = itertools.count()


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

    Raises GovernorError [ENOTSUP] without the controller, or when this user may not mount.
    """
    found = [mount for mount in mounts() if mount.kind == "cgroup" and "pids" in mount.options]
    if not found:
        raise GovernorError(errno.ENOTSUP, "the pids controller of cgroup v1 is not mounted")
    trees = [Tree(Path(found[0].where), limited=True)]
    while len(trees) < hierarchies:
        where = stack.enter_context(tempfile.TemporaryDirectory(prefix=mark()))
        options = f"none,name={mark()}{next(_numbers)}"
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


def unmount(where: str) -> None:
    """Unmount what is mounted there, if it is; raises GovernorError [ENOTSUP] when refused."""
    if any(mount.where == where for mount in mounts()):
        _run("umount", where)


def _run(*command: str) -> None:
    """Run mount(8) or umount(8); raises GovernorError [ENOTSUP] with what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GovernorError(errno.ENOTSUP, f"{command[0]} cgroup: {done.stderr.strip()}")
