"""Where jobs write: a log and a directory of its own for each, all gone with the batch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from governor.batch.plan import JobPlan, one_line
from governor.destination import Destination
from governor.launch import is_safe

TAIL_LINES = 20
_PREFIX = "governor-batch-"
_TAIL_BYTES = 64 * 1024
_LINE_LENGTH = 500


class Scratch:
    """Entered: the directory exists (mode 0700). Left: it and everything in it is gone."""

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

            log, to_write = self._log(job), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            yield (
                descriptor(job.stdin or os.devnull, os.O_RDONLY),
                descriptor(job.stdout or log, to_write),
                descriptor(job.stderr or log, to_write),
            )

    def outputs(self, job: JobPlan) -> list[str]:
        """Return the files in which the output of ``job`` is."""
        return [job.stdout or self._log(job), job.stderr or self._log(job)]

    def tail(self, job: JobPlan) -> list[str]:
        """Return the last lines of what ``job`` wrote to its log, safe to show on a terminal."""
        try:
            with open(self._log(job), "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:  # its output went elsewhere, or it never started
            return []
        lines = text.replace("\t", "    ").splitlines()
        return [one_line(line)[:_LINE_LENGTH] for line in lines[-TAIL_LINES:]]

    def _log(self, job: JobPlan) -> str:
        return os.path.join(self._directory.name, "logs", job.name)


def remove(path: str) -> None:
    """Remove the directory of a batch that was killed, as far as it is one, and ours."""
    if os.path.basename(path).startswith(_PREFIX):
        shutil.rmtree(path, ignore_errors=True)  # which does not follow links


def _open(path: str, flags: int) -> int:
    """Open a file that may lie where others may write."""
    if flags == os.O_RDONLY:
        return os.open(path, flags | os.O_CLOEXEC)
    destination = Destination(path)
    try:
        return destination.open(flags)
    finally:
        destination.close()
