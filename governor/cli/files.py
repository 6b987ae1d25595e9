"""``governor get`` and ``governor set``: control files."""

from __future__ import annotations

import argparse
from typing import Any

from governor.cli.output import show, show_json, show_lines
from governor.cli.target import assignment, container_or_file
from governor.cli.verb import add_argument, add_json, add_verb, connect, container


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    parser = add_verb(subparsers, "get", "print a control file, or all of a container", get)
    add_argument(
        parser,
        "target",
        container_or_file,
        "HIER:/PATH[:FILE]",
        "what to read; all are printed as FILE=VALUE",
        completed_by="files",
    )
    add_json(parser)
    parser = add_verb(subparsers, "set", "write control files", set_)
    add_argument(
        parser,
        "assignments",
        assignment,
        "HIER:/PATH:FILE=VALUE",
        "what to write, in this order up to the first that is refused",
        nargs="+",
        completed_by="assignments",
    )


def get(args: argparse.Namespace) -> int:
    """Print one control file or all of them."""
    with connect(args) as governor:
        place = container(governor, args.target)
        if args.target.file is not None:
            value = place[args.target.file]
            show_json(value) if args.json else show(str(value))
            return 0
        values = {file: place[file] for file in place.list_files()}
    if args.json:
        show_json(values)
    else:
        # One line for each, also of those that have several.
        show_lines(
            [f"{file}={' '.join(str(value).split(chr(10)))}" for file, value in values.items()]
        )
    return 0


def set_(args: argparse.Namespace) -> int:
    """Write control files."""
    with connect(args) as governor:
        for target, file, value in args.assignments:
            container(governor, target)[file] = value
    return 0
