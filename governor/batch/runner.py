"""Running the jobs of a batch as their schedule says, until all have ended or a signal came."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from governor.batch import verdict
from governor.batch.containers import Containers
from governor.batch.cpu_time import CpuTime
from governor.batch.interrupts import Impatient, Interrupts
from governor.batch.listener import Listener, Now, Running
from governor.batch.plan import BatchPlan, JobPlan
from governor.batch.progress import Progress
from governor.batch.record import Record
from governor.batch.schedule import Schedule, Skipped
from governor.batch.scratch import Scratch
from governor.batch.tasks import bounds, tasks
from governor.batch.timeline import Timeline
from governor.errors import GovernorError
from governor.report import (
    FAILED,
    INTERRUPTED,
    OK,
    SKIPPED,
    TIMEOUT,
    JobReport,
    attempt_of,
    job_report,
)
from governor.results import OWN_FAILURE, TIMED_OUT
from governor.units import format_duration

if TYPE_CHECKING:
    from governor.api import Governor, Job

TICK_SECONDS: Final = 0.25
"""How often the live block is drawn, and a signal looked for; the end of a job is seen at once."""

NEVER: Final = "never"
SOON: Final = "soon"
AT_ONCE: Final = "now"
"""When a batch ends after a failure: not, when what runs has ended, or that is ended too."""

_FATES: Final = {FAILED: "failed", TIMEOUT: "timed out", SKIPPED: "was skipped"}


class Terms(NamedTuple):
    """How a batch is run: ``parallel`` jobs at once, ``grace`` seconds from TERM to KILL."""

    parallel: int
    grace: float
    halt: str = NEVER


class Runner:
    """The jobs of one batch; some of them are done since an earlier run, as ``earlier`` says.

    An end is recorded before anybody is told of it, so that what has been said to have succeeded
    is not run again.
    """

    def __init__(
        self,
        governor: Governor,
        plan: BatchPlan,
        containers: Containers,
        cpu_time: CpuTime,
        scratch: Scratch,
        progress: Progress,
        record: Record,
        earlier: Mapping[str, JobReport],
        timeline: Timeline,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._governor = governor
        self._plan = plan
        self._containers = containers
        self._cpu_time = cpu_time
        self._scratch = scratch
        self._progress = progress
        self._listeners = (progress, *listeners)
        self._timeline = timeline
        self._record = record
        self._jobs = {job.name: job for job in plan.jobs}
        self._running: dict[Job, tuple[JobPlan, Running]] = {}
        self._tried: dict[str, JobReport] = {}
        """Of jobs that have failed and are to be started again: what came of it so far."""
        self._reports: dict[str, JobReport] = dict(earlier)
        self._untold: list[tuple[JobReport, float | None]] = []
        """Ends, and the delay before the next attempt where there is one."""
        self._schedule = Schedule((), 1, {})
        self._failure: str | None = None

    def run(self, terms: Terms, interrupts: Interrupts) -> None:
        """Run the jobs; after a signal, or a failure where ``terms`` say so, end them."""
        self._schedule = Schedule(
            tasks(self._plan), terms.parallel, bounds(self._plan), self._reports
        )
        try:
            while not self._schedule.finished and interrupts.signum is None:
                self._start_all(interrupts)
                # Now that all run that may, there is time to wait for a disk.
                self._tell()
                self._tick()
                self._wait()
                if self._halts(terms):
                    self._schedule.halt()
                    if terms.halt == AT_ONCE:
                        break
            self._tell()
            if self._halts(terms):
                left = self._schedule.left
                text = f"{self._failure} failed: nothing more is started, {left} left"
                self._progress.message(text)
            if self._running:
                self._stop(interrupts, terms.grace)
            for report in self._tried.values():  # there is no time for another attempt
                self._report(report)
        finally:
            self._tell()

    def reports(self) -> list[JobReport]:
        """Return what is known of every job, in the file's order."""
        running = {job.name: one.since for job, one in self._running.values()}
        return [
            self._reports.get(job.name)
            or (
                self._with_attempt(self._began(_report_of(job, INTERRUPTED), began))
                if (began := running.get(job.name)) is not None
                else self._tried.get(job.name) or _report_of(job)
            )
            for job in self._plan.jobs
        ]

    def _halts(self, terms: Terms) -> bool:
        """Whether a failure has ended the batch."""
        return self._failure is not None and terms.halt != NEVER

    # -- the steps -------------------------------------------------------------------

    def _start_all(self, interrupts: Interrupts) -> None:
        """Start what may be started."""
        while interrupts.signum is None:
            name = self._schedule.next(time.monotonic())
            if name is None:
                return
            self._start(self._jobs[name])

    def _tick(self) -> None:
        self._timeline.tick()
        now = Now(
            [running for _, running in self._running.values()],
            self._schedule.left,
            self._schedule.delayed,
        )
        for listener in self._listeners:
            listener.tick(now)

    def _wait(self) -> None:
        """Wait until a job has ended, or it is time for something else; see to what has ended."""
        now = time.monotonic()
        self._cpu_time.look(now)
        due = filter(None, (self._schedule.due(), self._cpu_time.due()))
        seconds = max(0.0, min([TICK_SECONDS, *(moment - now for moment in due)]))
        if self._running:
            for job in self._governor.wait(list(self._running), timeout=seconds):
                self._finish(job)
        elif not self._schedule.finished:
            time.sleep(seconds)  # all that is left waits for its next attempt

    # -- starts ----------------------------------------------------------------------

    def _start(self, plan: JobPlan) -> None:
        """Start a job; when that fails, the attempt has failed."""
        attempt = len(self._tried[plan.name].attempts) + 1 if plan.name in self._tried else 1
        self._record.began(plan)
        began = time.monotonic()
        try:
            job = self._spawn(plan, attempt)
        except (GovernorError, OSError) as error:
            failed = _report_of(plan, FAILED)._replace(exit_code=OWN_FAILURE, error=str(error))
            self._ended(plan, self._began(failed, began))
        else:
            self._running[job] = plan, Running(plan.name, began, plan.where)
            for listener in self._listeners:
                listener.started(plan, attempt)

    def _spawn(self, plan: JobPlan, attempt: int) -> Job:
        surroundings = {
            "GOVERNOR_JOB_DIR": self._scratch.job_directory(plan),
            "GOVERNOR_ATTEMPT": str(attempt),
        }
        own = self._cpu_time.container(plan, attempt)
        with self._scratch.streams(plan) as (stdin, stdout, stderr):
            job = self._governor.spawn(
                list(plan.argv),
                name=plan.name,
                containers=[*(self._containers[where] for where in plan.containers), *own],
                cwd=plan.cwd,
                env={**os.environ, **plan.env, **surroundings},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                timeout=plan.timeout,
            )
        self._cpu_time.watch(job, plan, own, time.monotonic())
        return job

    # -- ends ------------------------------------------------------------------------

    def _finish(self, job: Job, status: str | None = None) -> None:
        """See to a job that has ended."""
        plan, running = self._running.pop(job)
        report = job_report(plan.name, plan.argv, plan.where, job.result, status)
        spent, is_over = self._cpu_time.ended(job)
        report = report._replace(cpu_seconds=max(report.cpu_seconds, spent))
        if is_over:
            report = report._replace(
                status=TIMEOUT, exit_code=TIMED_OUT, timed_out=True, cpu_timed_out=True
            )
        report = verdict.judged(report, plan.success, self._scratch.outputs(plan))
        self._ended(plan, self._began(report, running.since))

    def _ended(self, plan: JobPlan, report: JobReport) -> None:
        """Have the attempt repeated, or else let the schedule and all others know of the end."""
        report = self._with_attempt(report)
        self._tried.pop(plan.name, None)
        if report.status == INTERRUPTED:
            self._report(report)
        elif verdict.is_retried(report, plan.retry):
            seconds = verdict.delay(plan.retry, len(report.attempts), random.random())
            self._schedule.retry(plan.name, time.monotonic() + seconds)
            self._tried[plan.name] = report
            self._untold.append((report, seconds))
        else:
            self._report(report)
            if report.status != OK:
                self._failure = self._failure or plan.name
            for skipped in self._schedule.ended(plan.name, report.status == OK):
                self._skip(skipped)

    def _skip(self, skipped: Skipped) -> None:
        because = self._reports[skipped.because]
        why = f"{because.name} {_FATES[because.status]}"
        report = _report_of(self._jobs[skipped.name], SKIPPED)._replace(skipped=why)
        self._reports[report.name] = report
        self._untold.append((report, None))

    def _report(self, report: JobReport) -> None:
        self._reports[report.name] = report
        self._record.ended(report)
        self._untold.append((report, None))

    def _began(self, report: JobReport, moment: float) -> JobReport:
        """The report of a job with the time of its start."""
        return report._replace(began_seconds=round(self._timeline.seconds(moment), 3))

    def _with_attempt(self, report: JobReport) -> JobReport:
        """The report of a job with all its attempts, of which it is the last."""
        before = self._tried[report.name].attempts if report.name in self._tried else ()
        return report._replace(attempts=(*before, attempt_of(report)))

    def _tell(self) -> None:
        """Tell which jobs have ended, once that is on record."""
        self._record.sync()
        if self._record.complaint is not None:
            self._progress.message(self._record.complaint)
            self._record.complaint = None
        while self._untold:
            report, seconds = self._untold.pop(0)
            for listener in self._listeners:
                if seconds is None:
                    listener.finished(report)
                else:
                    listener.retrying(report, seconds)

    def _stop(self, interrupts: Interrupts, grace: float) -> None:
        """End the jobs that run: TERM, and KILL after ``grace`` seconds or at another signal."""
        count = len(self._running)
        self._progress.message(
            f"ending {count} running job{'s' * (count > 1)}: TERM now, KILL after "
            f"{format_duration(grace)} or at another Ctrl-C"
        )
        try:
            with interrupts.impatient():
                self._governor.stop(list(self._running), grace=grace)
        except Impatient:
            self._governor.stop(list(self._running), grace=0)
        # All of them have ended by now, so each of these waits has something to return.
        while ended := self._governor.wait(list(self._running), timeout=0):
            for job in ended:
                self._finish(job, INTERRUPTED)


def _report_of(plan: JobPlan, status: str | None = None) -> JobReport:
    """The report of a job of which nothing else is known."""
    return job_report(plan.name, plan.argv, plan.where, None, status)
