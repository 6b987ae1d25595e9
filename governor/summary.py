"""The end of a run for people: who used what, and who was refused what.

Nothing here knows a subsystem. A resource NAME is whatever has a control file NAME.held; columns
and sentences come from NAME.held, NAME.maxheld, NAME.limit and NAME.failcnt, so the resource of a
third party's subsystem shows up as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from governor.report import JobReport, Report
from governor.results import ENFORCED, OBSERVED, PARTIAL
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


_WIDTH: Final = 80
"""Tables of containers that would be wider are divided between resources."""

_ROOT: Final = "/"


class Column(NamedTuple):
    """A column of a table. ``group`` is written once over neighbouring columns that share it."""

    title: str
    right: bool = True
    group: str = ""


def summarize(report: Report) -> str:
    """Return the tables of jobs and containers and the sentences about refusals."""
    parts = [_job_table(report.jobs)] if report.jobs else []
    for _, group in groupby(report.containers, key=lambda container: container.hierarchy):
        parts.extend(_container_tables(list(group)))
    sentences = [*refusals(report.containers), *unenforced(report)]
    if sentences:
        parts.append("\n".join(sentences))
    return "\n\n".join(parts)


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as aligned lines, without trailing blanks."""
    lines = [[column.title for column in columns], *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(cells, widths, columns, strict=True)
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


def unenforced(report: Report) -> Iterator[str]:
    """Yield a sentence for everything not enforced in full, so that no limit only seems to hold."""
    for level in (PARTIAL, OBSERVED):
        names = [name for name, found in report.enforcement.items() if found == level]
        if names:
            yield _wrapped(f"not enforced in full but {level} (governor doctor says why): ", names)
    for job in report.jobs:
        if job.unenforced:
            yield f"{job.name} ran without its limits: {job.unenforced}"
    for container in report.containers:
        for subsystem, level in container.level.items():
            if level not in (ENFORCED, report.enforcement.get(subsystem)):
                yield f"{container.hierarchy}:{container.path}: {subsystem} is only {level} there"


def _wrapped(start: str, words: Sequence[str]) -> str:
    import textwrap

    return textwrap.fill(start + ", ".join(words), _WIDTH, subsequent_indent="  ")


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
    """Where the job ran, if it did, and what governor has to say about its end."""
    where = " ".join(job.containers)
    attempts = len(job.attempts)
    remarks = [
        "done earlier" if job.earlier else None,
        job.error or job.unmet or job.skipped,
        "used up its CPU time" if job.cpu_timed_out else None,
        f"{attempts} attempts" if attempts > 1 else None,
    ]
    told = ", ".join(filter(None, remarks))
    return f"{where} ({told})".lstrip() if told else where


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
        if table and width + wanted > _WIDTH:
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
