"""``governor down`` and ``governor status``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from governor.cli.arguments import checked
from governor.cli.output import show_json, show_lines
from governor.cli.verb import add_json, add_verb, connect
from governor.units import format_duration, parse_duration

if TYPE_CHECKING:
    from governor.api import StatusReport


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    parser = add_verb(subparsers, "down", "end a running governor with all its jobs", down)
    parser.add_argument(
        "--grace",
        type=checked(parse_duration),
        default=2.0,
        metavar="T",
        help="time between TERM and KILL (default: 2s)",
    )
    add_json(
        add_verb(subparsers, "status", "say whether a governor runs, and what it does", status)
    )


def down(args: argparse.Namespace) -> int:
    """End the governor; returns when it has gone."""
    with connect(args) as governor:
        governor.shutdown(args.grace)
    return 0


def status(args: argparse.Namespace) -> int:
    """Print what the governor is and has to do."""
    with connect(args) as governor:
        report = governor.status()
        state, failure = governor.state()
    if args.json:
        show_json(report._asdict() | {"state": state or None, "unrecorded": failure or None})
    else:
        show_lines(_lines(report, _state_line(state, failure)))
    return 0


def _state_line(state: str, failure: str) -> str:
    if not state:
        return "not kept: it ends with the governor"
    return f"{state}: NOT RECORDED: {failure}" if failure else f"{state}: recorded"


def _process(pid: int, restarts: int) -> str:
    """A process beside the supervisor; 0 is one that is being replaced."""
    times = "once" if restarts == 1 else f"{restarts} times"
    return f"{pid or 'none for now'}{f', replaced {times}' if restarts else ''}"


def _lines(report: StatusReport, state: str) -> list[str]:
    facts = {
        "version": report.version,
        "directory": report.directory,
        "state": state,
        "pid": report.pid,
        "uid": report.uid,
        "uptime": format_duration(report.uptime),
        "hierarchies": report.hierarchies,
        "containers": report.containers,
        "groups": report.groups,
        "jobs": report.jobs,
        "processes": report.processes,
        "agent": _process(report.agent, report.agent_restarts),
        "spawner": _process(report.spawner, report.spawner_restarts),
    }
    return [f"{name:13}{value}" for name, value in facts.items()]
