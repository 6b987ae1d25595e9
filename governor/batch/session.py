"""``governor batch`` from the file's name to the exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from governor.batch.forecast import Forecast, durations
from governor.batch.interrupts import Interrupts
from governor.batch.keep import first_words, keep, last_words
from governor.batch.load import load
from governor.batch.plan import BatchPlan
from governor.batch.progress import LiveProgress, Progress, Write, how_it_ended, suits
from governor.batch.record import Record
from governor.batch.resume import resumption
from governor.batch.runner import Runner, make_containers
from governor.batch.scratch import Scratch
from governor.batch.timeline import ENDINGS, Timeline
from governor.errors import GovernorError
from governor.report import FAILED, OK, TIMEOUT, JobReport, Report, check_writable, write
from governor.results import OWN_FAILURE
from governor.summary import summarize

if TYPE_CHECKING:
    from governor.api import Governor
    from governor.serving import Serving


class Options(NamedTuple):
    """What the command line says; ``grace`` is in seconds. ``record``: None for the usual place."""

    file: str
    parallel: int
    report: str | None
    metrics: Serving | None
    agent_timeout: float | None
    grace: float
    resume: bool = False
    record: str | None = None


def run(options: Options) -> int:
    """Run a batch file and show how it went; returns the exit code of docs/batch-file.md.

    Raises `BatchFileError` for a file with mistakes and `GovernorError` for what else keeps the
    batch from starting; no job has been started then.
    """
    plan = load(options.file)
    if options.report is not None:
        check_writable(options.report)
    with (
        keep(options.file, options.record, options.resume) as record,
        Interrupts() as interrupts,
        Scratch() as scratch,
    ):
        output = _Output(interrupts)
        found = resumption(plan.jobs, record.history)
        for line in first_words(plan, options.resume, record, found):
            output.write(f"{line}\n")
        earlier = found.earlier if options.resume else {}
        report = _supervise(plan, options, interrupts, scratch, output.write, record, earlier)
        for job, wanted in zip(report.jobs, plan.jobs, strict=True):
            if job.status in (FAILED, TIMEOUT) and (tail := scratch.tail(wanted)):
                heading = f"{job.name}: {how_it_ended(job)}; the end of its output:"
                output.write("\n".join(["", heading, *(f"  {line}" for line in tail), ""]))
        output.write(f"\n{summarize(report)}\n")
        for line in last_words(options.file, options.record, record, report):
            output.write(f"\n{line}\n")
        if options.report is not None:
            write(report, options.report)
    return report.exit_code


def _supervise(
    plan: BatchPlan,
    options: Options,
    interrupts: Interrupts,
    scratch: Scratch,
    output: Write,
    record: Record,
    earlier: Mapping[str, JobReport],
) -> Report:
    """Run the jobs under a governor of their own and return what came of it."""
    from governor.api import Governor

    failure = None
    timeline = Timeline()
    with Governor(
        metrics=options.metrics, agent_timeout=options.agent_timeout, lock=record.descriptor
    ) as governor:
        containers = make_containers(governor, plan)
        if options.report is not None:
            timeline.follow(partial(governor.containers, ENDINGS))
        record.begin(governor, scratch, options.resume)
        with _progress(plan, options, governor, output, record, earlier) as progress:
            runner = Runner(
                governor, plan, containers, scratch, progress, record, earlier, timeline
            )
            try:
                runner.run(options.parallel, interrupts, options.grace)
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
            report = report._replace(
                enforcement=governor.enforcement(), containers=governor.containers()
            )
            timeline.add(report.containers)
    return report._replace(samples=timeline.samples())


def _progress(
    plan: BatchPlan,
    options: Options,
    governor: Governor,
    output: Write,
    record: Record,
    earlier: Mapping[str, JobReport],
) -> Progress:
    """Return the progress that suits standard output, and what is installed."""
    total, done = len(plan.jobs), len(earlier)
    if not suits(sys.stdout):
        return Progress(output, total, done)
    live = LiveProgress
    with suppress(ImportError):  # Rich is an extra
        from governor.batch.bars import BarProgress

        live = BarProgress
    names = [job.name for job in plan.jobs if job.name not in earlier]
    forecast = Forecast(durations(record.history), options.parallel)
    return live(output, total, plan.title, governor.containers, names, forecast, done)


def _exit_code(runner: Runner, interrupts: Interrupts) -> int:
    """Return 0 when every job succeeded, 1 when one did not, 128+n after signal n."""
    if interrupts.signum is not None:
        return 128 + interrupts.signum
    return int(any(job.status != OK for job in runner.reports()))


class _Output:
    """Standard output. When nobody can read it any more the batch ends, as others do by SIGPIPE."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

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
