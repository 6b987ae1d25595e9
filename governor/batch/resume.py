"""Which jobs of a batch need not run again, and why the others do."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Final, NamedTuple

from governor.batch.history import Began, Ended, History
from governor.batch.plan import JobPlan
from governor.batch.schedule import graph
from governor.batch.verdict import missing
from governor.report import OK, JobReport
from governor.table import wrapped

_NAMED: Final = 20
"""So many jobs are named, with the reason why they run again; a message is to be read."""


class Resumption(NamedTuple):
    """``earlier``: the reports of jobs that are done; ``again``: others that had begun, and why."""

    earlier: Mapping[str, JobReport]
    again: Mapping[str, str]


def digest(job: JobPlan) -> str:
    """Return what stands for all that the result of a job depends on, as far as the file says it.

    That is command, directory, variables and streams; of a file that it reads also size and time.
    Not limits, containers and timeout: who has succeeded under others need not do so again.
    """
    streams = (job.stdin, job.stdout, job.stderr, _version(job.stdin))
    told = [job.argv, job.cwd, sorted(job.env.items()), *streams]
    if job.stdin_text is not None:
        told.append(job.stdin_text)
    text = json.dumps(told)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _version(path: str | None) -> tuple[int, int] | None:
    """Return size and time of a file; None for what is no file, or not there."""
    try:
        found = os.stat(path) if path else None
    except OSError:
        return None
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    return found.st_size, found.st_mtime_ns


def resumption(jobs: tuple[JobPlan, ...], history: History) -> Resumption:
    """Return which jobs have succeeded as they are now, after all that they come after."""
    earlier: dict[str, JobReport] = {}
    again: dict[str, str] = {}
    moments = {name: moment for moment, name in enumerate(history.jobs)}
    before: dict[tuple[str, ...], _Before] = {}
    by_name = {job.name: job for job in jobs}
    # Jobs before those that come after them: whether these are done depends on it.
    for node in TopologicalSorter(graph({job.name: job.after for job in jobs})).static_order():
        if isinstance(node, tuple):
            before[node] = _Before.of(node, earlier, moments)
            continue
        job, event = by_name[str(node)], history.jobs.get(str(node))
        if isinstance(event, Began):
            again[job.name] = "had not ended"
        elif event is not None:
            reason = _reason(job, event, before[job.after], moments[job.name])
            if reason is None:
                earlier[job.name] = known(job, event.report)
            else:
                again[job.name] = reason
    # Of a graph the order is any that fits; people are told in the file's.
    return Resumption(
        {job.name: earlier[job.name] for job in jobs if job.name in earlier},
        {job.name: again[job.name] for job in jobs if job.name in again},
    )


class _Before(NamedTuple):
    """Of jobs that others come after: one that is not done, and the last event of any of them."""

    undone: str | None
    last: str | None
    moment: int

    @classmethod
    def of(
        cls, names: tuple[str, ...], earlier: Collection[str], moments: Mapping[str, int]
    ) -> _Before:
        undone = next((name for name in names if name not in earlier), None)
        last = max(names, key=lambda name: moments.get(name, -1), default=None)
        return cls(undone, last, moments.get(last or "", -1))


def known(job: JobPlan, report: JobReport) -> JobReport:
    """Return an earlier report without what was true of the earlier run only."""
    attempts = tuple(attempt._replace(began_seconds=None) for attempt in report.attempts)
    # What does not change a result may have changed: where it is to run, say.
    now = report._replace(command=job.argv, containers=job.where, attempts=attempts)
    return now._replace(earlier=True, began_seconds=None)


def _reason(job: JobPlan, event: Ended, before: _Before, moment: int) -> str | None:
    """Return why a job is not done that has ended at this moment."""
    if event.report.status != OK:
        return event.report.status
    if event.digest != digest(job) or event.report.exit_code not in job.success.exit_codes:
        return "changed since"
    if before.undone is not None:
        return f"{before.undone} runs before it"
    if before.moment > moment:
        return f"{before.last} ran since"
    return missing(job.success)


def sentences(found: Resumption, total: int) -> Iterator[str]:
    """Yield what is to be said when a batch is resumed."""
    done = len(found.earlier)
    succeeded = all(report.status == OK for report in found.earlier.values())
    ended = "succeeded" if succeeded else "ended"
    if done == total:
        yield f"all jobs {ended} earlier: nothing is left to run"
    elif not done:
        yield "no job succeeded earlier: all are run"
    else:
        yield f"{done} of {total} jobs {ended} earlier and are not run again"
    if found.again:
        named = [f"{name} ({why})" for name, why in list(found.again.items())[:_NAMED]]
        if len(found.again) > _NAMED:
            named.append(f"and {len(found.again) - _NAMED} others")
        yield wrapped("running again: ", ", ".join(named))
