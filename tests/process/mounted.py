"""A control filesystem for tests: mounted by a process of its own, and gone afterwards."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.util
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from governor.api import Governor
from governor.fs import mounts
from tests.capabilities import need
from tests.process.helpers import DEADLINE, PYTHONPATH

DEVICE = "/dev/fuse"


def need_extra() -> None:
    """Skip without the extra of governor."""
    need(importlib.util.find_spec("mfusepy") is not None, "mfusepy is not installed")


def need_fuse() -> None:
    """Skip where nothing can be mounted."""
    need_extra()
    need(ctypes.util.find_library("fuse3") is not None, "libfuse 3 is not installed")
    need(os.path.exists(DEVICE), f"there is no {DEVICE}", root=True)
    need(os.access(DEVICE, os.R_OK | os.W_OK), f"{DEVICE} is closed to this user", root=True)


class Mounted:
    """A running ``governor fs``."""

    def __init__(self, directory: str, point: Path) -> None:
        self.point = point
        command = [sys.executable, "-m", "governor", "fs", "--dir", directory, str(point)]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )
        assert self.hear() == f"governor: {point} is mounted\n"

    def hear(self) -> str:
        """The next line it says, nothing at its end."""
        assert self.process.stderr is not None
        ready, _, _ = select.select([self.process.stderr], [], [], DEADLINE)
        assert ready, "governor fs says nothing"
        return self.process.stderr.readline()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(DEADLINE)

    def is_mounted(self) -> bool:
        """Whether there is a mount, dead or alive."""
        text = Path(mounts.MOUNTINFO).read_text()
        return mounts.type_at(str(self.point), text) is not None

    def close(self) -> None:
        """End it, however it does."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        while self.is_mounted():
            assert mounts.detach(str(self.point))


Mount = Callable[[Governor], Mounted]


@contextlib.contextmanager
def mounting(point: Path) -> Iterator[Mount]:
    """A function that mounts a governor's control filesystem, on ``point`` each time."""
    need_fuse()
    point.mkdir()
    with contextlib.ExitStack() as opened:

        def mount(gov: Governor) -> Mounted:
            mounted = Mounted(gov.status().directory, point)
            opened.callback(mounted.close)
            return mounted

        yield mount
