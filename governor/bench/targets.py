"""What governor may cost at most, as data: each target is compared with what was measured."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from governor.bench import footprint, lookup, spawners, statistics
from governor.bench.result import Result
from governor.bench.sections import MEMORY, ONLY_TASKS
from governor.bench.statistics import Estimate, Verdict
from governor.bench.surroundings import FLOOR, GOVERNED, UNGOVERNED


class Kind(enum.Enum):
    """How a target's figure is made from the samples."""

    RATIO = "times"
    EXCESS = "ns over"
    TIME = "ns"
    SIZE = "bytes"


class Target(NamedTuple):
    """``subject`` may cost at most ``bound``, in the kind's unit, compared with ``base``.

    ``section`` is the one in which both are measured. A TIME and a SIZE are compared with nothing,
    and a SIZE is what `footprint` calls ``operation``.
    """

    text: str
    kind: Kind
    section: str
    operation: str
    subject: str
    base: str
    bound: float


class Outcome(NamedTuple):
    """A target, what was found (None when nothing was) and what that means."""

    target: Target
    found: Estimate | None
    verdict: Verdict


def _ratio(text: str, section: str, operation: str, pair: tuple[str, str], bound: float) -> Target:
    return Target(text, Kind.RATIO, section, operation, *pair, bound)


def _values(field: str, most: int | str, least: int | str) -> tuple[str, str]:
    """Return governor's surroundings at two values of a sweep."""
    return f"{GOVERNED} {field}={most}", f"{GOVERNED} {field}={least}"


def _time(text: str, section: str, operation: str, bound: float) -> Target:
    return Target(text, Kind.TIME, section, operation, GOVERNED, "", bound)


def _size(text: str, name: str, bound: float) -> Target:
    return Target(text, Kind.SIZE, MEMORY, name, "", "", bound)


_UNGOVERNED = (GOVERNED, UNGOVERNED)
_MANY = _values("hierarchies", 16, 1)

TARGETS: Final = (
    _ratio("open+close <= 1.35x of the floor", "calls", "open", (GOVERNED, FLOOR), 1.35),
    _ratio("fork+wait <= 1.15x of ungoverned", "calls", "fork", _UNGOVERNED, 1.15),
    Target("open+close <= 9 us over ungoverned", Kind.EXCESS, "calls", "open", *_UNGOVERNED, 9e3),
    _ratio("untrapped getppid <= 1.3x of ungoverned", "calls", "getppid", _UNGOVERNED, 1.3),
    _time("move of 100 processes <= 5 ms", "controls", "migrate", 5e6),
    _time("start of a job <= 3 ms", "spawn", "start", 3e6),
    _ratio(
        "governor run <= 4x of python3 -c pass",
        "spawn",
        "spawn",
        (spawners.COLD, spawners.PYTHON),
        4.0,
    ),
    _ratio("make, task limits <= 1.03x", "build", "build", (ONLY_TASKS, UNGOVERNED), 1.03),
    _ratio("make, task and file limits <= 1.35x", "build", "build", _UNGOVERNED, 1.35),
    _ratio("fork+wait: 16 hierarchies <= 1.03x of 1", "hierarchies", "fork", _MANY, 1.03),
    _ratio("thread: 16 hierarchies <= 1.03x of 1", "hierarchies", "thread", _MANY, 1.03),
    _ratio("open+close: 16 hierarchies <= 1.03x of 1", "hierarchies", "open", _MANY, 1.03),
    _ratio(
        "open+close: 10,000 groups <= 1.05x of 1",
        "groups",
        "open",
        _values("groups", 10_000, 1),
        1.05,
    ),
    _ratio("a call of 2 jobs at once <= 1x of 1's", "jobs", "jobs", _values("jobs", 2, 1), 1.0),
    _ratio(
        "a lookup: 10,000 groups <= 2.5x of 10",
        lookup.NAME,
        "lookup",
        (f"{lookup.NAME} groups=10000", f"{lookup.NAME} groups=10"),
        2.5,
    ),
    _size(f"supervisor of {footprint.CONTAINERS:,} containers <= 60 MB", footprint.FULL, 60e6),
    _size("a container <= 2 kB", footprint.CONTAINER, 2e3),
)


def check(result: Result) -> list[Outcome]:
    """Return the outcome of every target whose operation was measured."""
    return [
        _weighed(target, result) if target.kind is Kind.SIZE else _measured(target, result)
        for target in TARGETS
        if _has(result, target)
    ]


def _has(result: Result, target: Target) -> bool:
    if target.kind is Kind.SIZE:
        return target.operation in result.memory
    part = result.parts.get(target.section)
    return part is not None and target.operation in part.samples


def _weighed(target: Target, result: Result) -> Outcome:
    found = statistics.estimate(result.memory[target.operation])
    return Outcome(target, found, statistics.judge(found, target.bound))


def _measured(target: Target, result: Result) -> Outcome:
    """Compare what the target speaks of, if all of it was measured."""
    row = result.parts[target.section].samples[target.operation]
    if not {target.subject, target.base} - {""} <= row.keys():
        return Outcome(target, None, Verdict.ABSENT)
    found = _figure(target, row)
    return Outcome(target, found, statistics.judge(found, target.bound))


def _figure(target: Target, row: dict[str, list[float]]) -> Estimate:
    """Return the figure that the bound is for."""
    subject = row[target.subject]
    if target.kind is Kind.TIME:
        return statistics.estimate(subject)
    compare = statistics.ratio if target.kind is Kind.RATIO else statistics.difference
    return compare(subject, row[target.base])
