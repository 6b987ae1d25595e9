"""The end of a run for people: who used what, and who was refused what.

Nothing here knows a subsystem. A resource NAME is whatever has a control file NAME.held; columns
and sentences come from NAME.held, NAME.maxheld, NAME.limit and NAME.failcnt, so the resource of a
third party's subsystem shows up as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from governor.job_table import job_table, tally
from governor.report import JobReport, Report
from governor.results import ENFORCED, OBSERVED, PARTIAL
from governor.table import WIDTH, Column, render, wrapped
from governor.units import format_duration

if TYPE_CHECKING:
    from governor.api import ContainerReport

_COLUMNS: Final = {"held": "held", "maxheld": "max", "limit": "limit", "failcnt": "refused"}
"""Files of a counted resource, and what their columns are called."""

_REQUESTS: Final = {"tasks": "forks", "files": "opens"}
"""What requests for a resource are called in sentences; those for any other are "requests"."""

_UNITS: Final = {"sock": "sockets", "pty": "terminals", "flock": "locks", "siginfo": "signals"}
"""What is counted where a resource's name does not say it in English."""

_NANOSECONDS: Final = ".usage"
"""Files that end so count nanoseconds of CPU time, as cgroup v1's cpuacct.usage."""


_ROOT: Final = "/"


def summarize(report: Report) -> str:
    """Return the tables of jobs and containers and the sentences about refusals."""
    parts = list(job_table(report.jobs))
    for _, group in groupby(report.containers, key=lambda container: container.hierarchy):
        parts.extend(_container_tables(list(group)))
    sentences = [
        *refusals(report.containers),
        *job_refusals(report.jobs),
        *unenforced(report),
    ]
    if sentences:
        parts.append("\n".join(sentences))
    if len(report.jobs) > 1:
        parts.append(tally(report.jobs, report.wall_seconds))
    return "\n\n".join(parts)


def resources(files: Iterable[str]) -> list[str]:
    """Return the counted resources of control files: numtasks where there is numtasks.held."""
    return [name.removesuffix(".held") for name in files if name.endswith(".held")]


def noun(resource: str) -> str:
    """Return what a resource's units are called: the tasks of numtasks."""
    short = resource.removeprefix("num")
    return _UNITS.get(short, short)


def number(value: int | str) -> str:
    """Return a count with thousands set apart; texts (``max``) as they are."""
    return f"{value:,}" if isinstance(value, int) else value


def refusals(containers: Iterable[ContainerReport]) -> Iterator[str]:
    """Yield a sentence for every container and resource that something was refused of."""
    for container in containers:
        for resource in resources(container.files):
            refused = container.files.get(f"{resource}.failcnt", 0)
            if not isinstance(refused, int) or refused == 0:
                continue
            requests = _REQUESTS.get(noun(resource), "requests")
            yield (
                f"{container.hierarchy}:{container.path} refused {refused:,} "
                f"{requests if refused != 1 else requests.removesuffix('s')} at its "
                f"{_bounds(container, resource)} {noun(resource)}"
            )


def job_refusals(jobs: Iterable[JobReport]) -> Iterator[str]:
    """Yield a sentence for everything that was refused to a job that did not succeed."""
    for job in jobs:
        if job.exit_code and not job.error:
            for refusal in job.refusals:
                yield f"{job.name} was refused {refusal}"


def _bounds(container: ContainerReport, resource: str) -> str:
    """Return what callers are refused at: the limit, and the barrier where one is set."""
    limit = f"limit of {number(container.files[f'{resource}.limit'])}"
    barrier = container.files.get(f"{resource}.barrier", "max")
    return limit if barrier == "max" else f"barrier of {number(barrier)} or {limit}"


