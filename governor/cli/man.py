"""``governor man``: the manual pages."""

from __future__ import annotations

import argparse
import os
from typing import Any

from governor.cli import COMMANDS, FAILED
from governor.cli.output import show
from governor.errors import GovernorError

_DESCRIPTION = """\
Print the source of a manual page, made of what --help says: 'governor man run | man -l -' shows it.
Where governor was installed by pip, 'man governor-run' does.

Exit status: 0 done, 1 a page cannot be written, 2 a mistake on the command line."""

_EXAMPLES = """\
examples:
  governor man run | man -l -
  governor man --output ~/.local/share/man/man1
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``man`` command."""
    parser = subparsers.add_parser(
        "man",
        help="print the manual page of a command",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=COMMANDS,
        metavar="COMMAND",
        help="of which command (default: of governor itself)",
    )
    parser.add_argument("--output", metavar="DIR", help="write all pages into this directory")
    parser.set_defaults(run=run, failure=FAILED, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print one page, or write all."""
    from governor.cli import manual

    if args.output is None:
        show(manual.page(args.command).rstrip("\n"))
        return 0
    if args.command is not None:
        args.parser.error("--output writes all pages; name no command")
    try:
        os.makedirs(args.output, exist_ok=True)
        for name, text in manual.pages():
            with open(os.path.join(args.output, name), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise GovernorError(
            error.errno or 0, f"{error.filename}: cannot be written: {error.strerror}"
        ) from None
    return 0
