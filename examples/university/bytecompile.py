"""Byte-compile the standard library with a pool of processes and check every result.

The sources are left alone: the compiled files go to a scratch directory.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import py_compile
import sysconfig
import tempfile
from functools import partial
from multiprocessing import Pool
from pathlib import Path

PROCESSES = 4
OPTIMIZATIONS = (0, 1, 2)
CHECKED_HASH = bytes([3, 0, 0, 0])
# Some test modules are broken on purpose; installed packages are not the standard library.
SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages"}


def standard_library() -> list[Path]:
    """Return the sources of the standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(p for p in root.rglob("*.py") if SKIPPED.isdisjoint(p.relative_to(root).parts))


def compiled(source: Path, target: str, level: int) -> bytes:
    """Compile ``source`` at one optimization level into ``target``; return the result."""
    py_compile.compile(
        str(source),
        cfile=target,
        doraise=True,
        optimize=level,
        invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
    )
    return Path(target).read_bytes()


def is_right(source: Path, scratch: str) -> bool:
    """Compile ``source``; tell whether the results are of exactly this source, and repeatable."""
    # PEP 552: magic number, flags, then the hash of the source; the code object follows.
    source_hash = importlib.util.source_hash(source.read_bytes())
    header = importlib.util.MAGIC_NUMBER + CHECKED_HASH + source_hash
    for level in OPTIMIZATIONS:
        target = os.path.join(scratch, f"{os.getpid()}.pyc")
        first, second = (compiled(source, target, level) for _ in range(2))
        if not first.startswith(header) or not second.startswith(header):
            return False
        # Equal code may be marshalled differently, so it is not the bytes that are compared.
        if marshal.loads(first[16:]) != marshal.loads(second[16:]):
            return False
    return True


def main() -> int:
    """Compile everything; return 0 when every compiled file proved right."""
    sources = standard_library()
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("GOVERNOR_JOB_DIR")) as scratch,
        Pool(PROCESSES) as pool,
    ):
        good = sum(pool.imap_unordered(partial(is_right, scratch=scratch), sources, 8))
    print(f"{good} of {len(sources)} modules compiled correctly by {PROCESSES} processes")
    return 0 if sources and good == len(sources) else 1


if __name__ == "__main__":
    raise SystemExit(main())
