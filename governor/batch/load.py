"""Reading a batch file: all of it is right, or every mistake in it is told with its line."""

from __future__ import annotations

import os
import re
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from governor.batch.plan import (
    BatchFileError,
    BatchPlan,
    ContainerPlan,
    HierarchyPlan,
    Mistake,
    Setting,
    is_stream,
    parents,
)

if TYPE_CHECKING:
    from governor.batch.locate import Lines
    from governor.batch.matrix import Expansion
    from governor.batch.schema import File, Hierarchy

_TOMLLIB_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(source: str) -> BatchPlan:
    """Return what the batch file ``source`` asks for; `BatchFileError` has every mistake in it."""
    # Imported here: reading a file takes pydantic, and the command line must start without it.
    from governor.batch import checks, job_checks, locate, matrix, schema
    from governor.batch.rehearse import rehearse

    text = _read(source)
    document = _parse(source, text)
    lines = locate.Lines(text)
    file, misshapen = schema.read(document)
    directory = FilePath.cwd() if is_stream(source) else FilePath(source).absolute().parent
    found = matrix.expand(file, directory)
    findings = misshapen + [
        (path, message)
        for path, message in (
            *checks.check(file, lines.of),
            *found.findings,
            *job_checks.check_jobs(file, found, directory, lines.of),
        )
        # What was cut away for its shape looks missing now; one message about it is enough.
        if not any(path[: len(cut)] == cut for cut, _ in misshapen)
    ]
    if findings:
        raise BatchFileError(source, [Mistake(lines.of(path), text) for path, text in findings])
    plan = _plan(source, file, found, directory, lines)
    if refused := list(rehearse(plan)):
        raise BatchFileError(source, refused)
    return plan


def _read(source: str) -> str:
    """Return the file's text."""
    try:
        data = FilePath(source).read_bytes()
    except OSError as error:
        message = f"cannot be read: {os.strerror(error.errno or 0)}"
        raise BatchFileError(source, [Mistake(0, message)]) from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BatchFileError(source, [Mistake(line, "not UTF-8 text, as TOML must be")]) from None


def _parse(source: str, text: str) -> dict[str, Any]:
    """Return the TOML document."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _TOMLLIB_PLACE.search(message)
        line = int(place[1]) if place and place[1] else text.rstrip().count("\n") + 1
        column = f" (column {place[2]})" if place and place[2] else ""
        reason = _TOMLLIB_PLACE.sub("", message)
        mistake = Mistake(line, f"not TOML: {reason}{column}")
        raise BatchFileError(source, [mistake]) from None


def _plan(
    source: str, file: File, found: Expansion, directory: FilePath, lines: Lines
) -> BatchPlan:
    """Turn a file without mistakes into plain values."""
    from governor.batch.job_plan import job_plan
    from governor.batch.order_checks import predecessors

    after = predecessors(found)
    return BatchPlan(
        source,
        file.title or FilePath(source).stem,
        tuple(_hierarchy(name, found, lines) for name, found in file.hierarchies.items()),
        tuple(
            job_plan(
                instance,
                after[instance.job.name or ""],
                file.jobs[instance.number].name or "",
                directory,
                lines.of(("jobs", instance.number)),
            )
            for instance in found.instances
        ),
    )


def _hierarchy(name: str, hierarchy: Hierarchy, lines: Lines) -> HierarchyPlan:
    """Return the hierarchy with its containers and the parents they imply, parents first."""
    from governor.batch.checks import MAX_JOBS, bound

    top = ("hierarchies", name)
    subsystems = tuple(bound(hierarchy.subsystems or []))
    plans: dict[str, ContainerPlan] = {}
    for path, settings in hierarchy.containers.items():
        where = (*top, "containers", path)
        line = lines.of(where)
        written = tuple(
            Setting(file, value, lines.of((*where, file)))
            for file, value in settings.items()
            if file != MAX_JOBS
        )
        most = settings.get(MAX_JOBS)
        plans[path] = ContainerPlan(path, written, line, None if most is None else int(most))
    for path in hierarchy.containers:
        for parent in parents(path):
            plans.setdefault(parent, ContainerPlan(parent, (), plans[path].line))
    ordered = sorted(plans.values(), key=lambda plan: plan.path.split("/"))
    return HierarchyPlan(name, subsystems, tuple(ordered), lines.of(top))
