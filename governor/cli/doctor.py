"""``governor doctor``: what this host can do, and how far limits hold on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from governor.cli.output import show

if TYPE_CHECKING:
    from governor.doctor import Condition, Diagnosis

WIDTH = 80

_DESCRIPTION = """\
Find out what this host can do for governor, by trying it, and how far the limits of each subsystem
hold here: "enforced", "partial" (what is counted is not right), "observed" (nothing is refused) or
"none".

Exit status: 0 when every subsystem is at its best here, 1 when one is not, 2 for a mistake on the
command line."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``doctor`` command."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what this host can do, and what is missing",
        description=_DESCRIPTION,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine the host and print the diagnosis; returns the exit status."""
    from governor import doctor

    diagnosis = doctor.examine()
    if args.json:
        import json

        show(json.dumps(doctor.to_json(diagnosis), indent=2))
    else:
        show(to_text(diagnosis))
    return 1 if diagnosis.weak else 0


def to_text(diagnosis: Diagnosis) -> str:
    """Return the diagnosis as tables, what is missing with reasons and advice, and a verdict."""
    from governor.doctor import MISSING, spoken
    from governor.unseen import UNSEEN

    host = f"{diagnosis.kernel} {diagnosis.machine}"
    capabilities = [
        (spoken(condition.capability.name), condition.state, condition.capability.use)
        for condition in diagnosis.conditions
    ]
    subsystems = [tuple(standing[:3]) for standing in diagnosis.standings]
    unseen = [(resource.name, resource.what, resource.why) for resource in UNSEEN]
    missing = [c for c in diagnosis.conditions if c.state == MISSING]
    parts = [
        f"governor {diagnosis.version} on {host}, as {diagnosis.user}",
        _table([("capability", "state", "what for"), *capabilities]),
        *map(_explain, missing),
        *_explain_unknown(diagnosis.conditions),
        _table([("subsystem", "level", "why"), *subsystems]),
        _table([("no subsystem", "for", "why"), *unseen]),
        _verdict(diagnosis.weak),
    ]
    return "\n\n".join(parts)


def _verdict(weak: list[str]) -> str:
    if weak:
        return _wrap(f"Not at their best on this host: {', '.join(weak)}.")
    return "Every subsystem is at its best on this host."


def _explain(condition: Condition) -> str:
    """Say what was found instead of a capability, what follows and what to do."""
    from governor.doctor import spoken

    capability = condition.capability
    lines = [f"{spoken(capability.name)} is missing"]
    for title, text in (
        ("found", condition.seen),
        ("so", capability.without),
        ("do", capability.advice),
    ):
        if text:
            lines.append(_wrap(text, f"  {title:6} "))
    return "\n".join(lines)


def _explain_unknown(conditions: list[Condition]) -> Iterator[str]:
    """Say why some capabilities cannot be told, once for each reason."""
    from governor.doctor import UNKNOWN, spoken

    names: dict[str, list[str]] = {}
    for condition in conditions:
        if condition.state == UNKNOWN:
            names.setdefault(condition.seen, []).append(spoken(condition.capability.name))
    for reason, unknown in names.items():
        yield _wrap(f"unknown: {', '.join(unknown)}") + "\n" + _wrap(reason, "  found  ")


def _table(rows: list[tuple[str, ...]]) -> str:
    """Align three columns; the last one is wrapped."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        _wrap(text, f"{first:{widths[0]}}  {second:{widths[1]}}  ") for first, second, text in rows
    )


def _wrap(text: str, start: str = "") -> str:
    """Wrap text after ``start``, under which the lines that follow are indented."""
    import textwrap

    indent = " " * len(start)
    width = max(WIDTH, len(start) + 20)
    return textwrap.fill(text, width, initial_indent=start, subsequent_indent=indent)
