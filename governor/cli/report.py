"""``governor report``: a finished run as a page to look at."""

from __future__ import annotations

import argparse
import os
from typing import Any

from governor.cli import FAILED
from governor.cli.output import show

_DESCRIPTION = """\
Render FILE, the JSON that "governor batch --report" or "governor run --report" wrote ("-": standard
input), as one HTML page: jobs over time, CPU and what containers held, refusals, tables. The page
needs no network and runs no script.

Exit status: 0 done, 1 FILE is no such report or the page cannot be written, 2 a mistake on the
command line."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``report`` command."""
    parser = subparsers.add_parser(
        "report",
        help="render the JSON report of a run as an HTML page",
        description=_DESCRIPTION,
    )
    parser.add_argument("file", metavar="FILE", help="the JSON report")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PAGE",
        help='where to write the page; "-" is standard output (default: FILE with .html)',
    )
    parser.set_defaults(run=run, failure=FAILED)


def run(args: argparse.Namespace) -> int:
    """Write the page, and say where it is."""
    from governor.page.document import render
    from governor.page.read import read
    from governor.report import write_text

    stem = "report" if args.file == "-" else os.path.splitext(os.path.basename(args.file))[0]
    page = render(read(args.file), stem)
    output = args.output or ("-" if args.file == "-" else f"{os.path.splitext(args.file)[0]}.html")
    if output == "-":
        show(page)
    else:
        write_text(page, output)
        show(output)
    return 0
