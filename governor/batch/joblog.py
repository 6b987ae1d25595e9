"""The job log of ``--joblog``: a line for every job that has ended, as GNU parallel writes them.

The columns are those of its manual page (``--joblog``) and of what version 20221122 writes: seconds
with three digits, an ``Exitval`` of 0 beside the number of a signal and of -1 after a timeout, a
NUL in the place of a line end in the command. What tools for these logs do with them goes on
working: ``parallel --retry-failed --joblog FILE`` runs the commands again, without limits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Callable, Sequence
from typing import Final

from governor.batch.listener import Listener
from governor.batch.plan import BatchPlan
from governor.destination import Destination
from governor.errors import GovernorError
from governor.report import FAILED, OK, TIMEOUT, JobReport

COLUMNS: Final = "Seq Host Starttime JobRuntime Send Receive Exitval Signal Command".split()

_HOST: Final = ":"
"""GNU parallel's name for this machine."""
_SHELL: Final = ("/bin/sh", "-c")
_TIMED_OUT: Final = -1


def line(number: int, report: JobReport, began_at: float, received: int) -> bytes:
    """Return the line of a job that has ended: the ``number``th of its file.

    ``began_at`` is when the batch began, in seconds since the epoch; ``received``: how many bytes
    of output governor kept.
    """
    start = began_at + (report.began_seconds or 0.0)
    exit_value = 0 if report.signal else report.exit_code or 0
    if report.timed_out:
        exit_value = _TIMED_OUT
    elif report.status != OK and not (exit_value or report.signal):
        exit_value = 1  # the program was content with itself, but the batch file is not
    fields = [
        str(number),
        _HOST,
        f"{start:.3f}",
        f"{report.wall_seconds:10.3f}",
        "0",
        str(received),
        str(exit_value),
        str(report.signal or 0),
        written(report.command).replace("\n", "\0"),
    ]
    return "\t".join(fields).encode(errors="surrogateescape") + b"\n"


def written(command: Sequence[str]) -> str:
    """Return a command as one would type it: a text for the shell as it is, a list quoted."""
    if len(command) == 3 and tuple(command[:2]) == _SHELL:
        return command[2]
    return shlex.join(command)


HEADER: Final = "\t".join(COLUMNS).encode() + b"\n"


class Joblog(Listener):
    """The job log in ``path``: begun anew, or gone on with when ``resume``.

    Nothing is written before `begin`. What cannot be written later is tried again with the next
    line; jobs do not suffer for it. Jobs that were interrupted or skipped are not in the log, so
    that they are run by who goes on from it.
    """

    def __init__(self, path: str, resume: bool) -> None:
        """Raises `GovernorError`: the file cannot be written, or EINVAL: it is something else."""
        self._path = path
        self._unwritten = b""
        self._say: Callable[[str], object] | None = None
        try:
            self._file, self._goes_on = _open(path, resume)
        except OSError as error:
            raise GovernorError(
                error.errno or errno.EIO, f"cannot write the job log {path}: {error.strerror}"
            ) from None

    def begin(
        self,
        plan: BatchPlan,
        began_at: float,
        output_bytes: Callable[[str], int],
        say: Callable[[str], object],
    ) -> None:
        """Jobs of ``plan`` start now. ``output_bytes``: how much of a job's output was kept.

        ``say`` is called once with what is in the way of writing.
        """
        self._numbers = {job.name: number for number, job in enumerate(plan.jobs, 1)}
        self._began_at, self._output_bytes, self._say = began_at, output_bytes, say
        if not self._goes_on:
            with contextlib.suppress(OSError):  # a pipe or a device has no length
                os.ftruncate(self._file, 0)
            self._unwritten = HEADER
            self._write()

    def finished(self, report: JobReport) -> None:
        """Write the line of a job."""
        if report.status in (OK, FAILED, TIMEOUT):
            number, received = self._numbers[report.name], self._output_bytes(report.name)
            self._unwritten += line(number, report, self._began_at, received)
            self._write()

    def close(self) -> str | None:
        """Close the file; returns what is to be said when something is missing in it."""
        self._write()
        os.close(self._file)
        return f"the job log {self._path} lacks lines" if self._unwritten else None

    def _write(self) -> None:
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
        except OSError as error:
            if self._say is not None:
                reason = os.strerror(error.errno or errno.EIO)
                self._say(f"governor: cannot write the job log {self._path}: {reason}; jobs go on")
                self._say = None


def _open(path: str, resume: bool) -> tuple[int, bool]:
    """Return a descriptor to append to, and whether there is a log already to go on with."""
    place = Destination(path)
    try:
        if place.is_special:
            return place.open(os.O_WRONLY | os.O_APPEND), False
        file = place.open(os.O_RDWR | os.O_CREAT | os.O_APPEND)
    finally:
        place.close()
    found = os.pread(file, len(HEADER), 0)
    if resume and found and found != HEADER:
        os.close(file)
        raise OSError(errno.EINVAL, "it is no job log to go on with")
    return file, resume and bool(found)
