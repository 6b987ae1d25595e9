"""Where the preload shim is, whether this host needs it, and the environment that loads it.

The shim (``shim.c``) keeps a signal from making a trapped call fail with EINTR. Newer C libraries
block signals around the system calls of ``fork`` themselves, so it is loaded only where the C
library needs it. It is compiled when the package is installed (``setup.py``).
"""

from __future__ import annotations

import os
import stat
from typing import Literal

State = Literal["active", "not needed", "missing"]

SWITCH = "GOVERNOR_SHIM"
"""A job whose environment has this variable set to ``off`` runs without the shim."""

_FIRST_SAFE_GLIBC = (2, 41)
_PRELOAD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "preload")
_NAME = "shim.so"
_SEPARATORS = frozenset(" :")


def needed() -> bool:
    """Whether the C library of this host lets signals into a fork: glibc before 2.41.

    Asks the library that Python runs with; musl has no such name and blocks them anyway.
    """
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return name == "glibc" and (int(major), int(minor)) < _FIRST_SAFE_GLIBC
    except (OSError, ValueError):
        return False


def path() -> str | None:
    """The compiled library for this machine, or None when there is none."""
    library = os.path.join(_PRELOAD, os.uname().machine, _NAME)
    return library if os.path.exists(library) else None


def environment(env: dict[str, str]) -> dict[str, str]:
    """A copy of ``env`` that preloads the shim too, where it is needed and present.

    A preload that is there already stays, and stays first. AddressSanitizer refuses to run behind
    any preloaded library because one could replace its ``malloc``; the shim does not, so that
    check is switched off, unless ``env`` says otherwise.
    """
    env = dict(env)
    if env.get(SWITCH) == "off" or not needed() or not _loadable():
        return env
    # The dynamic linker puts in the name of the program's platform, and so finds a library of the
    # right ELF class for 32-bit programs as well, for which it would complain otherwise.
    entry = os.path.join(_for_everybody(), "$PLATFORM", _NAME)
    _append(env, "LD_PRELOAD", entry, entry)
    _append(env, "ASAN_OPTIONS", "verify_asan_link_order=0", "verify_asan_link_order")
    return env


def state() -> tuple[State, str]:
    """For ``governor doctor``: the state of the shim, and why or what to do about it."""
    if not needed():
        return "not needed", "the C library blocks signals around fork by itself"
    if path() is None:
        return "missing", (
            "a signal may make a limited fork or open fail with EINTR; install a C compiler "
            "(Debian: apt install gcc libc6-dev), then install governor again"
        )
    if not _loadable():
        return "missing", (
            f"LD_PRELOAD cannot name {_PRELOAD}, which has a space or a colon in it; "
            "install governor elsewhere"
        )
    return "active", f"signals do not disturb limited calls ({SWITCH}=off leaves it out of a job)"


def _loadable() -> bool:
    return path() is not None and _SEPARATORS.isdisjoint(_PRELOAD)


def _for_everybody() -> str:
    """The directory of the libraries that all programs of jobs can read.

    Those of root may become another user, and the dynamic linker complains of a library that it
    cannot read. Where governor is in a private directory, such as root's home, root has a copy.
    """
    if os.geteuid() != 0 or _is_public(_PRELOAD):
        return _PRELOAD
    from workers.public import copy

    return copy(_PRELOAD, os.path.join(os.uname().machine, _NAME)) or _PRELOAD


def _is_public(directory: str) -> bool:
    while os.stat(directory).st_mode & stat.S_IXOTH:
        directory, below = os.path.dirname(directory), directory
        if directory == below:
            return True
    return False


def _append(env: dict[str, str], variable: str, entry: str, unless: str) -> None:
    """Append to a colon-separated list that does not have ``unless`` in it."""
    old = env.get(variable, "")
    if unless not in old:
        env[variable] = f"{old}:{entry}" if old else entry
