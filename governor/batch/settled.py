"""What a resumed batch takes from earlier runs: only successes, or failures as well.

GNU parallel's ``--resume-failed`` runs again what has failed, its ``--resume`` does not. Here that
is ``--resume`` (``--resume-failed`` is the same) and ``--resume-unfinished``.
"""

from __future__ import annotations

from graphlib import TopologicalSorter

from governor.batch.history import Ended, History
from governor.batch.plan import BatchPlan, JobPlan
from governor.batch.resume import Resumption, digest, known, resumption
from governor.report import FAILED, OK, SKIPPED, TIMEOUT, JobReport, job_report


def found_in(history: History, plan: BatchPlan, settled: bool) -> Resumption:
    """Return which jobs are not run again; with ``settled`` also those that have failed.

    What comes after a job that has failed, and was not run for it, is not run either.
    """
    found = resumption(plan.jobs, history)
    return _with_failures(found, history, plan) if settled else found


def _with_failures(found: Resumption, history: History, plan: BatchPlan) -> Resumption:
    jobs = {job.name: job for job in plan.jobs}
    earlier = dict(found.earlier)
    for name in TopologicalSorter({job.name: job.after for job in plan.jobs}).static_order():
        job = jobs[name]
        before = [earlier[other] for other in job.after if other in earlier]
        cause = next((report for report in before if report.status != OK), None)
        if name in earlier:
            continue
        if cause is not None:
            skipped = job_report(job.name, job.argv, job.where, None, SKIPPED)
            earlier[name] = skipped._replace(earlier=True, skipped=f"{cause.name} failed earlier")
        elif (report := _failure(job, history)) is not None:
            earlier[name] = report
    return Resumption(
        {job.name: earlier[job.name] for job in plan.jobs if job.name in earlier},
        {name: why for name, why in found.again.items() if name not in earlier},
    )


def _failure(job: JobPlan, history: History) -> JobReport | None:
    """Return the report of a job that has failed, if it is still the same job."""
    event = history.jobs.get(job.name)
    if not isinstance(event, Ended) or event.report.status not in (FAILED, TIMEOUT):
        return None
    if event.digest != digest(job):
        return None
    return known(job, event.report)
