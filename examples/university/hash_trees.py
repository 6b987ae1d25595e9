"""Hash the files below /usr twice, with sha256sum and with hashlib, and compare.

Both passes run as several threads at once: the first one's wait for pipelines of
xargs and sha256sum, the second one's compute.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections import ChainMap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOTS = ("/usr/bin", "/usr/lib")
BYTES = 800_000_000
THREADS = 4


def files_below(*roots: str) -> list[str]:
    """Return readable regular files below ``roots`` in order of name, about BYTES in all."""
    chosen: list[str] = []
    left = BYTES
    for path in sorted(p for root in roots for p in Path(root).rglob("*")):
        if left > 0 and path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
            chosen.append(str(path))
            left -= path.stat().st_size
    return chosen


def with_sha256sum(paths: list[str]) -> dict[str, str]:
    """Return path -> digest as computed by the program; xargs starts it once per 50 files."""
    done = subprocess.run(
        ["xargs", "-0", "-n", "50", "sha256sum", "--zero"],
        input="\0".join(paths).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    # A record is the digest, two spaces and the name.
    records = done.stdout.decode().split("\0")[:-1]
    return {record[66:]: record[:64] for record in records}


def with_hashlib(paths: list[str]) -> dict[str, str]:
    """Return path -> digest as computed by Python."""
    digests = {}
    for path in paths:
        with open(path, "rb") as file:
            digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def main() -> int:
    """Hash everything both ways; return 0 when every digest agrees."""
    paths = files_below(*ROOTS)
    shards = [paths[start::THREADS] for start in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        theirs = ChainMap(*threads.map(with_sha256sum, shards))
        ours = ChainMap(*threads.map(with_hashlib, shards))
    agreed = sum(theirs.get(path) == ours.get(path, "") for path in paths)
    print(f"{agreed} of {len(paths)} digests agree between sha256sum and hashlib")
    return 0 if paths and agreed == len(paths) else 1


if __name__ == "__main__":
    raise SystemExit(main())
