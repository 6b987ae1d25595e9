"""What a batch file says: do the names exist, are the values possible, do the parts agree?

The shape is right already (`governor.batch.schema`). Each check is a generator of `Finding`; none
stops at the first, so that a user sees all mistakes at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Final

from governor import registry
from governor.batch.locate import Path
from governor.batch.plan import parents
from governor.batch.schema import File, Hierarchy, Job, unknown
from governor.core.container import split_path
from governor.errors import GovernorError
from governor.subsystem import ControlFile
from governor.units import parse_duration

Finding = tuple[Path, str]
"""Where something is wrong in the document, and what it is and what would be right."""

LineOf = Callable[[Path], int]

NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
NAME_RULE: Final = "allowed are 1 to 100 letters, digits, '.', '_' and '-'"


INSTANCE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
ALL: Final = "all"


def check(file: File, directory: FilePath, line_of: LineOf) -> Iterator[Finding]:
    """Yield everything that is wrong with ``file``, whose relative paths start at ``directory``."""
    yield from _bindings(file, line_of)
    for name, hierarchy in file.hierarchies.items():
        yield from _hierarchy(name, hierarchy)
    if not file.jobs:
        yield ("jobs",), "no jobs: at least one [[jobs]] table with a name and a command is needed"
    yield from _duplicate_names(file.jobs, line_of)
    for index, job in enumerate(file.jobs):
        for path, text in _job(job, directory, file.hierarchies):
            yield ("jobs", index, *path), text


def container_reference(text: str) -> tuple[str, str]:
    """Return (hierarchy, path) of ``hierarchy:/path``; ValueError says how one is written."""
    hierarchy, colon, path = text.partition(":")
    if not colon or not NAME.fullmatch(hierarchy):
        raise ValueError(
            f'"{text}" is not a container: write HIERARCHY:/PATH, such as cpu:/professors'
        )
    return hierarchy, _canonical(path)


def _canonical(path: str) -> str:
    """Return ``path`` when it is written as containers show it; ValueError says how that is."""
    try:
        right = "/" + "/".join(split_path(path))
    except GovernorError as error:
        raise ValueError(error.message) from None
    if path != right:
        raise ValueError(f'container path "{path}" must be written "{right}"')
    return path


def _bindings(file: File, line_of: LineOf) -> Iterator[Finding]:
    """Every subsystem exists and is bound once."""
    owners: dict[str, Path] = {}
    for name, hierarchy in file.hierarchies.items():
        for index, subsystem in enumerate(hierarchy.subsystems or ()):
            path = ("hierarchies", name, "subsystems", index)
            kind, at, instance = subsystem.partition("@")
            if kind not in (*registry.names(), ALL):
                yield path, unknown("subsystem", kind, registry.names())
            elif at and not INSTANCE.fullmatch(instance):
                yield path, f'"{subsystem}" is no named instance: write one as {kind}@projects'
            elif first := owners.get(subsystem):
                yield (
                    path,
                    (
                        f'subsystem "{subsystem}" is bound to hierarchy "{first[1]}" already '
                        f"(line {line_of(first)}); a subsystem belongs to one hierarchy, "
                        f"an instance of its own, such as {kind}@{name}, to another"
                    ),
                )
            else:
                owners[subsystem] = path


def _hierarchy(name: str, hierarchy: Hierarchy) -> Iterator[Finding]:
    """The hierarchy's own names, and everything in its containers."""
    top: Path = ("hierarchies", name)
    if not NAME.fullmatch(name):
        yield top, f'"{name}" cannot be the name of a hierarchy: {NAME_RULE}'
    if not hierarchy.subsystems:
        yield (
            (*top, "subsystems"),
            (
                f'hierarchy "{name}" needs subsystems = [...] with at least one of '
                f"{', '.join(registry.names())}"
            ),
        )
    files = _control_files(hierarchy.subsystems or [])
    for path, settings in hierarchy.containers.items():
        try:
            _canonical(path)
        except ValueError as error:
            yield (*top, "containers", path), str(error)
        for file, value in settings.items():
            if problem := _setting(file, value, files):
                yield (*top, "containers", path, file), problem


def bound(subsystems: list[str]) -> list[str]:
    """Return the labels of subsystems to bind, with the names that ``all`` stands for."""
    return registry.names() if ALL in subsystems else subsystems


def _control_files(subsystems: list[str]) -> Mapping[str, ControlFile]:
    """Return the control files of those of ``subsystems`` that exist, by their full names."""
    files: dict[str, ControlFile] = {}
    kinds = {label.partition("@")[0] for label in bound(subsystems)}
    for name in kinds & set(registry.names()):
        files.update(registry.load(name).populate())
    return files


def _setting(name: str, value: int | str, files: Mapping[str, ControlFile]) -> str | None:
    """Return what is wrong with writing ``value`` into the control file ``name``, if anything."""
    writable = [known for known, file in files.items() if file.writable]
    if name not in files:
        subsystem = name.partition(".")[0]
        if subsystem in registry.names() and name in registry.load(subsystem).populate():
            return f'"{name}" needs "{subsystem}" among the subsystems of this hierarchy'
        return unknown("control file", name, writable)
    file = files[name]
    if file.parse is None or not file.writable:
        return f'"{name}" is read-only; can be written: {", ".join(sorted(writable)) or "none"}'
    try:
        file.parse(value)
    except ValueError as error:
        return f"{name}: {error}"
    return None


def _duplicate_names(jobs: list[Job], line_of: LineOf) -> Iterator[Finding]:
    """Names tell jobs apart in the progress, the table and the report."""
    first: dict[str, int] = {}
    for index, job in enumerate(jobs):
        if job.name is not None and first.setdefault(job.name, index) != index:
            line = line_of(("jobs", first[job.name], "name"))
            yield ("jobs", index, "name"), f'another job is named "{job.name}" (line {line})'


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
    if job.timeout is not None:
        try:
            if not parse_duration(job.timeout):
                yield ("timeout",), "a timeout must be longer than nothing; leave it out for none"
        except ValueError as error:
            yield ("timeout",), str(error)


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
    """The working directory is one, what is read is readable, and what is written has a place."""
    if not (directory / job.cwd).is_dir():
        yield ("cwd",), f'"{directory / job.cwd}" is not a directory'
    if job.stdin is not None and not os.access(directory / job.stdin, os.R_OK):
        yield ("stdin",), f'"{directory / job.stdin}" cannot be read'
    for key, name in (("stdout", job.stdout), ("stderr", job.stderr)):
        if name is None:
            continue
        target = directory / name
        if target.is_dir():
            yield (key,), f'"{target}" is a directory; a file is needed'
        elif not os.access(target if target.exists() else target.parent, os.W_OK):
            yield (key,), f'"{target}" cannot be written'
