"""A copy of what only root can read, where every user can."""

from __future__ import annotations

import os

CACHE = "/var/cache/governor"
"""Not in /run, which is often mounted so that no library in it can be loaded."""


def copy(directory: str, file: str) -> str | None:
    """The copy of root's ``directory``, made where there is none; None: it cannot be made.

    Another one is made when ``file`` in it has changed. All governors of root share it; it may be
    removed when no job uses it.
    """
    original = os.stat(os.path.join(directory, file))
    kept = os.path.join(CACHE, f"{original.st_mtime_ns:x}-{original.st_size:x}")
    if not os.path.exists(os.path.join(kept, file)):
        try:
            _make(directory, kept)
        except OSError:
            return None
    return kept


def _make(directory: str, kept: str) -> None:
    """Have it there as a whole or not at all; another governor may be making it, too."""
    import shutil
    import tempfile

    os.makedirs(CACHE, exist_ok=True)
    os.chmod(CACHE, 0o755)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        made = os.path.join(scratch, "made")
        shutil.copytree(directory, made)
        for path, _, files in os.walk(made):
            for each in (path, *(os.path.join(path, file) for file in files)):
                os.chmod(each, 0o755)
        try:
            os.rename(made, kept)
        except OSError:
            if not os.path.isdir(kept):
                raise
