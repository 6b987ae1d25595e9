"""What a batch file says: do the names exist, are the values possible, do the parts agree?

The shape is right already (`governor.batch.schema`), and `governor.batch.job_checks` looks at the
jobs. Each check is a generator of `Finding`; none
stops at the first, so that a user sees all mistakes at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from governor import registry
from governor.batch.locate import Path
from governor.batch.schema import File, Hierarchy, unknown
from governor.core.container import split_path
from governor.errors import GovernorError
from governor.subsystem import ControlFile

Finding = tuple[Path, str]
"""Where something is wrong in the document, and what it is and what would be right."""

LineOf = Callable[[Path], int]

NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
NAME_RULE: Final = "allowed are 1 to 100 letters, digits, '.', '_' and '-'"


INSTANCE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
ALL: Final = "all"

MAX_JOBS: Final = "max_jobs"
"""The one key of a container that is no control file."""


def check(file: File, line_of: LineOf) -> Iterator[Finding]:
    """Yield everything that is wrong with the hierarchies and containers of ``file``."""
    yield from _bindings(file, line_of)
    for name, hierarchy in file.hierarchies.items():
        yield from _hierarchy(name, hierarchy)


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
    """Return what is wrong with ``value`` for the control file ``name``, if anything."""
    if name == MAX_JOBS:
        allowed = isinstance(value, int) and value > 0
        return None if allowed else f"{MAX_JOBS} must be a whole number from 1, not {value!r}"
    writable = [known for known, file in files.items() if file.writable]
    if name not in files:
        subsystem = name.partition(".")[0]
        if subsystem in registry.names() and name in registry.load(subsystem).populate():
            return f'"{name}" needs "{subsystem}" among the subsystems of this hierarchy'
        return unknown("control file", name, [*writable, MAX_JOBS])
    file = files[name]
    if file.parse is None or not file.writable:
        return f'"{name}" is read-only; can be written: {", ".join(sorted(writable)) or "none"}'
    try:
        file.parse(value)
    except ValueError as error:
        return f"{name}: {error}"
    return None
