"""Compiles the small C programs that tests run as jobs."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent


class CannotCompile(Exception):
    """This host has no compiler that can make the program; the text is the compiler's."""


@functools.cache
def _directory() -> Path:
    """One directory for this test session, gone when it ends; other users may run what is in it."""
    path = Path(tempfile.mkdtemp(prefix="governor-programs-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    path.chmod(0o755)
    return path


@functools.cache
def compile(name: str, *flags: str, compiler: str = "cc") -> str:
    """The path of ``name``.c compiled with these flags, once a session; raises CannotCompile."""
    program = _directory() / "-".join([name, compiler, *flags]).replace(os.sep, "_")
    command = [compiler, "-O2", "-Wall", "-o", str(program), str(SOURCES / f"{name}.c"), *flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotCompile(f"no {compiler}") from error
    if done.returncode != 0:
        raise CannotCompile(done.stderr)
    return str(program)
