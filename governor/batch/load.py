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
    JobPlan,
    Mistake,
    Setting,
    parents,
)
from governor.units import parse_duration

if TYPE_CHECKING:
    from governor.batch.locate import Lines
    from governor.batch.schema import File, Hierarchy, Job

_TOMLLIB_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(source: str) -> BatchPlan:
    """Return what the batch file ``source`` asks for; `BatchFileError` has every mistake in it."""
    # Imported here: reading a file takes pydantic, and the command line must start without it.
    from governor.batch import checks, locate, schema
    from governor.batch.rehearse import rehearse

    text = _read(source)
    document = _parse(source, text)
    lines = locate.Lines(text)
    file, misshapen = schema.read(document)
    directory = FilePath(source).absolute().parent
    findings = misshapen + [
        (path, message)
        for path, message in checks.check(file, directory, lines.of)
        # What was cut away for its shape looks missing now; one message about it is enough.
        if not any(path[: len(cut)] == cut for cut, _ in misshapen)
    ]
    if findings:
        raise BatchFileError(source, [Mistake(lines.of(path), text) for path, text in findings])
    plan = _plan(source, file, directory, lines)
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


def _plan(source: str, file: File, directory: FilePath, lines: Lines) -> BatchPlan:
    """Turn a file without mistakes into plain values."""
    return BatchPlan(
        source,
        file.title or FilePath(source).stem,
        tuple(_hierarchy(name, found, lines) for name, found in file.hierarchies.items()),
        tuple(_job(job, directory) for job in file.jobs),
    )


def _hierarchy(name: str, hierarchy: Hierarchy, lines: Lines) -> HierarchyPlan:
    """Return the hierarchy with its containers and the parents they imply, parents first."""
    from governor.batch.checks import bound

    top = ("hierarchies", name)
    subsystems = tuple(bound(hierarchy.subsystems or []))
    plans: dict[str, ContainerPlan] = {}
    for path, settings in hierarchy.containers.items():
        where = (*top, "containers", path)
        line = lines.of(where)
        written = tuple(
            Setting(file, value, lines.of((*where, file))) for file, value in settings.items()
        )
        plans[path] = ContainerPlan(path, written, line)
    for path in hierarchy.containers:
        for parent in parents(path):
            plans.setdefault(parent, ContainerPlan(parent, (), plans[path].line))
    ordered = sorted(plans.values(), key=lambda plan: plan.path.split("/"))
    return HierarchyPlan(name, subsystems, tuple(ordered), lines.of(top))


def _job(job: Job, directory: FilePath) -> JobPlan:
    """Return the job with its paths made absolute and its command as an argument list."""
    from governor.batch.checks import container_reference

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(directory / path)

    command = job.command or []
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
    )
