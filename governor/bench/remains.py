"""What a benchmark that was killed could not remove: the next one does.

Its processes are no part of that: they end when it does, by the pipes between them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from governor.bench import trees
from governor.bench.marks import PREFIX, is_dead, mark
from governor.errors import GovernorError


@contextlib.contextmanager
def removed() -> Iterator[None]:
    """First remove what others left, and at the end the hierarchies that this benchmark mounted."""
    remove()
    try:
        yield
    finally:
        _end([name for name in trees.named() if name.startswith(mark())])


def remove() -> None:
    """Remove groups, hierarchies and directories of dead benchmarks, as far as one may."""
    for mount in [*trees.mounts()]:
        for group in _left_in(mount.where):
            trees.remove(group)
        if is_dead(os.path.basename(mount.where)):
            with contextlib.suppress(GovernorError):
                trees.unmount(mount.where)
    _end([name for name in trees.named() if is_dead(name)])
    for directory in _left_in(tempfile.gettempdir()):
        # Anybody may make names in there; and what is still mounted is none of ours to look into.
        if directory.lstat().st_uid == os.geteuid() and not os.path.ismount(directory):
            shutil.rmtree(directory, ignore_errors=True)


def _end(hierarchies: list[str]) -> None:
    with contextlib.suppress(GovernorError):
        trees.end(hierarchies)


def _left_in(directory: str) -> list[Path]:
    return [path for path in Path(directory).glob(f"{PREFIX}*") if is_dead(path.name)]
