"""The benchmark's C programs, compiled at first use and kept in the user's cache directory."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from governor.bench.marks import mark
from governor.errors import GovernorError

_FLAGS = ("-O2", "-pthread")
_SOURCES = Path(__file__).parent


class Programs(NamedTuple):
    """Paths of the compiled programs; what each is for is said at the head of its source."""

    loop: str
    floor: str
    tracer: str
    idle: str
    watch: str


def find_compiler() -> str:
    """Return the C compiler: ``$CC``, else cc, gcc or clang; raises GovernorError [ENOENT]."""
    for name in (os.environ.get("CC") or "cc", "cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return found
    raise GovernorError(
        errno.ENOENT,
        "no C compiler: the benchmark compiles small programs and needs cc, gcc or clang on "
        "PATH, or one named by CC",
    )


def need(program: str) -> str:
    """Return where a program is; raises GovernorError [ENOENT] when it is not on PATH."""
    found = shutil.which(program)
    if found is None:
        raise GovernorError(errno.ENOENT, f"{program} is not installed")
    return found


@contextlib.contextmanager
def compiled_helpers() -> Iterator[Programs]:
    """Give the compiled programs for as long as the context lasts.

    Raises GovernorError when there is no compiler or it fails.
    """
    with contextlib.ExitStack() as stack:
        directory = cache_directory()
        if directory is None:
            # A user without a writable home, such as a service account: compile again each time.
            temporary = tempfile.TemporaryDirectory(prefix=mark())
            directory = Path(stack.enter_context(temporary))
        yield Programs(*(str(_compile(name, directory)) for name in Programs._fields))


def cache_directory() -> Path | None:
    """Return (and make) the place for compiled programs, or None where there is none to be had.

    It is ``governor/bench`` in the user's cache, by the XDG base directory rules.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    directory = Path(base, "governor", "bench")
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = directory.stat().st_uid
    except OSError:
        return None
    # Programs are run from here, so nobody else may own it.
    usable = owner == os.geteuid() and os.access(directory, os.W_OK | os.X_OK)
    return directory if usable else None


def _compile(name: str, directory: Path) -> Path:
    """Return the program compiled from ``name``.c; compile when it is not there of this source."""
    source = _SOURCES / f"{name}.c"
    parts = [source.read_bytes(), *(path.read_bytes() for path in sorted(_SOURCES.glob("*.h")))]
    digest = hashlib.sha256(b"".join([*parts, os.uname().machine.encode()])).hexdigest()[:16]
    program = directory / f"{name}-{digest}"
    if program.exists():
        return program
    # Under a name of its own first: another run may be compiling the same at this moment.
    fresh = directory / f"{program.name}.{os.getpid()}"
    command = [find_compiler(), *_FLAGS, "-o", str(fresh), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
            raise GovernorError(
                errno.ENOEXEC,
                f"{command[0]} cannot compile {source.name} into {directory} "
                f"(where that is, XDG_CACHE_HOME says): {reason}",
            )
        fresh.rename(program)
    finally:
        fresh.unlink(missing_ok=True)
    return program
