"""The files that a batch is asked to write, besides its record: report, job log, JUnit XML, logs.

That each can be written is found out before anything is started. What goes wrong later, such as a
full disk, ends no job.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from governor.api.event_log import EventLog
from governor.batch import junit
from governor.batch.apart import check_apart
from governor.batch.joblog import Joblog
from governor.batch.listener import Listener
from governor.batch.logs import KEEP, Logs
from governor.batch.plan import BatchPlan, JobPlan
from governor.batch.progress import Progress
from governor.batch.scratch import Scratch
from governor.errors import GovernorError
from governor.report import JobReport, Report, check_writable, write, write_text

_REPORT: Final = "the report"
_JUNIT: Final = "the JUnit XML"


class Wanted(NamedTuple):
    """The files that the command line names. ``logs_most`` is in bytes, None for no bound."""

    report: str | None = None
    junit: str | None = None
    joblog: str | None = None
    logs: str | None = None
    logs_keep: int = KEEP
    logs_most: int | None = None
    events: str | None = None

    def files(self) -> Mapping[str, str | None]:
        """The files, by what they are called."""
        return {
            _REPORT: self.report,
            _JUNIT: self.junit,
            "the job log": self.joblog,
            "the file of events": self.events,
        }


class Unwritable(GovernorError):
    """A file that was asked for cannot be written."""


class Outputs:
    """The files of one run. ``logs`` is what `Scratch` needs; the job log goes on if ``resume``.

    ``others`` are files of the run that none of these may be, by what they are called.
    """

    def __init__(
        self, wanted: Wanted, resume: bool, others: Mapping[str, str | None] | None = None
    ) -> None:
        """Raises `Unwritable`."""
        self._wanted = wanted
        self._joblog: Joblog | None = None
        self.logs: Logs | None = None
        try:
            files = {**(others or {}), **wanted.files()}
            check_apart({what: path for what, path in files.items() if path is not None})
            for what, path in ((_REPORT, wanted.report), (_JUNIT, wanted.junit)):
                if path is not None:
                    check_writable(path, what)
            if wanted.events is not None and not _is_pipe(wanted.events):
                EventLog(wanted.events).close()
            if wanted.logs is not None:
                self.logs = Logs(wanted.logs, wanted.logs_keep, wanted.logs_most)
            if wanted.joblog is not None:
                self._joblog = Joblog(wanted.joblog, resume)
        except GovernorError as error:
            raise Unwritable(error.errno, error.message) from None

    @property
    def has_report(self) -> bool:
        """Whether somebody wants the report, and so the course of figures."""
        return self._wanted.report is not None

    def begin(
        self, plan: BatchPlan, began_at: float, scratch: Scratch, progress: Progress
    ) -> list[Listener]:
        """Jobs are about to be started; returns who has to hear of them."""
        listeners: list[Listener] = []
        if self.logs is not None:
            listeners.append(self.logs)
        if self._joblog is not None:
            jobs = _by_name(plan)
            kept = lambda name: scratch.kept(jobs[name])  # noqa: E731
            self._joblog.begin(plan, began_at, kept, progress.message)
            listeners.append(self._joblog)
        return listeners

    def end(self, report: Report, plan: BatchPlan, scratch: Scratch) -> Iterator[str]:
        """Write what is written at the end; yields what is to be said of it.

        Each file is written whatever becomes of the others. Raises `GovernorError` with what is
        to be said of all that could not be.
        """
        if self._joblog is not None and (missing := self._joblog.close()):
            yield missing
        jobs = _by_name(plan)
        failures = []
        if self._wanted.junit is not None:
            text = junit.document(report, lambda job: end_of_output(scratch, jobs[job.name], job))
            try:
                write_text(text, self._wanted.junit, _JUNIT)
            except GovernorError as error:
                failures.append(error)
        if self._wanted.report is not None:
            try:
                write(report, self._wanted.report)
            except GovernorError as error:
                failures.append(error)
        if failures:
            told = "; ".join(failure.message for failure in failures)
            raise GovernorError(failures[0].errno or errno.EIO, told)


def end_of_output(scratch: Scratch, plan: JobPlan, job: JobReport) -> list[str]:
    """Return the end of a job's output: of one that did not run, a kept log is of before."""
    return scratch.tail(plan) if job.began_seconds is not None else []


def _is_pipe(path: str) -> bool:
    """Whether it is a pipe, whose reader would take opening it twice for an end."""
    return os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode)


def _by_name(plan: BatchPlan) -> Mapping[str, JobPlan]:
    return {job.name: job for job in plan.jobs}
