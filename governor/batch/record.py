"""The record of a batch: a file that says which jobs have ended, written as they end.

It is locked while a batch uses it, and until the last process of that batch's governor has gone:
supervisor and spawner hold the same lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import shutil
import stat
import time
from typing import TYPE_CHECKING, Final, Self

from governor.batch.history import (
    MAGIC,
    NOTHING,
    Began,
    Ended,
    Event,
    History,
    Run,
    Unreadable,
    read,
    write,
)
from governor.batch.plan import BatchFileError, JobPlan, Mistake, is_stream
from governor.batch.resume import digest
from governor.batch.scratch import remove
from governor.errors import GovernorError, NotRunning
from governor.report import JobReport

if TYPE_CHECKING:
    from governor.api import Governor
    from governor.batch.scratch import Scratch

SUFFIX: Final = ".record"
OLD: Final = ".old"

_PATIENCE: Final = 10.0
"""Seconds in which the governor of a batch that was killed has ended its jobs."""
_DYING: Final = 2.0
"""Seconds in which a process that was sent KILL has ended."""
_LOOK_AGAIN: Final = 0.02


class Record:
    """The record of a run: nothing is kept with ``descriptor`` None.

    What cannot be written waits for the next time; jobs do not suffer for it. ``complaint`` says
    once what was in the way. ``keep``: what there is, is worth a copy when a run begins anew;
    ``damaged``: it could not be read.
    """

    def __init__(
        self,
        path: str,
        descriptor: int | None,
        history: History = NOTHING,
        damaged: Unreadable | None = None,
    ) -> None:
        self.path = path
        self.descriptor = descriptor
        self.history = history
        self.damaged = damaged
        self.keep = False
        self.complaint: str | None = None
        self._length = history.length
        self._unwritten = b""
        self._unsynced = False
        self._doubtful = False
        self._complained = False
        self._digests: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file, which is removed if nothing came into it."""
        if self.descriptor is not None:
            if os.fstat(self.descriptor).st_size == 0:
                with contextlib.suppress(OSError):
                    os.unlink(self.path)
            os.close(self.descriptor)
            self.descriptor = None

    def complete(self) -> bool:
        """Whether all that was to be recorded is in the file, which is still there."""
        if self.descriptor is None or self._unwritten or self._doubtful:
            return False
        return os.fstat(self.descriptor).st_nlink > 0

    def begin(self, governor: Governor, scratch: Scratch, resume: bool) -> None:
        """Begin a run: after what there is (``resume``), or anew, a copy of it kept if so wished.

        What was torn from the end of a record is cut off.
        """
        if self.descriptor is None:
            return
        try:
            if self.keep:
                shutil.copyfile(self.path, self.path + OLD)
            self._length = self._length if resume else 0
            os.ftruncate(self.descriptor, self._length)
        except OSError as error:
            # What there is remains as it is, and nothing that does not belong there is added.
            self._complain(error)
            os.close(self.descriptor)
            self.descriptor = None
            return
        if self._length == 0:
            self._unwritten = MAGIC
        ours = governor.nonce, governor.directory, scratch.path
        self._append(Run(time.time(), os.getpid(), _boot(), *ours))
        self.sync()
        with contextlib.suppress(OSError):
            _sync_directory(self.path)

    def began(self, job: JobPlan) -> None:
        """Note that a job is about to be started."""
        if self.descriptor is not None:
            self._digests[job.name] = digest(job)
            self._append(Began(time.time(), job.name, self._digests[job.name]))

    def ended(self, report: JobReport) -> None:
        """Note how a job has ended. It outlives this process at once, and the host at `sync`."""
        if self.descriptor is not None:
            self._append(Ended(time.time(), self._digests.pop(report.name), report))

    def sync(self) -> None:
        """Return when everything so far would outlive a failure of the host."""
        if self.descriptor is None or not (self._unsynced or self._unwritten):
            return
        try:
            self._flush()
        except OSError as error:
            self._complain(error)
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:  # which is told once, whatever becomes of the data
            self._doubtful = True
            self._complain(error)
        self._unsynced = False

    def _append(self, event: Event) -> None:
        self._unwritten += write(event)
        try:
            self._flush()
        except OSError as error:
            self._complain(error)

    def _flush(self) -> None:
        """Write what has not been written: where it failed before, the same bytes come again."""
        assert self.descriptor is not None
        while self._unwritten:
            written = os.pwrite(self.descriptor, self._unwritten, self._length)
            self._length += written
            self._unwritten = self._unwritten[written:]
            self._unsynced = True

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            self.complaint = (
                f"governor: cannot record in {self.path}: {_reason(error)}; the jobs go on, but "
                "--resume may run them again"
            )


