"""``governor batch`` from the file's name to the exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from governor.batch.containers import make_containers
from governor.batch.cpu_time import CpuTime
from governor.batch.forecast import Forecast, durations
from governor.batch.interrupts import Interrupts
from governor.batch.keep import first_words, keep, last_words
from governor.batch.load import load
from governor.batch.outputs import Outputs, Wanted, end_of_output
from governor.batch.plan import BatchPlan
from governor.batch.progress import (
    LiveProgress,
    Progress,
    ReadContainers,
    Write,
    how_it_ended,
    suits,
)
from governor.batch.record import Record, beside
from governor.batch.runner import NEVER, Runner, Terms
from governor.batch.scratch import Scratch
from governor.batch.settled import found_in
from governor.batch.timeline import ENDINGS, Timeline
from governor.errors import GovernorError
from governor.report import FAILED, OK, TIMEOUT, JobReport, Report
from governor.results import OWN_FAILURE
from governor.summary import summarize

if TYPE_CHECKING:
    from governor.api import ContainerReport, Governor
    from governor.serving import Serving


class Options(NamedTuple):
    """What the command line says; ``grace`` is in seconds. ``record``: None for the usual place.

    ``settled``: when resumed, what has failed is taken as it is.
    """

    file: str
    parallel: int
    outputs: Wanted
    metrics: Serving | None
    agent_timeout: float | None
    grace: float
    resume: bool = False
    record: str | None = None
    halt: str = NEVER
    settled: bool = False


def run(options: Options) -> int:
    """Run a batch file and show how it went; returns the exit code of docs/batch-file.md.

    Raises `BatchFileError` for a file with mistakes, `Unwritable` for an output that cannot be
    written, and `GovernorError` for what else keeps the batch from starting; no job has been
    started then.
    """
    plan = load(options.file)
    others = {"the batch file": options.file, "the record": options.record or beside(options.file)}
    outputs = Outputs(options.outputs, options.resume, others)
    with (
        keep(options.file, options.record, options.resume) as record,
        Interrupts() as interrupts,
        Scratch(outputs.logs) as scratch,
    ):
        output = _Output(interrupts)
        found = found_in(record.history, plan, options.settled)
        earlier = found.earlier if options.resume else {}
        words = first_words(plan, options.resume, record, found)
        run = _Run(
            plan, options, outputs, interrupts, scratch, output.write, record, earlier, words
        )
        report = _supervise(run)
        for job, wanted in zip(report.jobs, plan.jobs, strict=True):
            if job.status in (FAILED, TIMEOUT) and (tail := end_of_output(scratch, wanted, job)):
                heading = f"{job.name}: {how_it_ended(job)}; the end of its output:"
                output.write("\n".join(["", heading, *(f"  {line}" for line in tail), ""]))
        output.write(f"\n{summarize(report)}\n")
        for line in last_words(options.file, options.record, record, report):
            output.write(f"\n{line}\n")
        for line in outputs.end(report, plan, scratch):
            output.write(f"\n{line}\n")
    return report.exit_code


class _Run(NamedTuple):
    """What a run is made of before there is a governor."""

    plan: BatchPlan
    options: Options
    outputs: Outputs
    interrupts: Interrupts
    scratch: Scratch
    write: Write
    record: Record
    earlier: Mapping[str, JobReport]
    words: Iterable[str]


def _supervise(run: _Run) -> Report:
    """Run the jobs under a governor of their own and return what came of it."""
    from governor.api import Governor

    plan, options, interrupts, scratch = run.plan, run.options, run.interrupts, run.scratch
    failure = None
    timeline = Timeline()
    with Governor(
        metrics=options.metrics,
        agent_timeout=options.agent_timeout,
        lock=run.record.descriptor,
        events=options.outputs.events,
    ) as governor:
        containers = make_containers(governor, plan)
        cpu_time = CpuTime(governor, plan)
        look = partial(_containers, governor, cpu_time.hierarchy)
        if run.outputs.has_report:
            timeline.follow(partial(look, ENDINGS))
        for line in run.words:
            run.write(f"{line}\n")
        run.record.begin(governor, scratch, options.resume)
        with _progress(run, look) as progress:
            listeners = run.outputs.begin(plan, timeline.began_at, scratch, progress)
            runner = Runner(
                governor,
                plan,
                containers,
                cpu_time,
                scratch,
                progress,
                run.record,
                run.earlier,
                timeline,
                listeners,
            )
            try:
                runner.run(Terms(options.parallel, options.grace, options.halt), interrupts)
            except GovernorError as error:
                failure = error
                print(f"governor: {error.message}", file=sys.stderr)
        report = Report(
            OWN_FAILURE if failure else _exit_code(runner, interrupts),
            interrupts.signum,
            timeline.seconds(),
            runner.reports(),
            {},
            [],
            plan.title,
            timeline.began_at,
        )
        # After a failure of governor there may be nobody to ask; the jobs' results still count.
        with suppress(GovernorError) if failure else nullcontext():
            report = report._replace(enforcement=governor.enforcement(), containers=look())
            timeline.add(report.containers)
    return report._replace(samples=timeline.samples())


def _containers(
    governor: Governor, hidden: str | None, endings: Sequence[str] | None = None
) -> list[ContainerReport]:
    """Return the figures of all containers but those of a hierarchy that nobody has asked for."""
    return [report for report in governor.containers(endings) if report.hierarchy != hidden]


def _progress(run: _Run, look: ReadContainers) -> Progress:
    """Return the progress that suits standard output, and what is installed."""
    total, done = len(run.plan.jobs), len(run.earlier)
    failed = sum(report.status != OK for report in run.earlier.values())
    if not suits(sys.stdout):
        return Progress(run.write, total, done, failed)
    live = LiveProgress
    with suppress(ImportError):  # Rich is an extra
        from governor.batch.bars import BarProgress, can_be_shown

        live = BarProgress if can_be_shown(sys.stdout) else live
    names = [job.name for job in run.plan.jobs if job.name not in run.earlier]
    after = {job.name: job.after for job in run.plan.jobs}
    forecast = Forecast(durations(run.record.history), run.options.parallel, after)
    return live(run.write, total, run.plan.title, look, names, forecast, done, failed)


def _exit_code(runner: Runner, interrupts: Interrupts) -> int:
    """Return 0 when every job succeeded, 1 when one did not, 128+n after signal n."""
    if interrupts.signum is not None:
        return 128 + interrupts.signum
    return int(any(job.status != OK for job in runner.reports()))


class _Output:
    """Standard output. When nobody can read it any more the batch ends, as others do by SIGPIPE."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names may have any letter

    def write(self, text: str) -> None:
        """Write ``text`` now."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            self._interrupts.signum = self._interrupts.signum or signal.SIGPIPE
            # What is still in the buffer must go somewhere when Python flushes it at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