def unenforced(report: Report) -> Iterator[str]:
    """Yield a sentence for everything not enforced in full, so that no limit only seems to hold."""
    for level in (PARTIAL, OBSERVED):
        names = [name for name, found in report.enforcement.items() if found == level]
        if names:
            start = f"not enforced in full but {level} (governor doctor says why): "
            yield wrapped(start, ", ".join(names))
    for job in report.jobs:
        if job.unenforced:
            yield f"{job.name} ran without its limits: {job.unenforced}"
    for container in report.containers:
        for subsystem, level in container.level.items():
            if level not in (ENFORCED, report.enforcement.get(subsystem)):
                yield f"{container.hierarchy}:{container.path}: {subsystem} is only {level} there"


def _container_tables(containers: Sequence[ContainerReport]) -> Iterator[str]:
    """The tables of one hierarchy, of a row per container: one, unless that is too wide."""
    label = Column("container", right=False)
    labels = [f"{container.hierarchy}:{container.path}" for container in containers]
    for files in _divided(containers, max(map(len, (label.title, *labels)))):
        rows = [
            [name, *(cell(file, container.files.get(file, "")) for file in files)]
            for name, container in zip(labels, containers, strict=True)
        ]
        yield render([label, *files.values()], rows)


def _divided(
    containers: Sequence[ContainerReport], label_width: int
) -> Iterator[dict[str, Column]]:
    """Yield as many columns at a time as fit beside the labels; those of a group stay together."""
    table: dict[str, Column] = {}
    width = label_width
    for _, group in groupby(columns_of(containers), key=lambda item: item[1].group or item[0]):
        files = dict(group)
        wanted = sum(_width(file, column, containers) + 2 for file, column in files.items())
        if table and width + wanted > WIDTH:
            yield table
            table, width = {}, label_width
        table |= files
        width += wanted
    if table:
        yield table


def _width(file: str, column: Column, containers: Sequence[ContainerReport]) -> int:
    cells = (cell(file, container.files.get(file, "")) for container in containers)
    return max(len(column.title), *map(len, cells))


def columns_of(containers: Sequence[ContainerReport]) -> Iterator[tuple[str, Column]]:
    """Yield (control file, its column): resources in groups, CPU time, then what is set apart."""
    files = containers[0].files
    counted = resources(files)
    for resource in counted:
        if any(_is_used(container, resource) for container in containers):
            for suffix, title in _COLUMNS.items():
                if f"{resource}.{suffix}" in files:
                    yield f"{resource}.{suffix}", Column(title, group=noun(resource))
    measured = [name.removesuffix(_NANOSECONDS) for name in files if name.endswith(_NANOSECONDS)]
    for name in files:
        subsystem, _, suffix = name.partition(".")
        if name.endswith(_NANOSECONDS):
            yield name, Column("cpu")
        elif suffix and subsystem not in [*counted, *measured] and _tells(name, containers):
            yield name, Column(suffix)


def _is_used(container: ContainerReport, resource: str) -> bool:
    """Whether a container ever held any of a resource, or has a limit for it."""
    files = container.files
    held = files.get(f"{resource}.held"), files.get(f"{resource}.maxheld", 0)
    return held != (0, 0) or files.get(f"{resource}.limit", "max") != "max"


def _tells(name: str, containers: Sequence[ContainerReport]) -> bool:
    """Whether a file sets containers apart; flags do below the root, where others differ."""
    values = [container.files.get(name) for container in containers]
    if all(isinstance(value, int) for value in values):
        return len({c.files.get(name) for c in containers if c.path != _ROOT}) > 1
    subsystem, _, suffix = name.partition(".")
    derived = f"{subsystem}.{suffix.partition('_')[2]}"  # effective_cpus is mostly as cpus
    same = [container.files.get(derived) for container in containers] == values
    return not same and (len(values) == 1 or len(set(values)) > 1)


def cell(name: str, value: int | str) -> str:
    """Return a control file's value for a table."""
    if name.endswith(_NANOSECONDS) and isinstance(value, int):
        return format_duration(value / 1e9)
    return number(value)
