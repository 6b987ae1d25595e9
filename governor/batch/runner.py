"""Running the jobs of a batch, so many at once, until all have ended or a signal came."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from governor.batch.interrupts import Impatient, Interrupts
from governor.batch.listener import Now, Running
from governor.batch.plan import BatchPlan, JobPlan
from governor.batch.progress import Progress
from governor.batch.record import Record
from governor.batch.scratch import Scratch
from governor.batch.timeline import Timeline
from governor.errors import GovernorError
from governor.report import FAILED, INTERRUPTED, JobReport, job_report
from governor.results import OWN_FAILURE
from governor.units import format_duration

if TYPE_CHECKING:
    from governor.api import Container, Governor, Job

TICK_SECONDS: Final = 0.25
"""How often the live block is drawn, and a signal looked for; the end of a job is seen at once."""

Containers = Mapping[tuple[str, str], "Container"]


def make_containers(governor: Governor, plan: BatchPlan) -> Containers:
    """Mount the hierarchies of ``plan``, make its containers and write their control files.

    Returns them by (hierarchy, path), the roots included.
    """
    made: dict[tuple[str, str], Container] = {}
    for wanted in plan.hierarchies:
        hierarchy = governor.mount(wanted.name, list(wanted.subsystems))
        made[wanted.name, "/"] = hierarchy.root
        for container in wanted.containers:
            if container.path != "/":
                made[wanted.name, container.path] = hierarchy.mkdir(container.path)
            for setting in container.settings:
                made[wanted.name, container.path][setting.file] = setting.value
    return made


class Runner:
    """The jobs of one batch, each waiting, running or reported on; some of them from ``earlier``.

    An end is recorded before anybody is told of it, so that what has been said to have succeeded
    is not run again.
    """

    def __init__(
        self,
        governor: Governor,
        plan: BatchPlan,
        containers: Containers,
        scratch: Scratch,
        progress: Progress,
        record: Record,
        earlier: Mapping[str, JobReport],
        timeline: Timeline,
    ) -> None:
        self._governor = governor
        self._plan = plan
        self._containers = containers
        self._scratch = scratch
        self._progress = progress
        self._timeline = timeline
        self._record = record
        self._waiting = deque(job for job in plan.jobs if job.name not in earlier)
        self._running: dict[Job, tuple[JobPlan, Running]] = {}
        self._reports: dict[str, JobReport] = dict(earlier)
        self._untold: list[JobReport] = []

    def run(self, parallel: int, interrupts: Interrupts, grace: float) -> None:
        """Run up to ``parallel`` jobs at once; after a signal end them within ``grace`` seconds."""
        try:
            while (self._waiting or self._running) and interrupts.signum is None:
                while self._waiting and len(self._running) < parallel and interrupts.signum is None:
                    self._start(self._waiting.popleft())
                # Now that all run that may, there is time to wait for a disk.
                self._tell()
                self._timeline.tick()
                running = [running for _, running in self._running.values()]
                self._progress.tick(Now(running, len(self._waiting)))
                if self._running:
                    for job in self._governor.wait(list(self._running), timeout=TICK_SECONDS):
                        self._finish(job)
            self._tell()
            if self._running:
                self._stop(interrupts, grace)
        finally:
            self._tell()

    def reports(self) -> list[JobReport]:
        """Return what is known of every job, in the file's order."""
        running = {job.name: one.since for job, one in self._running.values()}
        return [
            self._reports.get(job.name)
            or (
                self._began(job_report(job.name, job.argv, job.where, None, INTERRUPTED), began)
                if (began := running.get(job.name)) is not None
                else job_report(job.name, job.argv, job.where, None)
            )
            for job in self._plan.jobs
        ]

    def _began(self, report: JobReport, moment: float) -> JobReport:
        """The report of a job with the time of its start."""
        return report._replace(began_seconds=round(self._timeline.seconds(moment), 3))

    def _start(self, plan: JobPlan) -> None:
        """Start a job; when that fails, the job has failed."""
        self._record.began(plan)
        began = time.monotonic()
        try:
            directory = self._scratch.job_directory(plan)
            with self._scratch.streams(plan) as (stdin, stdout, stderr):
                job = self._governor.spawn(
                    list(plan.argv),
                    name=plan.name,
                    containers=[self._containers[where] for where in plan.containers],
                    cwd=plan.cwd,
                    env={**os.environ, **plan.env, "GOVERNOR_JOB_DIR": directory},
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    timeout=plan.timeout,
                )
        except (GovernorError, OSError) as error:
            failed = JobReport(plan.name, plan.argv, plan.where, FAILED, OWN_FAILURE)
            self._report(self._began(failed._replace(error=str(error)), began))
        else:
            self._running[job] = plan, Running(plan.name, began, plan.where)

    def _finish(self, job: Job, status: str | None = None) -> None:
        """Report a job that has ended."""
        plan, running = self._running.pop(job)
        report = job_report(plan.name, plan.argv, plan.where, job.result, status)
        self._report(self._began(report, running.since))

    def _report(self, report: JobReport) -> None:
        self._reports[report.name] = report
        self._record.ended(report)
        self._untold.append(report)

    def _tell(self) -> None:
        """Show which jobs have ended, once that is on record."""
        self._record.sync()
        if self._record.complaint is not None:
            self._progress.message(self._record.complaint)
            self._record.complaint = None
        while self._untold:
            self._progress.finished(self._untold.pop(0))

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
