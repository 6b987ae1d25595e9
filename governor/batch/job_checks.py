"""What the jobs of a batch file say: as `governor.batch.checks`, for them.

Of the jobs of a matrix each is looked at; what is wrong with many of them is told once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Final

from governor.batch.checks import NAME, NAME_RULE, Finding, LineOf, container_reference
from governor.batch.locate import Path
from governor.batch.matrix import Expansion
from governor.batch.order_checks import check_order
from governor.batch.plan import parents
from governor.batch.schema import File, Hierarchy, Job, unknown
from governor.report import FAILED, TIMEOUT
from governor.units import parse_duration

MOST_RETRIES: Final = 100
_HIGHEST_EXIT_CODE: Final = 255
_EXIT_CODES: Final = f"allowed are 0 to {_HIGHEST_EXIT_CODE}"


def check_jobs(
    file: File, found: Expansion, directory: FilePath, line_of: LineOf
) -> Iterator[Finding]:
    """Yield everything that is wrong with the jobs, whose paths start at ``directory``."""
    if not file.jobs:
        yield ("jobs",), "no jobs: at least one [[jobs]] table with a name and a command is needed"
    findings: dict[Path, list[str]] = {}
    for instance in found.instances:
        for path, text in _job(instance.job, directory, file.hierarchies):
            findings.setdefault(("jobs", instance.number, *path), []).append(text)
    for number in found.broken:
        for path, text in _job(file.jobs[number], directory, file.hierarchies):
            # What is to be put into a text decides whether that is right.
            if "{" not in str(getattr(file.jobs[number], str(path[0]))):
                findings[("jobs", number, *path)] = [text]
    for path, texts in findings.items():
        others = len(texts) - 1
        yield path, texts[0] + (f" (and {others} more of its matrix)" if others else "")
    yield from _duplicate_names(file, found, line_of)
    yield from check_order(file, found)


def _duplicate_names(file: File, found: Expansion, line_of: LineOf) -> Iterator[Finding]:
    """Names tell jobs apart in the progress, the table and the report."""
    first: dict[str, int] = {}
    told: set[int] = set()
    for index, job, _ in found.instances:
        if job.name is None:
            continue
        if job.name not in first:
            first[job.name] = index
        elif index not in told:
            told.add(index)
            yield (
                ("jobs", index, "name"),
                _same_name(file, job.name, index, first[job.name], line_of),
            )


def _same_name(file: File, name: str, index: int, first: int, line_of: LineOf) -> str:
    if index != first:
        return f'another job is named "{name}" (line {line_of(("jobs", first, "name"))})'
    axes = ", ".join(f"{{{axis}}}" for axis in file.jobs[index].matrix)
    return f'two jobs of the matrix are named "{name}": write what sets them apart, of {axes}'


def _job(job: Job, directory: FilePath, hierarchies: Mapping[str, Hierarchy]) -> Iterator[Finding]:
    """Everything about one job, by paths that start at its table."""
    if job.name is None:
        yield ("name",), "a job needs a name"
    elif not NAME.fullmatch(job.name):
        yield ("name",), f'"{job.name}" cannot be the name of a job: {NAME_RULE}'
    yield from _command(job)
    yield from _job_containers(job.containers, hierarchies)
    yield from _job_files(job, directory)
    for key, value in job.env.items():
        if not key or "=" in key or "\0" in key + value:
            yield ("env", key), f'"{key}" cannot be set: a variable\'s name has no "=" and no NUL'
    for name, timeout in (("timeout", job.timeout), ("cpu_timeout", job.cpu_timeout)):
        if timeout is not None and (problem := _duration(timeout)):
            yield (name,), problem
    yield from _retries(job)
    for place, code in enumerate(job.success.exit_codes):
        if not 0 <= code <= _HIGHEST_EXIT_CODE:
            yield ("success", "exit_codes", place), f"{code} is no exit code: {_EXIT_CODES}"
    if not job.success.exit_codes:
        yield ("success", "exit_codes"), "no exit code would be a success: at least one is needed"
    if job.success.output == "":
        yield ("success", "output"), "the text is empty; leave it out for none"


def _duration(value: str | int | float) -> str | None:
    """Return what is wrong with a duration that cannot be nothing."""
    try:
        return None if parse_duration(value) else "it must be longer than nothing; or leave it out"
    except ValueError as error:
        return str(error)


def _retries(job: Job) -> Iterator[Finding]:
    """How often, when and after which ends a job is started again."""
    if not 0 <= job.retries <= MOST_RETRIES:
        yield ("retries",), f"{job.retries} retries: allowed are 0 to {MOST_RETRIES}"
    for name, delay in (
        ("retry_delay", job.retry_delay),
        ("retry_max_delay", job.retry_max_delay),
    ):
        try:
            parse_duration(delay)
        except ValueError as error:
            yield (name,), str(error)
    for place, end in enumerate(job.retry_on):
        if isinstance(end, str) and end not in (FAILED, TIMEOUT):
            yield ("retry_on", place), unknown("end of a job", end, [FAILED, TIMEOUT])
        elif isinstance(end, int) and not 0 <= end <= _HIGHEST_EXIT_CODE:
            yield ("retry_on", place), f"{end} is no exit code: {_EXIT_CODES}"


def _command(job: Job) -> Iterator[Finding]:
    """There is a command; whether its program exists is seen when it is started, as in a shell."""
    words = [job.command] if isinstance(job.command, str) else job.command or [""]
    if job.command is None:
        yield ("command",), 'a job needs a command, such as ["make", "-j4"] or "make | tee log"'
    elif not words or not words[0].strip():
        yield ("command",), "the command is empty: it must begin with a program"
    elif any("\0" in word for word in words):
        yield ("command",), "a command cannot contain NUL"


def _job_containers(
    references: list[str], hierarchies: Mapping[str, Hierarchy]
) -> Iterator[Finding]:
    """Every container is declared, and there is at most one of each hierarchy."""
    seen: dict[str, str] = {}
    for index, reference in enumerate(references):
        where: Path = ("containers", index)
        try:
            name, path = container_reference(reference)
        except ValueError as error:
            yield where, str(error)
            continue
        if name not in hierarchies:
            yield where, unknown("hierarchy", name, hierarchies)
        elif path != "/" and path not in (declared := _declared(hierarchies[name])):
            yield where, unknown(f'container of hierarchy "{name}"', path, {"/", *declared})
        elif first := seen.get(name):
            yield where, f'a job is in one container of a hierarchy, and it is in "{first}" already'
        seen.setdefault(name, reference)


def _declared(hierarchy: Hierarchy) -> set[str]:
    """Return the paths of the containers that the file makes, the parents it implies included."""
    return {made for path in hierarchy.containers for made in (*parents(path), path)}


def _job_files(job: Job, directory: FilePath) -> Iterator[Finding]:
    """The working directory is one, what is read is readable, and what is written has a place.

    What is not there yet may be made by a job that comes before.
    """

    def made_before(path: FilePath) -> bool:
        return bool(job.after) and not path.exists()

    if not (cwd := directory / job.cwd).is_dir() and not made_before(cwd):
        yield ("cwd",), f'"{cwd}" is not a directory'
    stdin = directory / (job.stdin or os.devnull)
    if not os.access(stdin, os.R_OK) and not made_before(stdin):
        yield ("stdin",), f'"{stdin}" cannot be read'
    if job.stdin is not None and job.stdin_text is not None:
        yield ("stdin_text",), 'a job reads "stdin", a file, or "stdin_text", and not both'
    for key, name in (("stdout", job.stdout), ("stderr", job.stderr)):
        if name is None:
            continue
        target = directory / name
        if target.is_dir():
            yield (key,), f'"{target}" is a directory; a file is needed'
        elif made_before(target.parent):
            continue
        elif not os.access(target if target.exists() else target.parent, os.W_OK):
            yield (key,), f'"{target}" cannot be written'
