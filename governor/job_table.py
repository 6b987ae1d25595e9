"""How the jobs of a batch ended, for people: a table of them, and all in one sentence.

Of many jobs those are shown that did not succeed; everything is in the JSON report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from governor.report import OK, TIMEOUT, JobReport
from governor.table import Column, render, shortened, too_wide, wrapped
from governor.units import format_duration

MOST: Final = 40
"""Rows of a table of jobs: more of them would only push the others off the screen."""

_LEAST_NAME: Final = 20

_WORDS: Final = {TIMEOUT: "timed out"}
"""What a status is in a sentence, where that is not its own name."""


def job_table(jobs: Sequence[JobReport]) -> Iterator[str]:
    """Yield the table and what is to be said below it."""
    shown = list(jobs) if len(jobs) <= MOST else [job for job in jobs if job.status != OK][:MOST]
    if shown:
        table, below = _table(shown), []
        if too_wide(table):
            table = _table(shown, remarks=False)
            below = [wrapped(f"{job.name}: ", text) for job in shown if (text := _remark(job))]
        if excess := too_wide(table):
            longest = max(len(job.name) for job in shown)
            table = _table(shown, remarks=False, names=max(_LEAST_NAME, longest - excess))
        yield "\n".join([table, *below])
    if left := _left_out(jobs, shown):
        yield left


def tally(jobs: Sequence[JobReport], wall_seconds: float) -> str:
    """Return how many jobs ended in which way, such as ``4 jobs: 3 ok, 1 failed, in 1m30s``."""
    ends = Counter(job.status for job in jobs)
    told = [f"{ends[OK]:,} ok"] if OK in ends else []
    told += [f"{ends[end]:,} {_WORDS.get(end, end)}" for end in ends if end != OK]
    retried = sum(len(job.attempts) > 1 for job in jobs)
    again = f" ({retried:,} of them tried again)" if retried else ""
    count = f"{len(jobs):,} job{'s' * (len(jobs) != 1)}"
    return f"{count}: {', '.join(told)}{again}, in {format_duration(wall_seconds)}"


def _table(jobs: Sequence[JobReport], remarks: bool = True, names: int | None = None) -> str:
    """One row per job; its name has ``names`` characters at most."""
    tried = any(len(job.attempts) > 1 for job in jobs)
    columns = [Column("job", right=False), Column("status", right=False), Column("exit")]
    columns += [Column("tries")] * tried + [Column("wall"), Column("cpu")]
    columns += [Column("containers", right=False)] * remarks
    rows = []
    for job in jobs:
        code, wall, cpu = _figures(job)
        where = " ".join(job.containers)
        remark = f"{where} ({text})".lstrip() if (text := _remark(job)) else where
        tries = [str(len(job.attempts) or "")] * tried
        rows.append(
            [shortened(job.name, names), job.status, code, *tries, wall, cpu, *[remark] * remarks]
        )
    return render(columns, rows)


def _figures(job: JobReport) -> tuple[str, str, str]:
    """Exit code and times; nothing of a job that has none."""
    if job.exit_code is None:
        return "", "", ""
    return str(job.exit_code), format_duration(job.wall_seconds), format_duration(job.cpu_seconds)


def _remark(job: JobReport) -> str:
    """What there is to say of a job's end that the other columns do not."""
    if job.earlier and job.status == OK:
        return "done earlier"
    told = job.error or job.unmet or job.skipped
    return told or ("used up its CPU time" if job.cpu_timed_out else "")


def _left_out(jobs: Sequence[JobReport], shown: Sequence[JobReport]) -> str:
    """Return what became of jobs that are not in the table."""
    succeeded = [job for job in jobs if job.status == OK]
    others = len(jobs) - len(shown)
    if not others:
        return ""
    if len(shown) + len(succeeded) < len(jobs):
        return f"and {others:,} other jobs, of which {len(succeeded):,} succeeded: see --report"
    times = sorted(job.wall_seconds for job in succeeded)
    took = f"{format_duration(times[0])} to {format_duration(times[-1])} each"
    return f"{'and ' * bool(shown)}{others:,} jobs succeeded, which took {took}"
