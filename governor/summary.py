"""The end of a run for people: who used what, and who was refused what.

Nothing here knows a subsystem. A resource NAME is whatever has a control file NAME.held; columns
and sentences come from NAME.held, NAME.maxheld, NAME.limit and NAME.failcnt, so the resource of a
third party's subsystem shows up as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from governor.report import JobReport, Report
from governor.units import format_duration

if TYPE_CHECKING:
    from governor.api import ContainerReport

ENFORCED: Final = "enforced"

_COLUMNS: Final = {"held": "held", "maxheld": "max", "limit": "limit", "failcnt": "refused"}
"""Files of a counted resource, and what their columns are called."""

_REQUESTS: Final = {"tasks": "forks", "files": "opens"}
"""What requests for a resource are called in sentences; those for any other are "requests"."""

_UNITS: Final = {"sock": "sockets", "pty": "terminals", "flock": "locks", "siginfo": "signals"}
"""What is counted where a resource's name does not say it in English."""

_NANOSECONDS: Final = ".usage"
"""Files that end so count nanoseconds of CPU time, as cgroup v1's cpuacct.usage."""


class Column(NamedTuple):
    """A column of a table. ``group`` is written once over neighbouring columns that share it."""

    title: str
    right: bool = True
    group: str = ""


def summarize(report: Report) -> str:
    """Return the tables of jobs and containers and the sentences about refusals."""
    parts = [_job_table(report.jobs)] if report.jobs else []
    for _, group in groupby(report.containers, key=lambda container: container.hierarchy):
        parts.append(_container_table(list(group)))
    sentences = [*refusals(report.containers), *_unenforced(report)]
    if sentences:
        parts.append("\n".join(sentences))
    return "\n\n".join(parts)


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as aligned lines, without trailing blanks."""
    lines = [[column.title for column in columns], *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([*_group_line(columns, widths), *map(line, lines)])


def _group_line(columns: Sequence[Column], widths: Sequence[int]) -> Iterator[str]:
    """Yield the line of group titles, each over the left edge of its first column, if any."""
    text, offset, previous = "", 0, ""
    for column, width in zip(columns, widths, strict=True):
        if column.group not in ("", previous):
            text = f"{text:{offset}}{column.group}"
        previous = column.group
        offset += width + 2
    if text:
        yield text


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


def _bounds(container: ContainerReport, resource: str) -> str:
    """Return what callers are refused at: the limit, and the barrier where one is set."""
    limit = f"limit of {number(container.files[f'{resource}.limit'])}"
    barrier = container.files.get(f"{resource}.barrier", "max")
    return limit if barrier == "max" else f"barrier of {number(barrier)} or {limit}"


def _unenforced(report: Report) -> Iterator[str]:
    """Yield a sentence for everything not enforced in full, so that no limit only seems to hold."""
    for subsystem, level in report.enforcement.items():
        if level != ENFORCED:
            yield f"{subsystem} is {level} on this host, not enforced: governor doctor says why"
    for job in report.jobs:
        if job.unenforced:
            yield f"{job.name} ran without its limits: {job.unenforced}"
    for container in report.containers:
        for subsystem, level in container.level.items():
            if level not in (ENFORCED, report.enforcement.get(subsystem)):
                yield f"{container.hierarchy}:{container.path}: {subsystem} is only {level} there"


def _job_table(jobs: Sequence[JobReport]) -> str:
    """One row per job."""
    left = Column("job", right=False), Column("status", right=False)
    numbers = Column("exit"), Column("wall"), Column("cpu")
    rows = [[job.name, job.status, *_job_figures(job), _job_remark(job)] for job in jobs]
    return render([*left, *numbers, Column("containers", right=False)], rows)


def _job_figures(job: JobReport) -> list[str]:
    """Exit code and times; nothing of a job that has none."""
    if job.exit_code is None:
        return ["", "", ""]
    times = format_duration(job.wall_seconds), format_duration(job.cpu_seconds)
    return [str(job.exit_code), *times]


def _job_remark(job: JobReport) -> str:
    """Where the job ran, and what governor has to say about its end."""
    where = " ".join(job.containers)
    return f"{where} ({job.error})".lstrip() if job.error else where


def _container_table(containers: Sequence[ContainerReport]) -> str:
    """One row per container of one hierarchy, with the columns its control files give."""
    files = dict(_columns(containers[0].files))
    rows = [
        [f"{container.hierarchy}:{container.path}"]
        + [_cell(name, container.files.get(name, "")) for name in files]
        for container in containers
    ]
    return render([Column("container", right=False), *files.values()], rows)


def _columns(files: Mapping[str, int | str]) -> Iterator[tuple[str, Column]]:
    """Yield (control file, its column): resources in groups, CPU time, then the rest as it is."""
    counted = resources(files)
    for resource in counted:
        for suffix, title in _COLUMNS.items():
            if f"{resource}.{suffix}" in files:
                yield f"{resource}.{suffix}", Column(title, group=noun(resource))
    measured = [name.removesuffix(_NANOSECONDS) for name in files if name.endswith(_NANOSECONDS)]
    for name in files:
        subsystem, _, suffix = name.partition(".")
        if name.endswith(_NANOSECONDS):
            yield name, Column("cpu")
        elif suffix and subsystem not in [*counted, *measured]:
            yield name, Column(suffix)


def _cell(name: str, value: int | str) -> str:
    """Return a control file's value for a table."""
    if name.endswith(_NANOSECONDS) and isinstance(value, int):
        return format_duration(value / 1e9)
    return number(value)
