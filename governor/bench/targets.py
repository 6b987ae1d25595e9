"""What governor may cost at most, as data: each target is compared with what was measured."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from governor.bench import spawners, statistics
from governor.bench.result import Part
from governor.bench.statistics import Estimate, Verdict
from governor.bench.surroundings import FLOOR, GOVERNED, UNGOVERNED


class Kind(enum.Enum):
    """How a target's figure is made from the samples."""

    RATIO = "times"
    EXCESS = "ns over"
    TRAP = "times the floor's trap"


class Target(NamedTuple):
    """``subject`` may cost at most ``bound``, in the kind's unit, compared with ``base``.

    ``section`` is the one in which both are measured.
    """

    text: str
    kind: Kind
    section: str
    operation: str
    subject: str
    base: str
    bound: float


class Outcome(NamedTuple):
    """A target, what was found (None when nothing can be said) and what that means."""

    target: Target
    found: Estimate | None
    verdict: Verdict


_ONE, _MANY = f"{GOVERNED} hierarchies=1", f"{GOVERNED} hierarchies=16"
_CALLS = (GOVERNED, UNGOVERNED)

TARGETS: Final = (
    Target("a trap of open <= 1.6x of the floor's", Kind.TRAP, "calls", "open", *_CALLS, 1.6),
    Target("fork+wait <= 1.25x of ungoverned", Kind.RATIO, "calls", "fork", *_CALLS, 1.25),
    Target("open+close <= 12 us over ungoverned", Kind.EXCESS, "calls", "open", *_CALLS, 12_000.0),
    Target("untrapped getppid <= 1.3x ungoverned", Kind.RATIO, "calls", "getppid", *_CALLS, 1.3),
    *(
        Target(
            f"{title}: 16 hierarchies <= 1.05x of 1",
            Kind.RATIO,
            "hierarchies",
            operation,
            _MANY,
            _ONE,
            1.05,
        )
        for operation, title in (
            ("fork", "fork+wait"),
            ("thread", "thread"),
            ("open", "open+close"),
        )
    ),
    Target(
        "governor run -- true <= 120 ms over true",
        Kind.EXCESS,
        "spawn",
        "spawn",
        spawners.COLD,
        UNGOVERNED,
        120e6,
    ),
)


def check(parts: dict[str, Part]) -> list[Outcome]:
    """Return the outcome of every target whose operation was measured."""
    return [
        _outcome(target, parts[target.section].samples[target.operation])
        for target in TARGETS
        if target.section in parts and target.operation in parts[target.section].samples
    ]


def _outcome(target: Target, row: dict[str, list[float]]) -> Outcome:
    """Compare what the target speaks of, if all of it was measured."""
    needed = {target.subject, target.base} | ({FLOOR} if target.kind is Kind.TRAP else set())
    if not needed <= row.keys():
        return Outcome(target, None, Verdict.ABSENT)
    found = _figure(target, row)
    return Outcome(target, found, statistics.judge(found, target.bound))


def _figure(target: Target, row: dict[str, list[float]]) -> Estimate | None:
    """Return the figure that the bound is for, or None when the noise is too large for one."""
    subject, base = row[target.subject], row[target.base]
    if target.kind is Kind.TRAP:
        return statistics.excess_ratio(subject, row[FLOOR], base)
    compare = statistics.ratio if target.kind is Kind.RATIO else statistics.difference
    return compare(subject, base)
