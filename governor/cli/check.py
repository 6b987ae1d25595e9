"""``governor check``: find every mistake in batch files, without starting anything."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from governor.cli import FAILED, USAGE_ERROR
from governor.cli.arguments import batch_file
from governor.cli.output import show

if TYPE_CHECKING:
    from governor.batch.plan import BatchPlan

_DESCRIPTION = """\
Say what is wrong in batch files, all of it at once and each with FILE:LINE, as "governor batch"
would. Nothing is started.

Exit status: 0 no mistakes, 2 mistakes in a file or on the command line."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``check`` command."""
    parser = subparsers.add_parser(
        "check",
        help="find the mistakes in batch files",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="a batch file (TOML); -: standard input"
    )
    parser.add_argument(
        "--schema",
        action="store_true",
        help="print a JSON schema of batch files, for editors, with the installed subsystems",
    )
    parser.set_defaults(run=run, failure=FAILED, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Check the files, or print the schema."""
    if args.schema:
        from governor.batch.editor import text

        if args.files:
            args.parser.error("--schema is about no file in particular")
        show(text())
        return 0
    if not args.files:
        args.parser.error("name at least one batch file")
    mistakes = sum(_mistakes_in(batch_file(file)) for file in args.files)
    if mistakes:
        print(f"governor: {_counted(mistakes, 'mistake')}", file=sys.stderr)
    return USAGE_ERROR if mistakes else 0


def _mistakes_in(file: str) -> int:
    """Tell the mistakes in a file, or how large it is; returns how many there are."""
    from governor.batch.load import load
    from governor.batch.plan import BatchFileError

    try:
        plan = load(file)
    except BatchFileError as error:
        print(error, file=sys.stderr)
        return len(error.mistakes)
    show(f"{file}: {_size(plan)}: no mistakes")
    return 0


def _size(plan: BatchPlan) -> str:
    """Return how much a file asks for, such as ``12 jobs in 3 containers of 2 hierarchies``."""
    jobs = _counted(len(plan.jobs), "job")
    if not plan.hierarchies:
        return f"{jobs} without limits"
    containers = sum(len(hierarchy.containers) for hierarchy in plan.hierarchies)
    hierarchies = _counted(len(plan.hierarchies), "hierarchy", "hierarchies")
    return f"{jobs} in {_counted(containers, 'container')} of {hierarchies}"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
