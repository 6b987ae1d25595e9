"""Mounting the control filesystem and serving it until it is unmounted."""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import threading
from collections.abc import Callable
from typing import Any

from governor.client import Client
from governor.errors import GovernorError
from governor.fs.lanes import LANES, Lanes
from governor.fs.mounts import TYPE, prepare
from governor.fs.operations import Operations
from governor.fs.tree import Tree
from workers import tasks

DEVICE = "/dev/fuse"
_PACKAGES = "install the package fuse3 (apt-get install fuse3, or dnf, pacman, zypper)"


def serve(client: Client, supervisor: int, directory: str, ready: Callable[[], None]) -> None:
    """Mount on ``directory`` and serve it in this thread, the main one, until it is unmounted.

    It is on SIGINT, SIGTERM and SIGHUP, and when the process ``supervisor`` ends, and by
    umount(8). ``ready`` is called once it can be used. Raises GovernorError for what
    `load_fuse`, `check_device` and `prepare` find.
    """
    fuse = load_fuse()
    check_device()
    point = prepare(directory)
    alive = _open(supervisor)
    main = threading.get_ident()
    mounted = threading.Event()

    def started() -> None:
        # From a thread of libfuse: threads made here leave signals to the main thread as well,
        # where libfuse waits for them.
        mounted.set()
        watcher = threading.Thread(target=_leave_with, args=(alive, main), daemon=True)
        watcher.start()
        ready()

    def writer() -> int:
        return process_of(fuse.fuse_get_context()[2])

    operations = Operations(Tree(Lanes(client).ask), writer, started)
    try:
        fuse.FUSE(operations, point, foreground=True, **_options(fuse))
    except RuntimeError:
        # It is raised for the end by a signal as well.
        if not mounted.is_set():
            raise GovernorError(errno.EIO, f"cannot mount {directory}; see above") from None
    finally:
        os.close(alive)


def _options(fuse: Any) -> dict[str, Any]:
    """Nothing is cached by the kernel, as others change it, too; sizes of 0 mean nothing."""
    timeouts = dict.fromkeys(("attr_timeout", "entry_timeout", "negative_timeout"), 0)
    options = timeouts | {"fsname": TYPE, "subtype": TYPE, "direct_io": True}
    # libfuse 3.14 complains about its own default of this one.
    options["max_idle_threads"] = LANES
    # Requests beyond that wait in the kernel, where their processes can be killed.
    if (fuse.fuse_version_major, fuse.fuse_version_minor) >= (3, 12):
        options["max_threads"] = LANES
    return options


def load_fuse() -> Any:
    """The module mfusepy. ENOPKG: it or libfuse 3 is missing; the message says what to install."""
    os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")
    try:
        import mfusepy
    except ImportError:
        message = "governor fs needs mfusepy: pip install 'governor[fs]'"
    except (OSError, AttributeError):
        message = f"governor fs needs libfuse 3: {_PACKAGES}"
    else:
        return mfusepy
    raise GovernorError(errno.ENOPKG, message)


def check_device() -> None:
    """Check that this user may mount. ENODEV, EACCES, ENOPKG with what to do about it."""
    if not os.path.exists(DEVICE):
        raise GovernorError(errno.ENODEV, f"there is no {DEVICE}: as root, modprobe fuse")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise GovernorError(errno.EACCES, f"{DEVICE} is closed to you: as root, chmod 666 {DEVICE}")
    if os.geteuid() and not shutil.which("fusermount3"):
        raise GovernorError(errno.ENOPKG, f"governor fs needs fusermount3: {_PACKAGES}")


def process_of(task: int) -> int:
    """The process that a thread is of, as FUSE names threads. ESRCH."""
    process = tasks.process_of(task)
    if process is None:
        raise GovernorError(errno.ESRCH, f"there is no process {task} here")
    return process


def _open(supervisor: int) -> int:
    try:
        return os.pidfd_open(supervisor)
    except ProcessLookupError:
        raise GovernorError(errno.EIO, "the supervisor has ended") from None


def _leave_with(process: int, thread: int) -> None:
    """Wait for the end of a process, and let that be the end of the mount as well."""
    select.select([process], [], [])
    signal.pthread_kill(thread, signal.SIGTERM)
