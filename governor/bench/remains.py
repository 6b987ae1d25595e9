"""What a benchmark that was killed could not remove: the next one does.

Its processes are no part of that: they end when it does, by the pipes between them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from governor.bench import trees
from governor.bench.marks import PREFIX, is_dead
from governor.errors import GovernorError


def remove() -> None:
    """Remove groups, mounts and directories of benchmarks that have ended, as far as one may."""
    for mount in [*trees.mounts()]:
        for group in _left_in(mount.where):
            _remove_groups(group)
        if is_dead(os.path.basename(mount.where)):
            with contextlib.suppress(GovernorError):
                trees.unmount(mount.where)
    for directory in _left_in(tempfile.gettempdir()):
        # Anybody may make names in there; and what is still mounted is none of ours to look into.
        if directory.lstat().st_uid == os.geteuid() and not os.path.ismount(directory):
            shutil.rmtree(directory, ignore_errors=True)


def _left_in(directory: str) -> list[Path]:
    return [path for path in Path(directory).glob(f"{PREFIX}*") if is_dead(path.name)]


def _remove_groups(top: Path) -> None:
    """Remove a group with all below it; one that somebody is still in stays, with its parents."""
    for path, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)
