"""``governor events``: what happens, as it happens."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from governor.cli.arguments import checked
from governor.cli.output import show
from governor.cli.verb import add_verb, connect

if TYPE_CHECKING:
    from governor.api import Event


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``events`` command."""
    parser = add_verb(subparsers, "events", "print what happens, until Ctrl-C", run)
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each")
    parser.add_argument(
        "--kind", action="append", metavar="KIND", help="only this kind; may be repeated"
    )
    parser.add_argument(
        "--after",
        type=checked(_number),
        default=-1,
        metavar="N",
        help="begin after event N, as far as it is kept (default: with what happens next)",
    )


def run(args: argparse.Namespace) -> int:
    """Print events until nobody reads them."""
    with connect(args) as governor:
        for event in governor.events(args.after):
            if args.kind is not None and event.kind not in args.kind:
                continue
            if not show(_as_json(event) if args.json else to_text(event)):
                break
    return 0


def _number(text: str) -> int:
    """The number of an event; 0 is before the first."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not the number of an event: allowed are 0, 1, 2, ...")
    return min(int(text[:19]), 2**63 - 1)


def _as_json(event: Event) -> str:
    import json

    return json.dumps(event._asdict(), ensure_ascii=False)


def to_text(event: Event) -> str:
    """An event as a line: local time, number, kind, container, fields."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(event.time))
    place = f"{event.hierarchy}:{event.path}" if event.hierarchy else "-"
    fields = "".join(f" {name}={value}" for name, value in event.fields.items())
    milliseconds = int(event.time % 1 * 1000)
    return f"{moment}.{milliseconds:03} {event.number} {event.kind} {place}{fields}"
