"""``governor events``: what happens, as it happens."""

from __future__ import annotations

import argparse
import errno
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from governor.cli.arguments import checked, completes
from governor.cli.output import show
from governor.cli.target import branch
from governor.cli.verb import add_verb, connect, container
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Container, Event

KINDS: Final = (
    *("mount", "remount", "umount", "mkdir", "rmdir", "rename", "change", "move"),
    *("release", "release-failed", "job-start", "job-end", "barrier", "limit", "kill"),
    *("unrecorded", "recorded", "unrestored", "agent-restart", "spawner-restart", "unenforced"),
    "lost",
)
"""The kinds of governor's own events; subsystems of other packages may have others."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``events`` command."""
    parser = add_verb(subparsers, "events", "print what happens, until Ctrl-C", run)
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each")
    kinds = parser.add_argument(
        "--kind", action="append", metavar="KIND", help="only this kind; may be repeated"
    )
    completes(kinds, "events")
    places = parser.add_argument(
        "--in",
        dest="place",
        type=checked(branch),
        metavar="HIER:/PATH",
        help="only what concerns this container, or one below it",
    )
    completes(places, "containers")
    parser.add_argument(
        "--after",
        type=checked(_number),
        default=-1,
        metavar="N",
        help="begin after event N, as far as it is kept (default: with what happens next)",
    )


def run(args: argparse.Namespace) -> int:
    """Print events until nobody reads them."""
    from governor.api.events import as_json

    _end_with_reader()
    _doubt(args.kind or ())
    with connect(args) as governor:
        place = None if args.place is None else container(governor, args.place)
        if place is not None:
            _look_for(place)
        for event in governor.events(args.after, kinds=args.kind, container=place):
            if not show(as_json(event) if args.json else to_text(event)):
                break
    return 0


def _doubt(kinds: Iterable[str]) -> None:
    """Say of kinds that are none of ours that one may wait for them for ever."""
    from governor.cli.nearest import nearest

    for kind in kinds:
        if kind not in KINDS:
            words = f"no event of governor's own is of kind {kind!r}{nearest(kind, KINDS)}"
            print(f"governor: {words}; waiting for one of a subsystem's", file=sys.stderr)


def _look_for(place: Container) -> None:
    """Say of a container that is not there that one waits for it; it may have been, and may come.

    Raises GovernorError: the governor cannot be asked.
    """
    try:
        _ = place.children
    except GovernorError as error:
        if error.errno != errno.ENOENT:
            raise
        print(f"governor: {error.message}; waiting for it", file=sys.stderr)


def _end_with_reader() -> None:
    """End when nobody reads the pipe we print to, which else the next event would tell."""
    if sys.stdout is None or not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        return
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)  # errors only, and that is one

    def wait() -> None:
        poller.poll()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _number(text: str) -> int:
    """The number of an event; 0 is before the first."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not the number of an event: allowed are 0, 1, 2, ...")
    return min(int(text[:19]), 2**63 - 1)


def to_text(event: Event) -> str:
    """An event as a line: local time, number, kind, container or those of its job, fields."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(event.time))
    fields = dict(event.fields)
    places = str(fields.pop("containers", "-"))
    place = f"{event.hierarchy}:{event.path}" if event.hierarchy else places
    told = "".join(f" {name}={value}" for name, value in fields.items())
    milliseconds = int(event.time % 1 * 1000)
    return f"{moment}.{milliseconds:03} {event.number} {event.kind} {place}{told}"
