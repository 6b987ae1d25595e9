"""``governor mkdir``, ``rmdir`` and ``mv``: making, removing and renaming containers."""

from __future__ import annotations

import argparse
import errno
from typing import Any

from governor.cli.arguments import checked
from governor.cli.target import Target, container
from governor.cli.verb import add_argument, add_verb, connect
from governor.cli.verb import container as container_of
from governor.errors import GovernorError
from governor.units import parse_duration

_HERE = ("HIER:/PATH", "the container")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    parser = add_verb(subparsers, "mkdir", "make containers", mkdir)
    parser.add_argument(
        "-p", "--parents", action="store_true", help="parents as well; no error if it is there"
    )
    add_argument(parser, "targets", container, *_HERE, nargs="+", completed_by="containers")
    parser = add_verb(subparsers, "rmdir", "remove containers", rmdir)
    add = parser.add_argument
    add("-r", "--recursive", action="store_true", help="with all containers below")
    add("--kill", action="store_true", help="first end the processes there: TERM, then KILL")
    add(
        "--grace",
        type=checked(parse_duration),
        default=2.0,
        metavar="T",
        help="time between TERM and KILL (default: 2s)",
    )
    add_argument(parser, "targets", container, *_HERE, nargs="+", completed_by="containers")
    parser = add_verb(subparsers, "mv", "give a container another name, where it is", mv)
    add_argument(parser, "target", container, *_HERE, completed_by="containers")
    add_argument(parser, "name", str, "NEWNAME", "its new name, without a path")


def mkdir(args: argparse.Namespace) -> int:
    """Make containers, one after the other."""
    with connect(args) as governor:
        for target in args.targets:
            for path in _ways(target) if args.parents else [target.path]:
                hierarchy = container_of(governor, target).hierarchy
                try:
                    hierarchy.mkdir(path)
                except GovernorError as error:
                    if not (args.parents and error.errno == errno.EEXIST):
                        raise
    return 0


def _ways(target: Target) -> list[str]:
    """The paths to make for a path, the parents first."""
    names = target.path.strip("/").split("/")
    return ["/" + "/".join(names[:count]) for count in range(1, len(names) + 1)]


def rmdir(args: argparse.Namespace) -> int:
    """Remove containers, one after the other."""
    with connect(args) as governor:
        for target in args.targets:
            container_of(governor, target).remove(
                recursive=args.recursive, kill=args.kill, grace=args.grace
            )
    return 0


def mv(args: argparse.Namespace) -> int:
    """Rename a container."""
    with connect(args) as governor:
        container_of(governor, args.target).rename(args.name)
    return 0
