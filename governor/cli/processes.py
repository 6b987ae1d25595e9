"""``governor attach``, ``ps``, ``kill`` and ``where``: processes and the containers they are in."""

from __future__ import annotations

import argparse
import signal
from typing import TYPE_CHECKING, Any

from governor.cli.arguments import checked, completes
from governor.cli.output import show_json, show_lines, show_table
from governor.cli.target import Target, branch, container, pid, signal_number
from governor.cli.verb import add_argument, add_json, add_verb, connect
from governor.cli.verb import container as container_of

if TYPE_CHECKING:
    from governor.api import Governor, ProcessReport


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    here = ("target", container, "HIER:/PATH", "the container")
    parser = add_verb(subparsers, "attach", "move running processes into a container", attach)
    add_argument(parser, *here, completed_by="containers")
    whom = "the processes, or a container with everybody in it"
    add_argument(parser, "movers", _mover, "PID|HIER:/PATH", whom, nargs="+", completed_by="movers")
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="with everybody in the containers below it"
    )
    parser.add_argument(
        "--within-limits", action="store_true", help="move nobody unless there is room for all"
    )
    parser.set_defaults(parser=parser)

    parser = add_verb(subparsers, "ps", "list governed processes", ps)
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="of the containers below as well"
    )
    add_json(parser)
    where_ = "whose processes (default: all)"
    add_argument(
        parser, "target", branch, "HIER[:/PATH]", where_, nargs="?", completed_by="branches"
    )

    parser = add_verb(subparsers, "kill", "signal every process in a container", kill)
    action = parser.add_argument(
        "-s",
        "--signal",
        type=checked(signal_number),
        default=int(signal.SIGTERM),
        metavar="SIG",
        help="a name or a number (default: TERM)",
    )
    completes(action, "signals")
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="in the containers below as well"
    )
    add_argument(parser, *here, completed_by="containers")

    parser = add_verb(subparsers, "where", "print a process's containers, SUBSYS,...:/PATH", where)
    add_json(parser)
    add_argument(parser, "pid", pid, "PID", "the process", completed_by="pids")


def _mover(text: str) -> int | Target:
    """A process, or a container. Raises ValueError."""
    return container(text) if ":" in text else pid(text)


def attach(args: argparse.Namespace) -> int:
    """Move processes, or everybody in a container: all of them or none."""
    pids = [mover for mover in args.movers if isinstance(mover, int)]
    sources = [mover for mover in args.movers if not isinstance(mover, int)]
    if len(sources) > 1 or (sources and pids):
        args.parser.error("name processes, or one container whose processes are to move")
    if args.recursive and not sources:
        args.parser.error("--recursive is about a container's processes; name the container")
    with connect(args) as governor:
        target, within = container_of(governor, args.target), args.within_limits
        if sources:
            source = container_of(governor, sources[0])
            target.attach_all(source, recursive=args.recursive, within_limits=within)
        else:
            target.attach(*pids, within_limits=within)
    return 0


def ps(args: argparse.Namespace) -> int:
    """List the processes of a container, or all with all their containers."""
    with connect(args) as governor:
        if args.target is None:
            found = _all(governor)
        else:
            reports = container_of(governor, args.target).processes(recursive=args.recursive)
            found = {one.pid: (one, [f"{args.target.hierarchy}:{one.path}"]) for one in reports}
    if args.json:
        show_json([_as_json(report, places) for report, places in found.values()])
    else:
        rows = [_row(report, places) for report, places in found.values()]
        titles = ("pid", "job", "s", "threads", "containers", "command")
        show_table(titles, rows, right="pid job threads")
    return 0


def _all(governor: Governor) -> dict[int, tuple[ProcessReport, list[str]]]:
    """Every process, by pid, with its containers other than roots."""
    found: dict[int, tuple[ProcessReport, list[str]]] = {}
    for report in governor.hierarchies()[1:]:
        name = report.name
        for one in container_of(governor, branch(name)).processes(recursive=True):
            _, places = found.setdefault(one.pid, (one, []))
            if one.path != "/":
                places.append(f"{name}:{one.path}")
    return dict(sorted(found.items()))


def _row(report: ProcessReport, places: list[str]) -> tuple[str, ...]:
    job = str(report.job or "-")
    where = " ".join(places) or "/"
    return (
        str(report.pid), job, report.state, str(report.threads), where, report.command
    )  # fmt: skip


def _as_json(report: ProcessReport, places: list[str]) -> dict[str, object]:
    fields = report._asdict()
    del fields["path"]
    return fields | {"containers": places}


def kill(args: argparse.Namespace) -> int:
    """Signal the processes of a container."""
    with connect(args) as governor:
        container_of(governor, args.target).kill(args.signal, recursive=args.recursive)
    return 0


def where(args: argparse.Namespace) -> int:
    """Print where a process is, one line for every hierarchy."""
    with connect(args) as governor:
        places = governor.where(args.pid)
    if args.json:
        show_json([place._asdict() for place in places])
    else:
        show_lines([str(place) for place in places])
    return 0
