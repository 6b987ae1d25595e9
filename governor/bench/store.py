"""The result as JSON for programs; docs/performance.md explains it.

What is derived (estimates, verdicts) is written for readers of the file; here only samples and
facts are read back, and everything is derived from them again.
"""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import Any

from governor.bench import footprint, schema, statistics, targets
from governor.bench.result import Part, Place, Result
from governor.bench.statistics import SHARES, Estimate
from governor.bench.surroundings import FLOOR
from governor.bench.targets import Outcome
from governor.errors import GovernorError


def to_json(result: Result) -> dict[str, Any]:
    """Return the documented JSON object."""
    late = {f"{name}_after": result.after.get(name) for name in ("load", "frequency_mhz")}
    return {
        "version": schema.VERSION,
        "machine": result.before | late | {"stolen": result.after.get("stolen")},
        "sections": {name: _part_json(part) for name, part in result.parts.items()},
        "targets": [_target_json(outcome) for outcome in targets.check(result)],
        "memory": {name: _size_json(name, values) for name, values in result.memory.items()},
        "failed": result.failed,
        "skipped": result.skipped,
        "notes": result.notes,
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "title": part.title,
        "rounds": part.rounds,
        "operations": {
            name: {
                "base": next(iter(row)),
                "surroundings": {other: _summary(row, other) for other in row},
            }
            for name, row in part.samples.items()
        },
        "sweep": {name: place._asdict() for name, place in part.places.items()},
        "shares": list(SHARES) if part.latencies else [],
        "latencies_ns": part.latencies,
        "instructions": part.instructions,
    }


def _size_json(name: str, values: list[float]) -> dict[str, Any]:
    return {
        "title": footprint.TITLES.get(name, name),
        "bytes": _estimate_json(statistics.estimate(values)),
        "samples_bytes": values,
    }


def _summary(row: dict[str, list[float]], name: str) -> dict[str, Any]:
    """Return the figures of one row; a figure that cannot be made is None."""
    values, base = row[name], row[next(iter(row))]
    trap = statistics.excess_ratio(values, row[FLOOR], base) if FLOOR in row else None
    return {
        "ns": _estimate_json(statistics.estimate(values)),
        "ratio": _estimate_json(statistics.ratio(values, base)),
        "excess_ns": _estimate_json(statistics.difference(values, base)),
        "excess_ratio": _estimate_json(trap),
        "outliers": statistics.outliers(values),
        "samples_ns": values,
    }


def _estimate_json(found: Estimate | None) -> dict[str, float | int | None] | None:
    """Return an estimate as an object; JSON has no infinity, so an open end is null."""
    if found is None:
        return None
    numbers = {
        name: number if math.isfinite(number) else None for name, number in found._asdict().items()
    }
    return {"median": numbers.pop("value"), **numbers}


def _target_json(outcome: Outcome) -> dict[str, Any]:
    target = outcome.target
    return {
        "target": target.text,
        "section": target.section,
        "operation": target.operation,
        "subject": target.subject,
        "base": target.base,
        "unit": target.kind.value,
        "bound": target.bound,
        "found": _estimate_json(outcome.found),
        "verdict": outcome.verdict.value,
    }


def load(name: str) -> Result:
    """Return the result in a file.

    Raises GovernorError: ENOENT and the like of the file, EINVAL when it holds no result of a
    version that is known here.
    """
    from pydantic import ValidationError

    try:
        content = json.loads(Path(name).read_text())
        _check_version(name, content)
        return _to_result(schema.File.model_validate(content))
    except OSError as error:
        raise GovernorError(error.errno or 0, f"cannot read {name}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise GovernorError(errno.EINVAL, f"{name}: {where}: {first['msg'].lower()}") from None
    except (ValueError, RecursionError):
        raise GovernorError(errno.EINVAL, f"{name} is not JSON") from None


def _check_version(name: str, content: object) -> None:
    version = content.get("version") if isinstance(content, dict) else None
    if version is None:
        raise GovernorError(errno.EINVAL, f"{name} is not a result of governor bench")
    if version != schema.VERSION:
        message = f"{name} has layout {version}; this governor reads {schema.VERSION}"
        raise GovernorError(errno.EINVAL, message)


def _to_result(file: schema.File) -> Result:
    """Return what `to_json` was given, but for what it does not write."""
    machine = file.machine.model_dump()
    parts = {name: _to_part(section) for name, section in file.sections.items()}
    after = {
        "load": machine.pop("load_after"),
        "frequency_mhz": machine.pop("frequency_mhz_after"),
        "stolen": machine.pop("stolen"),
    }
    memory = {name: size.samples_bytes for name, size in file.memory.items()}
    return Result(machine, after, parts, file.failed, file.skipped, file.notes, memory)


def _to_part(section: schema.Section) -> Part:
    samples = {
        # The base first: JSON objects have an order only by custom.
        name: {
            operation.base: operation.surroundings[operation.base].samples_ns,
            **{other: row.samples_ns for other, row in operation.surroundings.items()},
        }
        for name, operation in section.operations.items()
    }
    places = {name: Place(place.series, place.point) for name, place in section.sweep.items()}
    return Part(
        section.title,
        section.rounds,
        samples,
        places,
        section.latencies_ns,
        section.instructions,
    )
