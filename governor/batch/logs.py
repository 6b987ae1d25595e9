"""Logs that are kept: ``DIR/NAME.log`` of each job, older ones as ``.1``, ``.2``, ... as logrotate.

A log is moved on before a job is started, again after a failure too, so that every attempt has a
file of its own. One that grows beyond its bound is copied and emptied, since the job holds it open:
what is written in that moment is lost, as with ``copytruncate`` of logrotate(8). To pass all output
through governor would cost more than that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import Final

from governor.batch.listener import Listener, Now
from governor.errors import GovernorError

KEEP: Final = 3


class Logs(Listener):
    """The logs in ``directory``, with ``keep`` older ones of each job, of ``most`` bytes each."""

    def __init__(self, directory: str, keep: int = KEEP, most: int | None = None) -> None:
        """Raises `GovernorError` when the directory cannot be made or written to."""
        self._directory = os.path.abspath(directory)
        self._keep = keep
        self._most = most
        self._cut: set[str] = set()
        try:
            os.makedirs(self._directory, exist_ok=True)
            if not os.access(self._directory, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            number = error.errno or errno.EIO
            reason = f"cannot keep logs in {directory}: {error.strerror}"
            raise GovernorError(number, reason) from None

    def path(self, job: str) -> str:
        """Return where the newest log of a job is."""
        return os.path.join(self._directory, f"{job}.log")

    def parts(self, job: str) -> list[str]:
        """Return the files with the newest output of a job, as far as it is there, in order."""
        path = self.path(job)
        return [f"{path}.1", path] if job in self._cut else [path]

    def begin(self, job: str) -> None:
        """Make room for the log of a job that is about to be started."""
        self._cut.discard(job)
        path = self.path(job)
        self._shift(path)
        if self._keep:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, f"{path}.1")

    def tick(self, now: Now) -> None:
        """Empty logs that have become too large; what was in them becomes ``.1``."""
        for running in now.running if self._most else ():
            # A disk that is full, or a log that somebody took away, is no reason to end a job.
            with contextlib.suppress(OSError):
                self._bound(running.name)

    def _bound(self, job: str) -> None:
        path = self.path(job)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(path, flags), "rb+", buffering=0) as log:
            if os.fstat(log.fileno()).st_size <= (self._most or 0):
                return
            if self._keep:
                self._shift(path)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{path}.1")
                # Created anew, so that no link somebody planted there is followed.
                with open(f"{path}.1", "xb") as copy:
                    shutil.copyfileobj(log, copy)
                self._cut.add(job)
            log.truncate(0)

    def _shift(self, path: str) -> None:
        for number in range(self._keep, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}.{number - 1}", f"{path}.{number}")
