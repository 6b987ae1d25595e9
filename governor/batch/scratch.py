"""Where jobs write: a log and a directory of its own for each, all gone with the batch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from governor.batch.logs import Logs
from governor.batch.plan import JobPlan, one_line
from governor.destination import Destination
from governor.launch import is_safe

TAIL_LINES = 20
_PREFIX = "governor-batch-"
_TAIL_BYTES = 64 * 1024
_LINE_LENGTH = 500


class Scratch:
    """Entered: the directory exists (mode 0700). Left: it and everything in it is gone.

    With ``logs`` what jobs write goes there instead, and is kept.
    """

    def __init__(self, logs: Logs | None = None) -> None:
        self._logs = logs

    def __enter__(self) -> Scratch:
        # What a job made unremovable (another user's files, a mount) must not hide the results.
        usual = tempfile.gettempdir()
        self._directory = tempfile.TemporaryDirectory(
            prefix=_PREFIX,
            dir=usual if is_safe(usual) else "/tmp",
            ignore_cleanup_errors=True,
        )
        for name in ("jobs", "logs"):
            os.mkdir(os.path.join(self._directory.name, name))
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    @property
    def path(self) -> str:
        """The directory."""
        return self._directory.name

    def job_directory(self, job: JobPlan) -> str:
        """Make and return the directory that ``job`` finds in GOVERNOR_JOB_DIR, an empty one."""
        path = os.path.join(self._directory.name, "jobs", job.name)
        if os.path.lexists(path):
            shutil.rmtree(path)  # an attempt before has left it
        os.mkdir(path)
        return path

    @contextmanager
    def streams(self, job: JobPlan) -> Iterator[tuple[int, int, int]]:
        """Descriptors for the job's stdin, stdout and stderr, open while it is started."""
        with ExitStack() as stack:
            opened: dict[str, int] = {}

            def descriptor(path: str, flags: int) -> int:
                # One open file when both outputs go to one place, so that they mix in order.
                if path not in opened:
                    opened[path] = _open(path, flags)
                    stack.callback(os.close, opened[path])
                return opened[path]

            if self._logs is not None and None in (job.stdout, job.stderr):
                self._logs.begin(job.name)
            if job.stdin_text is None:
                stdin = descriptor(job.stdin or os.devnull, os.O_RDONLY)
            else:
                stdin = _file_with(job.stdin_text)
                stack.callback(os.close, stdin)
            log, to_write = self._log(job), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            yield (
                stdin,
                # A log may be cut while the job writes to it, which must go on at its new end.
                descriptor(job.stdout or log, to_write | (os.O_APPEND if not job.stdout else 0)),
                descriptor(job.stderr or log, to_write | (os.O_APPEND if not job.stderr else 0)),
            )

    def outputs(self, job: JobPlan) -> list[str]:
        """Return the files in which the output of ``job`` is."""
        return [job.stdout or self._log(job), job.stderr or self._log(job)]

    def tail(self, job: JobPlan) -> list[str]:
        """Return the last lines of what ``job`` wrote to its log, safe to show on a terminal."""
        data = b""
        for path in self._parts(job):
            # What went elsewhere, or was never started, has no log.
            with suppress(FileNotFoundError), open(path, "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                data += log.read()
        lines = data.decode(errors="replace").replace("\t", "    ").splitlines()
        return [one_line(line)[:_LINE_LENGTH] for line in lines[-TAIL_LINES:]]

    def kept(self, job: JobPlan) -> int:
        """Return how many bytes of what ``job`` wrote are in its log."""
        total = 0
        for path in self._parts(job):
            with suppress(FileNotFoundError):
                total += os.path.getsize(path)
        return total

    def _log(self, job: JobPlan) -> str:
        return self._parts(job)[-1]

    def _parts(self, job: JobPlan) -> list[str]:
        """The files with what a job wrote to its log, the newest last."""
        if self._logs is not None:
            return self._logs.parts(job.name)
        return [os.path.join(self._directory.name, "logs", job.name)]


def remove(path: str) -> None:
    """Remove the directory of a batch that was killed, as far as it is one, and ours."""
    if os.path.basename(path).startswith(_PREFIX):
        shutil.rmtree(path, ignore_errors=True)  # which does not follow links


def _file_with(text: str) -> int:
    """A file of its own for every attempt, which has no name, at its beginning."""
    memory = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(text.encode())
        os.lseek(memory, 0, os.SEEK_SET)
    except BaseException:
        os.close(memory)
        raise
    return memory


def _open(path: str, flags: int) -> int:
    """Open a file that may lie where others may write."""
    if flags == os.O_RDONLY:
        return os.open(path, flags | os.O_CLOEXEC)
    destination = Destination(path)
    try:
        return destination.open(flags)
    finally:
        destination.close()
