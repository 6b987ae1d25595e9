"""What governor may cost at most, as data: each target is compared with what was measured."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from governor.bench import startup, statistics
from governor.bench.operations import STARTUP
from governor.bench.statistics import Estimate, Verdict
from governor.bench.variants import FLOOR, UNGOVERNED, governed

Samples = dict[str, dict[str, list[float]]]


class Kind(enum.Enum):
    """How a target's figure is made from the samples."""

    RATIO = "times"
    EXCESS = "ns over"
    TRAP = "times the floor's trap"


class Target(NamedTuple):
    """``variant`` may cost at most ``bound``, in the kind's unit, compared with ``base``."""

    text: str
    kind: Kind
    operation: str
    variant: str
    base: str
    bound: float


class Outcome(NamedTuple):
    """A target, what was found (None when nothing can be said) and what that means."""

    target: Target
    found: Estimate | None
    verdict: Verdict


_ONE, _EIGHT = governed(1), governed(8)

TARGETS: Final = (
    Target("a trap of open+close <= 1.6x of the floor's", Kind.TRAP, "open", _ONE, UNGOVERNED, 1.6),
    Target("fork+wait <= 1.25x of ungoverned", Kind.RATIO, "fork", _ONE, UNGOVERNED, 1.25),
    Target("open+close <= 12 us over ungoverned", Kind.EXCESS, "open", _ONE, UNGOVERNED, 12_000.0),
    Target("fork+wait: 8 hierarchies <= 1.05x of 1", Kind.RATIO, "fork", _EIGHT, _ONE, 1.05),
    Target("thread: 8 hierarchies <= 1.05x of 1", Kind.RATIO, "thread", _EIGHT, _ONE, 1.05),
    Target("open+close: 8 hierarchies <= 1.05x of 1", Kind.RATIO, "open", _EIGHT, _ONE, 1.05),
    Target("untrapped getppid <= 1.3x of ungoverned", Kind.RATIO, "getppid", _ONE, UNGOVERNED, 1.3),
    Target(
        "governor run -- true <= 120 ms over true",
        Kind.EXCESS,
        STARTUP,
        startup.GOVERNED,
        startup.TRUE,
        120e6,
    ),
)


def check(samples: Samples) -> list[Outcome]:
    """Return the outcome of every target whose operation was measured."""
    return [_outcome(t, samples[t.operation]) for t in TARGETS if t.operation in samples]


def _outcome(target: Target, row: dict[str, list[float]]) -> Outcome:
    """Compare what the target speaks of, if all of it was measured."""
    needed = {target.variant, target.base} | ({FLOOR} if target.kind is Kind.TRAP else set())
    if not needed <= row.keys():
        return Outcome(target, None, Verdict.ABSENT)
    found = _figure(target, row)
    return Outcome(target, found, statistics.judge(found, target.bound))


def _figure(target: Target, row: dict[str, list[float]]) -> Estimate | None:
    """Return the figure that the bound is for, or None when the noise is too large for one."""
    subject, base = row[target.variant], row[target.base]
    if target.kind is Kind.TRAP:
        return statistics.excess_ratio(subject, row[FLOOR], base)
    compare = statistics.ratio if target.kind is Kind.RATIO else statistics.difference
    return compare(subject, base)
