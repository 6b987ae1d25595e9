"""``governor top``: what all hierarchies hold and use, as it changes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from governor.cli.arguments import checked
from governor.cli.output import can_draw, show
from governor.cli.verb import add_argument, add_verb, connect
from governor.units import parse_duration

if TYPE_CHECKING:
    from governor.api import Governor
    from governor.top.model import View

_SORTS = ("name", "tasks", "files", "cpu", "refused")
_SHORTEST = 0.1


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``top`` command."""
    parser = add_verb(subparsers, "top", "show what containers hold, use and are refused", run)
    add = parser.add_argument
    add("--once", action="store_true", help="print one table, with the rates of one interval")
    add("--json", action="store_true", help="print a line of JSON each time")
    add("--plain", action="store_true", help="print tables on a terminal, too; no keys")
    add(
        "--interval",
        type=checked(_interval),
        default=2.0,
        metavar="T",
        help="from one look to the next (default: 2s)",
    )
    add("--sort", choices=_SORTS, default="name", help="what siblings are sorted by")
    add("--filter", default="", metavar="TEXT", help="only containers with this in their path")
    add("--flat", action="store_true", help="a list, sorted as a whole, instead of trees")
    add_argument(
        parser,
        "hierarchy",
        str,
        "HIER",
        "only this hierarchy (default: all)",
        nargs="?",
        completed_by="hierarchies",
    )


def _interval(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < _SHORTEST:
        raise ValueError(f"{text} is too short: allowed are 100ms and more")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Show it until somebody has seen enough."""
    with connect(args) as governor:
        view = _view(governor, args)
        # Textual reads the first and draws on the last.
        on_terminal = all(map(_is_terminal, (sys.stdin, sys.stdout, sys.stderr)))
        if on_terminal and not (args.once or args.json or args.plain):
            if find_spec("textual") is not None:
                from governor.top.app import run as run_app

                return run_app(governor, view, args.interval)
            print("governor: for keys and colours, pip install 'governor[top]'", file=sys.stderr)
        _run_plain(governor, view, args)
    return 0


def _run_plain(governor: Governor, view: View, args: argparse.Namespace) -> None:
    from governor.top.plain import Plain

    plain = Plain(governor, view, args.interval, args.once, can_draw(), show)
    if args.json:
        plain.run_json()
    else:
        plain.run_table()


def _view(governor: Governor, args: argparse.Namespace) -> View:
    """What is asked for. ENOENT: there is no such hierarchy."""
    from governor.top.model import View

    if args.hierarchy is not None:
        governor.hierarchy(args.hierarchy)
    return View(args.hierarchy, args.sort, args.flat, args.filter)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
