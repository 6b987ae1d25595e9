"""The shape of a batch file: which keys there are and of which type their values have to be.

Importing this module imports pydantic, so only the loader does, when there is a file to read.
Nothing is required here and nothing is looked up: a file whose wrong parts were cut away still
gives a `File`, so that `governor.batch.checks` can tell what else is wrong with it.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from governor.batch.locate import Path

Table = dict[str, Any]

_NAMED = 40
"""So many names are listed in a message."""


class Shape(BaseModel):
    """A table whose keys are known. Every field's description completes "KEY must be ..."."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Hierarchy(Shape):
    """``[hierarchies.NAME]``."""

    subsystems: list[str] | None = Field(
        None, description='a list of subsystems, such as ["numtasks", "numfiles"]'
    )
    containers: dict[str, dict[str, int | str]] = Field(
        {}, description='tables of control files, such as [hierarchies.NAME.containers."/path"]'
    )


class Glob(Shape):
    """The values of an axis of a matrix that are names of files."""

    glob: str = Field(description="a pattern of files' names, as text")


class Success(Shape):
    """``success`` of a job."""

    exit_codes: list[int] = Field([0], description="a list of exit codes, such as [0, 1]")
    files: list[str] = Field([], description="a list of files' paths, as texts")
    nonempty_files: list[str] = Field([], description="a list of files' paths, as texts")
    output: str | None = Field(None, description="a text")


Axis = list[str | int | float | bool] | Glob


class Job(Shape):
    """``[[jobs]]``."""

    name: str | None = Field(None, description="a text")
    command: str | list[str] | None = Field(
        None, description="a list of texts (program and arguments) or one text for /bin/sh -c"
    )
    containers: list[str] = Field([], description='a list such as ["cpu:/professors"]')
    cwd: str = Field(".", description="a directory, as text")
    env: dict[str, str] = Field({}, description='a table of texts, such as { LANG = "C" }')
    timeout: str | int | float | None = Field(
        None, description='a duration, such as "1m30s" or a number of seconds'
    )
    stdin: str | None = Field(None, description="a file's path, as text")
    stdin_text: str | None = Field(None, description="a text, in place of a file to read")
    stdout: str | None = Field(None, description="a file's path, as text")
    stderr: str | None = Field(None, description="a file's path, as text")
    after: list[str] = Field([], description='a list of names of jobs, such as ["build"]')
    priority: int = Field(0, description="a whole number; higher ones are started earlier")
    cpu_timeout: str | int | float | None = Field(
        None, description='a duration, such as "1m30s" or a number of seconds'
    )
    retries: int = Field(0, description="a whole number")
    retry_delay: str | int | float = Field(
        1.0, description='a duration, such as "500ms" or a number of seconds'
    )
    retry_max_delay: str | int | float = Field(
        60.0, description='a duration, such as "5m" or a number of seconds'
    )
    retry_on: list[str | int] = Field(
        ["failed", "timeout"], description='a list of "failed", "timeout" and exit codes'
    )
    success: Success = Field(Success(), description="a table, such as { exit_codes = [0, 1] }")
    matrix: dict[str, Axis] = Field(
        {}, description='a table of lists, such as { level = [1, 2], input = { glob = "*.csv" } }'
    )


class File(Shape):
    """The whole document."""

    title: str = Field("", description="a text")
    hierarchies: dict[str, Hierarchy] = Field(
        {}, description="tables, each written [hierarchies.NAME]"
    )
    jobs: list[Job] = Field([], description="tables, each written [[jobs]]")


def read(document: Table) -> tuple[File, list[tuple[Path, str]]]:
    """Return what can be used of a document, and (path, message) of what has the wrong shape."""
    try:
        return File.model_validate(document), []
    except ValidationError as error:
        found = {
            path: detail["type"] if path == detail["loc"] else "inside"
            for detail in reversed(error.errors())
            if (path := _cut_path(detail["loc"]))
        }
    usable = copy.deepcopy(document)
    mistakes = []
    for path, kind in found.items():
        value = _cut(usable, path)
        mistakes.append(
            (path, _unknown(path) if kind == "extra_forbidden" else _wrong(path, value))
        )
    return File.model_validate(usable), mistakes


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is none of ``known``, with the one nearest to it."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    if len(names) > _NAMED:
        names[_NAMED:] = [f"and {len(names) - _NAMED} others"]
    return f'unknown {what} "{name}"; {hint}allowed: {", ".join(names) or "none"}'


def _cut_path(location: tuple[int | str, ...]) -> Path:
    """Return the part of a pydantic location that can be cut out: a field, setting or table.

    What follows it in the location are list indices and the names of union members.
    """
    if location[0] == "hierarchies" and location[2:3] == ("containers",):
        return location[:5]
    if location[0] == "jobs" and location[2:3] in (("success",), ("matrix",)):
        return location[:4]
    return location[: 1 if location[0] not in ("hierarchies", "jobs") else 3]


def _cut(document: Table, path: Path) -> object:
    """Take the value at ``path`` out of ``document`` and return it.

    An element of an array leaves an empty table behind, so that the others keep their numbers.
    """
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    value = parent[path[-1]]
    if isinstance(parent, list):
        parent[int(path[-1])] = {}
    else:
        del parent[path[-1]]
    return value


def _model(path: Path) -> type[Shape]:
    """Return the model whose field the last key of ``path`` is, or would be."""
    if len(path) == 1:
        return File
    if path[0] == "hierarchies":
        return Hierarchy
    return Success if path[2:3] == ("success",) and len(path) > 3 else Job


def _unknown(path: Path) -> str:
    """Return the message for a key that the format does not have."""
    return unknown("key", str(path[-1]), _model(path).model_fields)


def _wrong(path: Path, value: object) -> str:
    """Return the message for a value of the wrong type."""
    key = path[-1]
    if path[0] == "hierarchies" and len(path) == 5:
        if isinstance(value, dict):
            names = " and ".join(f'"{name}"' for name in _flat_names(str(key), value))
            return f"write the name of a control file in quotes: {names}"
        return f'"{key}" must be a whole number or a text'
    if path[2:3] == ("matrix",) and len(path) == 4:
        return f'{key} must be a list of texts or numbers, or a table such as {{ glob = "*.csv" }}'
    if isinstance(key, int) or (path[0] == "hierarchies" and len(path) in (2, 4)):
        return f'"{key}" must be a table' if isinstance(key, str) else "a job must be a table"
    return f"{key} must be {_model(path).model_fields[str(key)].description}"


def _flat_names(prefix: str, value: Table) -> Iterator[str]:
    """Yield the dotted names of the leaves of a nested table."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat_names(f"{prefix}.{key}", inner)
        else:
            yield f"{prefix}.{key}"
