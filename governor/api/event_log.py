"""A file of events: a line of JSON for each, kept by whoever owns a governor."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from governor.api.events import as_json, enter, keep, leave
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.client import Client
    from governor.results import Event

TRY_AGAIN = 1.0
"""Seconds after which a file that could not be written is tried again."""
PATIENCE = 2.0
"""Seconds that the end waits for the last events to be written."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class EventLog:
    """Appends every event of a governor to the file ``path``, from the first that it has kept.

    A thread of its own follows the events, so that a slow disk holds up nobody. What has been
    renamed or removed is opened anew under its name before the next line. What cannot be written
    is said once, on standard error, and tried again: events wait in the governor meanwhile, as
    many as that keeps. Raises GovernorError for a file that cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(path)
        try:
            self._file = _open(self._path)
        except OSError as error:
            reason = f"events cannot be written to {self._path}: {error.strerror}"
            raise GovernorError(error.errno or errno.EIO, reason) from None
        self._keeper = os.urandom(8).hex()
        self.failing = False
        """Whether the file cannot be written for the moment."""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, client: Client) -> None:
        """Begin. From now on the governor's end waits for this, however late the thread is."""
        with contextlib.suppress(GovernorError):  # the thread will see why
            enter(client, self._keeper)
        self._thread = threading.Thread(
            target=self._follow, args=[client], name="governor events", daemon=True
        )
        # Signals are the other threads', which know what to do.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def leave(self, client: Client) -> None:
        """The governor goes on without this."""
        self._closing.set()
        with contextlib.suppress(GovernorError):
            leave(client, self._keeper)

    def close(self) -> None:
        """To be called when the governor has ended: waits until all is written, for a moment."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)
        if self._thread is None or not self._thread.is_alive():
            os.close(self._file)

    def _follow(self, client: Client) -> None:
        after = 0
        while True:
            try:
                last, events = keep(client, self._keeper, after)
            except GovernorError:  # it has ended, was left, or is too busy to answer
                if client.is_gone or self._closing.wait(TRY_AGAIN):
                    return
                continue
            while events and not self._write(events):
                if self._closing.wait(TRY_AGAIN):
                    return
            after = last

    # -- the file ------------------------------------------------------------------

    def _write(self, events: list[Event]) -> bool:
        """Append a line for each, all or none; whether that was possible."""
        text = "".join(f"{as_json(event)}\n" for event in events)
        data = text.encode(errors="backslashreplace")  # which is JSON for what is no text
        try:
            self._reopen()
            self._append(data)
        except OSError as error:
            self._say(f"events cannot be written to {self._path}: {error.strerror}", True)
            return False
        self._say(f"events are written to {self._path} again", False)
        return True

    def _append(self, data: bytes) -> None:
        size = os.fstat(self._file).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            # Half a line would spoil the next one. What others have added since stays.
            if written and os.fstat(self._file).st_size == size + written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, size)
            raise

    def _reopen(self) -> None:
        """Go on with a new file when somebody has renamed or removed this one."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                return
        fresh = _open(self._path)
        os.close(self._file)
        self._file = fresh

    def _say(self, words: str, failing: bool) -> None:
        if failing != self.failing:
            self.failing = failing
            with contextlib.suppress(OSError, ValueError):  # that may be full or closed as well
                print(f"governor: {words}", file=sys.stderr, flush=True)


def _open(path: str) -> int:
    # A pipe that nobody reads is refused, not waited for.
    descriptor = os.open(path, _FLAGS, 0o666)
    os.set_blocking(descriptor, True)
    return descriptor
