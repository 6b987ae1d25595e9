"""What a batch would do: which jobs, in which order, where, and under which limits."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from governor.batch.history import NOTHING, History, Unreadable, read
from governor.batch.joblog import written
from governor.batch.load import load
from governor.batch.plan import (
    BatchFileError,
    ContainerPlan,
    JobPlan,
    Mistake,
    one_line,
    parents,
)
from governor.batch.record import beside, refusal
from governor.batch.resume import Resumption, sentences
from governor.batch.schedule import order
from governor.batch.settled import found_in
from governor.batch.tasks import tasks
from governor.table import WIDTH
from governor.units import format_duration

if TYPE_CHECKING:
    from governor.batch.session import Options


def describe(options: Options) -> Iterator[str]:
    """Yield the lines that tell what a run with these options would do; nothing is changed.

    The order is that of one job at a time which all succeed. Raises `BatchFileError` for a file
    with mistakes, or a record that cannot be read.
    """
    plan = load(options.file)
    found = Resumption({}, {})
    if options.resume:
        history = _history(options.file, options.record)
        found = found_in(history, plan, options.settled)
        if history.jobs:
            yield from sentences(found, len(plan.jobs))
        else:
            yield "no earlier run is on record: all jobs would run"
    wanted = order(tasks(plan), found.earlier)
    yield (
        f"{one_line(plan.title)}: {len(wanted)} job{'s' * (len(wanted) != 1)} would run, up to "
        f"{options.parallel} at once; nothing was started"
    )
    by_name = {job.name: job for job in plan.jobs}
    containers = {
        (hierarchy.name, container.path): container
        for hierarchy in plan.hierarchies
        for container in hierarchy.containers
    }
    width = len(str(len(wanted)))
    for number, name in enumerate(wanted, 1):
        job = by_name[name]
        yield f"{number:>{width}}  {name}: {one_line(written(job.argv).strip())}"
        for line in _conditions(job, containers):
            yield from _indented(line, width + 4)


def _indented(line: str, by: int) -> Iterator[str]:
    blanks = " " * by
    yield from textwrap.wrap(
        one_line(line),
        max(WIDTH, by + 1),
        initial_indent=blanks,
        subsequent_indent=f"{blanks}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _history(source: str, chosen: str | None) -> History:
    """Return what is on record, which is not locked: a batch that uses it may go on."""
    path = chosen or beside(source)
    if path is None:
        return NOTHING
    try:
        with open(path, "rb") as file:
            return read(file.read())
    except FileNotFoundError:
        return NOTHING
    except Unreadable as error:
        raise refusal(path, error) from None
    except OSError as error:
        reason = f"cannot be read: {os.strerror(error.errno or 0)}"
        raise BatchFileError(path, [Mistake(0, reason)]) from None


def _conditions(job: JobPlan, containers: Mapping[tuple[str, str], ContainerPlan]) -> Iterator[str]:
    """Yield where a job runs, what limits it, and what it waits for."""
    for hierarchy, path in job.containers:
        yield f"in {hierarchy}:{path}{_limits(hierarchy, path, containers)}"
    times = [
        f"{what} {format_duration(seconds)}"
        for what, seconds in (("timeout", job.timeout), ("CPU timeout", job.cpu_timeout))
        if seconds is not None
    ]
    if job.retry.times:
        times.append(f"retries {job.retry.times}")
    if job.priority:
        times.append(f"priority {job.priority}")
    if times:
        yield ", ".join(times)
    if job.after:
        yield f"after {', '.join(job.after)}"


def _limits(hierarchy: str, path: str, containers: Mapping[tuple[str, str], ContainerPlan]) -> str:
    """Return the settings of a container and of those above it, which hold for it as well."""
    told = []
    above = ["/", *parents(path)] if path != "/" else []
    for place in (path, *reversed(above)):
        container = containers.get((hierarchy, place))
        if container is None:
            continue
        settings = [f"{setting.file} {setting.value}" for setting in container.settings]
        if container.max_jobs is not None:
            settings.append(f"max_jobs {container.max_jobs}")
        if settings:
            told.append(f"{'' if place == path else f'{place}: '}{', '.join(settings)}")
    return f" ({'; '.join(told)})" if told else ""
