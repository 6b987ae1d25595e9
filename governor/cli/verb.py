"""What the commands on a running governor have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from governor.cli import FAILED
from governor.cli.arguments import add_directory, checked, completes
from governor.cli.target import Target

if TYPE_CHECKING:
    from governor.api import Container, Governor

_EPILOG = """\
Exit status: 0 done, 1 refused or failed (the message ends in the errno),
2 a mistake on the command line, 3 no governor runs there."""

Subparsers = argparse._SubParsersAction


def add_verb(
    subparsers: Subparsers[Any], name: str, help: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command on a running governor, carried out by ``run``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=_EPILOG,
    )
    add_directory(parser)
    parser.set_defaults(run=run, failure=FAILED)
    return parser


def add_argument(
    parser: argparse.ArgumentParser,
    name: str,
    parse: Callable[[str], Any],
    metavar: str,
    help: str,
    nargs: str | None = None,
    completed_by: str = "",
) -> None:
    """Add a positional argument; ``completed_by`` names what `complete` offers for it."""
    action = parser.add_argument(name, type=checked(parse), metavar=metavar, help=help, nargs=nargs)
    if completed_by:
        completes(action, completed_by)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def connect(args: argparse.Namespace) -> Governor:
    """The running governor that the command is for."""
    from governor.api import Governor

    return Governor.connect(args.dir)


def container(governor: Governor, target: Target) -> Container:
    """A container that the governor has not been asked about yet; the next request does that."""
    from governor.api import Container, Hierarchy

    return Container(governor.client, Hierarchy(governor.client, target.hierarchy, []), target.path)
