"""One table of a batch file that stands for many jobs: every combination of some values.

``{AXIS}`` in any text of the table becomes the value; of a path, ``{AXIS.name}`` is its last part
and ``{AXIS.stem}`` that without its ending.
"""

from __future__ import annotations

import glob
import itertools
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path as FilePath
from pathlib import PurePath
from typing import Any, Final, NamedTuple

from governor.batch.locate import Path
from governor.batch.schema import Axis, File, Glob, Job

Finding = tuple[Path, str]

MOST_JOBS: Final = 10_000
"""In one file: the progress, the tables and the record are made for so many."""

_AXIS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)
_PARTS: Final[Mapping[str, Callable[[str], str]]] = {
    "": str,
    "name": lambda value: PurePath(value).name,
    "stem": lambda value: PurePath(value).stem,
}


class Instance(NamedTuple):
    """A job of a table, with nothing left to put in; ``values`` by axis."""

    number: int
    job: Job
    values: Mapping[str, str]


class Expansion(NamedTuple):
    """All jobs, and the names of those of each table by its own name.

    Of the tables in ``broken`` there are none; ``findings`` say what is wrong with them.
    """

    instances: list[Instance]
    tables: Mapping[str, list[str]]
    broken: list[int]
    findings: list[Finding]


def expand(file: File, directory: FilePath) -> Expansion:
    """Return the jobs of a file whose paths start at ``directory``.

    A matrix with mistakes has no jobs; of the others of its file all is known nevertheless.
    """
    instances: list[Instance] = []
    tables: dict[str, list[str]] = {}
    broken: list[int] = []
    findings: list[Finding] = []
    for index, job in enumerate(file.jobs):
        made: list[Instance] = []
        wrong: list[Finding] = []
        if job.matrix:
            values, wrong = _values(job.matrix, directory)
            wrong = [*wrong, *_too_many(values, len(instances))]
            if not wrong:
                made, wrong = _combined(index, job, values)
        else:
            made = [Instance(index, job, {})]
        instances += made
        broken += [index] if wrong else []
        findings += [(("jobs", index, *path), text) for path, text in wrong]
        if job.name is not None:
            names = tables.setdefault(job.name, [])
            names += [instance.job.name or "" for instance in made]
    return Expansion(instances, tables, broken, findings)


def _values(
    matrix: Mapping[str, Axis], directory: FilePath
) -> tuple[dict[str, list[str]], list[Finding]]:
    """Return the values of every axis as texts."""
    found: dict[str, list[str]] = {}
    findings: list[Finding] = []
    for name, axis in matrix.items():
        where: Path = ("matrix", name)
        if not _AXIS.fullmatch(name):
            rule = "allowed are letters, digits, '_' and '-', a letter first"
            findings.append((where, f'"{name}" cannot be the name of an axis: {rule}'))
        if isinstance(axis, Glob):
            found[name] = _files(axis.glob, directory)
            if not found[name]:
                findings.append((where, f'no file matches "{directory / axis.glob}"'))
        else:
            found[name] = [_text(value) for value in axis]
            if not axis:
                findings.append((where, f'"{name}" has no values: at least one is needed'))
    return found, findings


def _files(pattern: str, directory: FilePath) -> list[str]:
    """Return the names that match, as the pattern writes them, in order."""
    matches = glob.iglob(pattern, root_dir=directory, recursive=True)
    # One more than is allowed is enough to know, and a tree may have millions.
    return sorted(itertools.islice(matches, MOST_JOBS + 1))


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _too_many(values: Mapping[str, list[str]], before: int) -> Iterator[Finding]:
    number = math.prod(map(len, values.values()))
    if before + number > MOST_JOBS:
        yield (
            ("matrix",),
            f"the matrix has {number:,} combinations, and a file at most {MOST_JOBS:,} jobs",
        )


def _combined(
    index: int, job: Job, values: Mapping[str, list[str]]
) -> tuple[list[Instance], list[Finding]]:
    """Return a job for every combination, the last axis the fastest."""
    template = job.model_dump()
    # They apply to all of its jobs, and their texts are no texts of a job.
    del template["matrix"], template["retry_on"]
    placeholder = re.compile(rf"(?<!\$)\{{({'|'.join(map(re.escape, values))})(?:\.(\w*))?\}}")
    name = job.name
    if name is not None and not placeholder.search(name):
        template["name"] = "-".join([name, *(f"{{{axis}}}" for axis in values)])
    if findings := list(_unknown_parts(template, (), placeholder)):
        return [], findings
    instances = []
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        fields = {
            key: _filled(value, partial(_put, placeholder, chosen, _spelling(key, value)))
            for key, value in template.items()
        }
        instances.append(Instance(index, job.model_copy(update=_models(fields)), chosen))
    return instances, []


def _models(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields of a job with a model again where there was one."""
    filled = Job.model_validate(fields)
    return {name: getattr(filled, name) for name in fields}


def _spelling(key: str, value: object) -> Callable[[str], str]:
    """Return how a value is written in a text of this key."""
    if key in ("name", "after"):
        return lambda text: _UNFIT.sub("_", text)
    # What a shell is to read must stay one word of it, whatever a file is called.
    return shlex.quote if key == "command" and isinstance(value, str) else str


def _put(
    placeholder: re.Pattern[str],
    values: Mapping[str, str],
    spelling: Callable[[str], str],
    text: str,
) -> str:
    def replaced(match: re.Match[str]) -> str:
        return spelling(_PARTS[match[2] or ""](values[match[1]]))

    return placeholder.sub(replaced, text)


def _filled(value: Any, fill: Callable[[str], str]) -> Any:
    """Return a value with all texts in it filled, but the keys of tables."""
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, list):
        return [_filled(item, fill) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, fill) for key, item in value.items()}
    return value


def _unknown_parts(value: Any, path: Path, placeholder: re.Pattern[str]) -> Iterator[Finding]:
    """Yield what is wrong with the placeholders in all texts of a value."""
    if isinstance(value, str):
        for match in placeholder.finditer(value):
            if (match[2] or "") not in _PARTS or match[0].endswith(".}"):
                axis = match[1]
                right = ", ".join(f"{{{axis}{part}}}" for part in ("", ".name", ".stem"))
                yield path, f'"{match[0]}" is no part of a value; there are {right}'
    elif isinstance(value, list | dict):
        items = enumerate(value) if isinstance(value, list) else value.items()
        for key, item in items:
            yield from _unknown_parts(item, (*path, key), placeholder)