def beside(source: str) -> str | None:
    """Return where the record of a batch file is by default; None for what has no place."""
    return source + SUFFIX if os.path.isfile(source) and not is_stream(source) else None


def claim(path: str, resume: bool) -> Record:
    """Lock and read the record in ``path``, a new one if there is none; nothing is changed yet.

    Raises OSError when it cannot be written, `BatchFileError` when there is something else, or
    something damaged that is to be resumed, and `GovernorError` (EBUSY) while a batch uses it.
    """
    descriptor = _locked(path)
    history, damaged = NOTHING, None
    try:
        try:
            history = read(_content(descriptor))
        except Unreadable as error:
            if resume or error.line == 1:
                raise refusal(path, error) from None
            damaged = error
        _end_leftovers(history.run)
    except BaseException:
        os.close(descriptor)
        raise
    return Record(path, descriptor, history, damaged)


def refusal(path: str, error: Unreadable) -> BatchFileError:
    """Return what a user is told of a record that cannot be read."""
    what = (
        "choose another file by --record"
        if error.line == 1
        else "take the line out to have its job run again, or start anew without --resume"
    )
    return BatchFileError(path, [Mistake(error.line, f"{error.text}; {what}")])


def _locked(path: str) -> int:
    """Open and lock the file, waiting for the governor of a batch that was killed."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A lock on a file that was removed before we had it is worth nothing.
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            user = _user(descriptor)
            if user or time.monotonic() >= deadline:
                os.close(descriptor)
                raise GovernorError(
                    errno.EBUSY,
                    f"{path} is in use by another batch{user}: wait for its end, or record this "
                    "one elsewhere by --record; nothing was started",
                ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(_LOOK_AGAIN)  # flock(2) knows no timeout


def _open(path: str) -> int:
    """Open a file of ours; OSError for what others could have a hand in, or is no file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags, 0o666)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    if found.st_uid != os.geteuid():
        os.close(descriptor)
        raise OSError(errno.EACCES, f"it belongs to user {found.st_uid}, not to you")
    return descriptor


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _user(descriptor: int) -> str:
    """Return who has the lock, for a message; nothing when that process has gone, or goes now."""
    with contextlib.suppress(Unreadable, OSError):
        run = read(_content(descriptor)).run
        if run is not None:
            process = os.pidfd_open(run.pid)
            try:
                if not select.select([process], [], [], _DYING)[0]:
                    return f" (process {run.pid})"
            finally:
                os.close(process)
    return ""


def _end_leftovers(run: Run | None) -> None:
    """End and remove what the last run has left, in case that nobody was left to do so.

    A run that goes on is let alone: this is a copy of its record then, as that is locked.
    """
    if run is None or (run.boot == _boot() and _is_served(run.sockets)):
        return
    if run.boot == _boot():
        from workers import spawner

        with contextlib.suppress(OSError):
            spawner.end_leftovers(run.nonce)
            spawner.remove_directory(run.sockets)
    remove(run.scratch)


def _is_served(directory: str) -> bool:
    from governor import rundir

    try:
        rundir.find(directory).close()
    except NotRunning:
        return False
    except GovernorError:  # it has no room for us, or is somebody else's
        return True
    return True


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _sync_directory(path: str) -> None:
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _reason(error: OSError) -> str:
    """Return what is in the way, in the words of the system unless they are ours."""
    return error.strerror or os.strerror(error.errno or errno.EIO)
