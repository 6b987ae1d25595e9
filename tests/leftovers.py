"""Finding what a command left running, whoever its parent is by now."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from pathlib import Path

VARIABLE = "GOVERNOR_TEST_MARK"


class Mark:
    """An environment variable that everything started with ``environment`` carries."""

    def __init__(self) -> None:
        self._value = uuid.uuid4().hex
        self.environment = {VARIABLE: self._value}

    def processes(self) -> list[int]:
        """The pids of the marked processes; a zombie has no environment and is not found."""
        wanted = f"{VARIABLE}={self._value}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def kill(self) -> None:
        """End all marked processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
