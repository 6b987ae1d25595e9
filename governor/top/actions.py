"""What can be done from within ``governor top``; each raises the GovernorError of its refusal."""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Container, Governor, ProcessReport
    from governor.top.model import Key


_RESET = (".maxheld", ".minheld", ".failcnt")
"""Files that are written only to begin again."""


class Actions:
    """Asks ``governor`` for changes."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    def settings(self, key: Key) -> list[str]:
        """The control files of a container that can be written, as ``FILE=VALUE``: limits first."""
        container = self._container(key)
        values = container.files()
        writable = [name for name, can in container.list_files().items() if can and name in values]
        writable.sort(key=lambda name: (not name.endswith(".limit"), name.endswith(_RESET)))
        return [f"{name}={values[name]}" for name in writable if "\n" not in str(values[name])]

    def write(self, key: Key, text: str) -> None:
        """Write what ``FILE=VALUE`` says. EINVAL for another text, and what the write refuses."""
        file, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not file or not value:
            raise GovernorError(
                errno.EINVAL, f"{text!r} is not FILE=VALUE, such as numtasks.limit=64"
            )
        self._container(key)[file] = value

    def processes(self, key: Key) -> list[ProcessReport]:
        """The processes of a container and of those below."""
        return self._container(key).processes(recursive=True)

    def signal_all(self, key: Key, number: int) -> int:
        """Signal every process in a container and below; how many there were."""
        return self._container(key).kill(number, recursive=True)

    def signal(self, key: Key, process: ProcessReport, number: int) -> None:
        """Signal one process. ESRCH: it is gone, or is not what was shown. EPERM."""
        with self._held(key, process) as pidfd:
            try:
                signal.pidfd_send_signal(pidfd, number)
            except ProcessLookupError:
                raise _gone(process) from None
            except PermissionError:
                raise GovernorError(errno.EPERM, f"{process.pid} is another user's") from None

    def move(self, key: Key, process: ProcessReport, target: str) -> None:
        """Move one process to ``HIER:/PATH``. ESRCH as for `signal`; EACCES, ENOENT, EAGAIN."""
        hierarchy, colon, path = target.strip().partition(":")
        if not colon or not path.startswith("/"):
            raise GovernorError(errno.EINVAL, f"{target!r} is not HIER:/PATH, such as load:/a")
        with self._held(key, process):
            self._governor.hierarchy(hierarchy)[path].attach(process.pid)

    def _container(self, key: Key) -> Container:
        from governor.api import Container, Hierarchy

        client = self._governor.client
        return Container(client, Hierarchy(client, key[0], []), key[1])

    @contextmanager
    def _held(self, key: Key, process: ProcessReport) -> Iterator[int]:
        """A pidfd of the process that was shown, and not of another that has its pid by now."""
        try:
            pidfd = os.pidfd_open(process.pid)
        except (ProcessLookupError, OSError):
            raise _gone(process) from None
        try:
            # The number cannot be anybody else's from here on until this one has ended.
            if not _is_there(process, self.processes(key)) or select.select([pidfd], [], [], 0)[0]:
                raise _gone(process)
            yield pidfd
        finally:
            os.close(pidfd)


def _is_there(process: ProcessReport, now: Sequence[ProcessReport]) -> bool:
    return any((one.pid, one.job) == (process.pid, process.job) for one in now)


def _gone(process: ProcessReport) -> GovernorError:
    return GovernorError(errno.ESRCH, f"process {process.pid} is not there any more")
