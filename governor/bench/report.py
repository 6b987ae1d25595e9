"""The result as tables for people and as JSON for programs; docs/performance.md explains both."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from governor.bench import machine, startup, statistics, targets
from governor.bench.machine import Machine
from governor.bench.operations import OPERATIONS, STARTUP
from governor.bench.statistics import Estimate, Verdict
from governor.bench.targets import Kind, Outcome, Samples
from governor.bench.variants import FLOOR, UNGOVERNED

VERSION: Final = 1
"""Of the JSON layout: raised when a key changes its meaning or goes."""

_TITLES = {operation.name: operation.title for operation in OPERATIONS} | {
    STARTUP: "whole processes"
}
_BASES = {STARTUP: startup.TRUE}


class Result(NamedTuple):
    """Everything one run found. ``failed`` and ``skipped`` map variants to reasons."""

    before: Machine
    after: Machine
    rounds: int
    samples: Samples
    failed: dict[str, str]
    skipped: dict[str, str]


def to_json(result: Result) -> dict[str, Any]:
    """Return the documented JSON object."""
    return {
        "version": VERSION,
        "machine": result.before | {"load_after": result.after["load"]},
        "rounds": result.rounds,
        "operations": {
            name: {variant: _summary(name, row, variant) for variant in row}
            for name, row in result.samples.items()
        },
        "targets": [_target_json(outcome) for outcome in targets.check(result.samples)],
        "failed": result.failed,
        "skipped": result.skipped,
    }


def _summary(operation: str, row: dict[str, list[float]], variant: str) -> dict[str, Any]:
    """Return the figures of one variant of one operation; a figure that cannot be made is None."""
    values, base = row[variant], row[_BASES.get(operation, UNGOVERNED)]
    trap = statistics.excess_ratio(values, row[FLOOR], base) if FLOOR in row else None
    return {
        "ns": _estimate_json(statistics.estimate(values)),
        "ratio": _estimate_json(statistics.ratio(values, base)),
        "excess_ns": _estimate_json(statistics.difference(values, base)),
        "excess_ratio": _estimate_json(trap),
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
        "operation": target.operation,
        "variant": target.variant,
        "base": target.base,
        "unit": target.kind.value,
        "bound": target.bound,
        "found": _estimate_json(outcome.found),
        "verdict": outcome.verdict.value,
    }


def to_text(result: Result) -> str:
    """Return the tables."""
    lines = [_machine_line(result), ""]
    for name, row in result.samples.items():
        lines += _operation_lines(name, row)
    lines += [_target_line(outcome) for outcome in targets.check(result.samples)]
    for what, reasons in (("failed", result.failed), ("skipped", result.skipped)):
        lines += [f"{variant} {what}: {reason}" for variant, reason in reasons.items()]
    return "\n".join(lines)


def _machine_line(result: Result) -> str:
    facts = result.before
    load = facts["load"]
    line = (
        f"Linux {facts['kernel']} {facts['machine']}, "
        f"{facts['cpu'] or 'unnamed CPU'} x {facts['cpus_usable']}, Python {facts['python']}, "
        f"load {load[0] if isinstance(load, list) else 0:.2f}, {result.rounds} rounds"
    )
    if machine.busy(facts):
        line += "\nThe machine was busy when the benchmark began: expect wide intervals."
    return line


_HEAD = ("per op", "+-", "ratio", "95 % interval", "excess", "x floor's")


def _operation_lines(operation: str, row: dict[str, list[float]]) -> list[str]:
    """Return one operation's table: a heading and a line for each variant."""
    first = f"{_TITLES[operation]:24}"
    lines = [first + "{:>10}{:>10}{:>9}{:>16}{:>11}{:>11}".format(*_HEAD)]
    base = row[_BASES.get(operation, UNGOVERNED)]
    for variant, values in row.items():
        found, ratio = statistics.estimate(values), statistics.ratio(values, base)
        cells = (
            f"  {variant:22}{_time(found.value):>10}{_time(found.spread):>10}{ratio.value:>8.3f}x"
        )
        if values is not base:
            cells += f"{_interval(ratio):>16}" + _excess_cells(values, row, base)
        lines.append(cells.rstrip())
    return [*lines, ""]


def _excess_cells(values: list[float], row: dict[str, list[float]], base: list[float]) -> str:
    """Return what a variant adds, and how often the floor's addition that is, or "noise"."""
    excess = statistics.difference(values, base)
    cells = f"{_time(excess.value) if excess.excludes(0.0) else 'noise':>11}"
    if FLOOR in row:
        trap = statistics.excess_ratio(values, row[FLOOR], base)
        cells += f"{f'{trap.value:.2f}x' if trap and trap.conclusive else 'noise':>11}"
    return cells


def _interval(found: Estimate) -> str:
    return f"{found.low:.3f}-{found.high:.3f}" if found.conclusive else "too few"


def _time(nanoseconds: float) -> str:
    """Return a duration with three or four digits and the unit that fits."""
    for size, unit in ((1e6, "ms"), (1e3, "us")):
        if abs(nanoseconds) >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.1f} ns"


def _target_line(outcome: Outcome) -> str:
    """Return a target with what was found beside it."""
    target, found = outcome.target, outcome.found
    line = f"{outcome.verdict.value:7}{target.text:45}"
    if outcome.verdict is Verdict.ABSENT:
        return line + " not measured"
    if found is None:
        return line + " the noise is larger than the floor's trap: use --repeat for more rounds"
    show = _time if target.kind is Kind.EXCESS else _times
    if not found.conclusive:
        return f"{line} {show(found.value)}, too few rounds to tell: use --repeat"
    noisy = ", too noisy to tell: use --repeat" if outcome.verdict is Verdict.NOISE else ""
    return f"{line} {show(found.value)} [{show(found.low)}, {show(found.high)}]{noisy}"


def _times(ratio: float) -> str:
    return f"{ratio:.3f}x"
