"""A job of a batch file without mistakes, as the runner wants it."""

from __future__ import annotations

from pathlib import Path as FilePath

from governor.batch.checks import container_reference
from governor.batch.matrix import Instance
from governor.batch.plan import JobPlan, Retry, Success
from governor.batch.schema import Job
from governor.units import parse_duration


def job_plan(
    instance: Instance, after: tuple[str, ...], table: str, directory: FilePath, line: int
) -> JobPlan:
    """Return the job with its paths made absolute and its command as an argument list."""
    job = instance.job
    command = job.command or []

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(directory / path)

    return JobPlan(
        name=job.name or "",
        argv=("/bin/sh", "-c", command) if isinstance(command, str) else tuple(command),
        containers=tuple(container_reference(text) for text in job.containers),
        cwd=str(directory / job.cwd),
        env=job.env,
        timeout=None if job.timeout is None else parse_duration(job.timeout),
        stdin=absolute(job.stdin),
        stdout=absolute(job.stdout),
        stderr=absolute(job.stderr),
        after=after,
        priority=job.priority,
        cpu_timeout=None if job.cpu_timeout is None else parse_duration(job.cpu_timeout),
        retry=_retry(job),
        success=_success(job, directory),
        line=line,
        table=table,
        values=instance.values,
        stdin_text=job.stdin_text,
    )


def _retry(job: Job) -> Retry:
    return Retry(
        job.retries,
        parse_duration(job.retry_delay),
        parse_duration(job.retry_max_delay),
        tuple(job.retry_on),
    )


def _success(job: Job, directory: FilePath) -> Success:
    wanted = job.success
    return Success(
        tuple(wanted.exit_codes),
        tuple(str(directory / path) for path in wanted.files),
        tuple(str(directory / path) for path in wanted.nonempty_files),
        wanted.output,
    )
