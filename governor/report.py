"""What a run came to, and the JSON report of it.

The JSON is an interface, described in docs/batch-file.md; `governor.summary` is for people.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

from governor.errors import GovernorError
from governor.results import Refusal

if TYPE_CHECKING:
    from governor.api import ContainerReport, JobResult
    from governor.destination import Destination

OK: Final = "ok"
FAILED: Final = "failed"
TIMEOUT: Final = "timeout"
INTERRUPTED: Final = "interrupted"
NOT_RUN: Final = "not run"
SKIPPED: Final = "skipped"
"""How a job has ended, or why it has not: as docs/batch-file.md says."""


class Attempt(NamedTuple):
    """One start of a job and what came of it; the fields are those of `JobReport`."""

    status: str
    exit_code: int | None = None
    signal: int | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    began_seconds: float | None = None
    error: str | None = None


class JobReport(NamedTuple):
    """One job; ``status`` is one of the constants above. What is not known is None or 0.

    ``earlier``: it ended in a run before this one, which did not run it again.
    ``began_seconds``: when it was started, counted from the beginning of the run.
    ``attempts`` are all its starts in a batch; the other figures are those of the last one.
    ``cpu_timed_out``: it was out of time since its CPU time was used up. ``unmet``: which
    condition of success was not met. ``skipped``: why it was not started.
    """

    name: str
    command: Sequence[str]
    containers: Sequence[str]
    status: str
    exit_code: int | None = None
    signal: int | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    timed_out: bool = False
    error: str | None = None
    unenforced: str | None = None
    earlier: bool = False
    began_seconds: float | None = None
    attempts: tuple[Attempt, ...] = ()
    cpu_timed_out: bool = False
    unmet: str | None = None
    skipped: str | None = None
    refusals: Sequence[Refusal] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as values for JSON."""
        attempts = [attempt._asdict() for attempt in self.attempts]
        refusals = [refusal._asdict() for refusal in self.refusals]
        return {**self._asdict(), "attempts": attempts, "refusals": refusals}


def attempt_of(job: JobReport) -> Attempt:
    """Return the one start that a report is of."""
    return Attempt(*(getattr(job, field) for field in Attempt._fields))


class Report(NamedTuple):
    """A whole run; ``exit_code`` is governor's own, ``signal`` what ended the run, if one did.

    ``began_at`` is in seconds since the epoch; ``samples`` as in docs/batch-file.md.
    """

    exit_code: int
    signal: int | None
    wall_seconds: float
    jobs: Sequence[JobReport]
    enforcement: Mapping[str, str]
    containers: Sequence[ContainerReport]
    title: str = ""
    began_at: float | None = None
    samples: Mapping[str, Any] | None = None


def job_report(
    name: str,
    command: Sequence[str],
    containers: Sequence[str],
    result: JobResult | None,
    status: str | None = None,
) -> JobReport:
    """Return the report of a job; its status follows from the result when none is given."""
    if result is None:
        return JobReport(name, command, containers, status or NOT_RUN)
    if status is None or result.exit_code == 0:
        status = TIMEOUT if result.timed_out else FAILED if result.exit_code else OK
    return JobReport(name, command, containers, status, **result._asdict())


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as values for JSON."""
    return {
        **report._asdict(),
        "jobs": [job.to_json() for job in report.jobs],
        "enforcement": dict(report.enforcement),
        "containers": [container._asdict() for container in report.containers],
    }


def check_writable(path: str, what: str = "the report") -> None:
    """Find out before anything is started whether `write` will be able to make ``path``.

    Raises `GovernorError` with the errno of what stands in the way.
    """
    with _Destination(path, what) as destination:
        destination.open().close()


def write(report: Report, path: str) -> None:
    """Write the JSON report: a reader of ``path`` sees the whole of it or what was there before.

    Raises `GovernorError` with the errno of what stood in the way.
    """
    write_text(_text(report), path)


def write_text(text: str, path: str, what: str = "the report") -> None:
    """Write a file in the same way; ``what`` it is called when that fails."""
    with _Destination(path, what) as destination:
        with destination.open() as file:
            file.write(text)
        destination.commit()


def _text(report: Report) -> str:
    """The JSON, a line for every value, but all the samples in one."""
    value = to_json(report)
    samples = json.dumps(value.pop("samples"), separators=(",", ":"))
    text = json.dumps(value, indent=2).removesuffix("\n}")
    return f'{text},\n  "samples": {samples}\n}}\n'


class _Destination:
    """A file to be replaced as a whole by one that is prepared beside it.

    A device or a pipe, such as /dev/stderr, is written to instead: there is nothing to replace.
    """

    def __init__(self, path: str, what: str) -> None:
        self._path = path
        self._what = what
        self._found: Destination | None = None
        self._prepared = ""

    def __enter__(self) -> _Destination:
        return self

    def open(self) -> TextIO:
        """Return a file to write to."""
        from governor.destination import Destination

        found = self._found = self._found or Destination(self._path)
        if found.is_special or found.parent < 0:
            return open(found.open(os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8")
        # Created anew, so that a link somebody planted in a shared directory is not followed.
        self._prepared = f".{found.name}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._prepared, dir_fd=found.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self._prepared, flags, 0o666, dir_fd=found.parent)
        return open(descriptor, "w", encoding="utf-8")

    def commit(self) -> None:
        """Put what was prepared in its place."""
        if self._prepared and self._found is not None:
            there = self._found.parent
            os.replace(self._prepared, self._found.name, src_dir_fd=there, dst_dir_fd=there)
            self._prepared = ""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leave nothing prepared behind, and tell an OSError as a `GovernorError`."""
        if self._found is not None:
            if self._prepared:
                with contextlib.suppress(OSError):
                    os.unlink(self._prepared, dir_fd=self._found.parent)
            self._found.close()
        if isinstance(error, OSError):
            number = error.errno or errno.EIO
            raise GovernorError(
                number, f"cannot write {self._what} {self._path}: {error.strerror}"
            ) from None
