"""The result as tables for people; docs/performance.md explains how to read them."""

from __future__ import annotations

import textwrap
from typing import Final

from governor.bench import footprint, machine, statistics, targets
from governor.bench.compare import Change, Comparison, Row
from governor.bench.footprint import Memory
from governor.bench.operations import title
from governor.bench.result import Part, Result
from governor.bench.statistics import Verdict
from governor.bench.surroundings import FLOOR
from governor.bench.targets import Kind, Outcome
from governor.bench.text import duration, interval, size, times

_WIDTH: Final = 80
_HEAD: Final = ("per op", "ratio", "95 % interval", "excess", "floors", "out")
_LINE: Final = "{:>10}{:>9}{:>15}{:>11}{:>7}{:>4}"


def to_text(result: Result) -> str:
    """Return the tables."""
    lines = [*_machine_lines(result), ""]
    for name, part in result.parts.items():
        lines += [f"{name}: {part.title}, {part.rounds} rounds"]
        for operation, row in part.samples.items():
            lines += _operation_lines(operation, row, part)
    lines += _memory_lines(result.memory)
    outcomes = targets.check(result)
    lines += [_target_line(outcome) for outcome in outcomes]
    if any(outcome.verdict is Verdict.NOISE for outcome in outcomes):
        lines.append("Where it says noise, more rounds (--repeat) or a quieter machine may tell.")
    remarks = (("failed", result.failed), ("skipped", result.skipped), ("note", result.notes))
    for what, reasons in remarks:
        for name, reason in reasons.items():
            lines += textwrap.wrap(f"{name} {what}: {reason}", _WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _machine_lines(result: Result) -> list[str]:
    facts = result.before
    load = facts["load"]
    line = (
        f"Linux {facts['kernel']} {facts['machine']}, "
        f"{facts['cpu'] or 'unnamed CPU'} x {facts['cpus_usable']}, Python {facts['python']}, "
        f"load {load[0] if isinstance(load, list) else 0:.2f}"
    )
    lines = textwrap.wrap(line, _WIDTH)
    stolen = result.after.get("stolen")
    if isinstance(stolen, float) and stolen > 0.01:
        lines.append(f"A hypervisor gave {stolen:.0%} of the processors' time to others.")
    if machine.busy(facts):
        lines.append("The machine was busy when the benchmark began: expect wide intervals.")
    return lines


def _operation_lines(operation: str, row: dict[str, list[float]], part: Part) -> list[str]:
    """Return one operation's table: a heading and a line for each surrounding."""
    lines = [(f"{title(operation):24}" + _LINE.format(*_HEAD)).rstrip()]
    base = next(iter(row.values()))
    for name, values in row.items():
        place = part.places.get(name)
        shown = f"{place.series} {place.point}" if place else name
        lines.append((f"  {shown:22}" + _cells(values, base, row)).rstrip())
    counted = part.instructions.get(operation)
    if counted:
        told = ", ".join(f"{name} {number:,.0f}" for name, number in counted.items())
        lines += textwrap.wrap(f"  instructions of the job: {told}", _WIDTH, subsequent_indent="  ")
    return [*lines, ""]


def _memory_lines(memory: Memory) -> list[str]:
    """Return what was weighed as a table."""
    if not memory:
        return []
    lines = [f"memory: {footprint.RUNS} governors", f"{'':40}{'median':>12}{'95 % interval':>24}"]
    for name, values in memory.items():
        found = statistics.estimate(values)
        ends = f"{size(found.low)} - {size(found.high)}" if found.conclusive else "too few"
        lines.append(f"  {footprint.TITLES.get(name, name):38}{size(found.value):>12}{ends:>24}")
    return [*lines, ""]


def _cells(values: list[float], base: list[float], row: dict[str, list[float]]) -> str:
    """Return what is said of one surrounding; of the base only its own figures."""
    found, outliers = statistics.estimate(values), statistics.outliers(values)
    out = str(len(outliers)) if outliers else ""
    if values is base:
        return _LINE.format(duration(found.value), "1.000x", "", "", "", out)
    ratio, excess = statistics.ratio(values, base), statistics.difference(values, base)
    trap = statistics.excess_ratio(values, row[FLOOR], base) if FLOOR in row else None
    floors = _floors(trap.value) if trap and trap.excludes(0.0) else "noise"
    return _LINE.format(
        duration(found.value),
        times(ratio.value),
        interval(ratio),
        duration(excess.value) if excess.excludes(0.0) else "noise",
        floors if FLOOR in row else "",
        out,
    )


def _floors(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:.0f}x"


_UNITS: Final = {
    Kind.RATIO: times,
    Kind.EXCESS: duration,
    Kind.TIME: duration,
    Kind.SIZE: size,
}


def _target_line(outcome: Outcome) -> str:
    """Return a target with what was found beside it."""
    target, found = outcome.target, outcome.found
    line = f"{outcome.verdict.value:7}{target.text:40}"
    if found is None:
        return line + " not measured"
    show = _UNITS[target.kind]
    if not found.conclusive:
        return f"{line} {show(found.value)} in too few rounds"
    return f"{line} {show(found.value)} [{show(found.low)}, {show(found.high)}]"


_COMPARED_HEAD: Final = ("old", "new", "factor", "interval", "")
_COMPARED: Final = "{:>10}{:>10}{:>8}{:>14} {}"


def comparison_text(comparison: Comparison) -> str:
    """Return what changed between two results."""
    lines = [
        f"{fact}: {old} before, {new} now" for fact, (old, new) in comparison.differences.items()
    ]
    heading = ""
    for row in comparison.rows:
        if heading != (heading := f"{row.section}: {title(row.operation)}"):
            lines += ["", f"{heading:28}" + _COMPARED.format(*_COMPARED_HEAD)]
        lines.append(_compared(row))
    for what, names in (("old", comparison.only_old), ("new", comparison.only_new)):
        if names:
            lines += ["", *textwrap.wrap(f"only in the {what} result: {', '.join(names)}", _WIDTH)]
    return "\n".join([*lines, "", _verdict(comparison)]).lstrip("\n")


def _compared(row: Row) -> str:
    said = row.change.value + ("*" if row.absolute else "")
    cells = (
        duration(row.old),
        duration(row.new),
        times(row.found.value),
        interval(row.found),
        said,
    )
    return f"  {row.surrounding:26}" + _COMPARED.format(*cells)


def _verdict(comparison: Comparison) -> str:
    """Return the sum of it in one line."""
    judged = [row.change for row in comparison.rows if not row.absolute]
    if not judged:
        return "Nothing to compare: the results have no row with a base in common."
    counts = ", ".join(f"{judged.count(change)} {change.value}" for change in Change)
    legend = "* compared by time, which the machine changes as well\n"
    return f"{legend}{len(judged)} rows compared by ratio to their base: {counts}."
