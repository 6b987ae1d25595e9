"""``governor bench``: what governor costs on this machine."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governor.bench.runner import Settings

_DESCRIPTION = """\
Time fork+wait, thread create+join, open+close and an untrapped system call without governor, under
it with 1, 4 and 8 hierarchies, under an answerer in C that only says "continue" (the floor), and in
a cgroup v1 where that can be used; and the start of "governor run". Needs a C compiler the first
time.

Exit status: 0 measured (targets missed or not), 1 when a variant failed, 125 when nothing could be
measured."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``bench`` command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure what governor costs on this machine",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--quick", action="store_true", help="take under a minute, not some minutes"
    )
    parser.add_argument(
        "--repeat", type=_rounds, metavar="N", help="rounds to measure (1 to 10000)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result to FILE too")
    parser.add_argument(
        "--only",
        type=_only,
        metavar="OP,...",
        help="of fork, thread, open, getppid and startup, only these",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark and print the tables; returns the exit status."""
    from governor.bench import benchmark, operations, report

    only = operations.NAMES if args.only is None else args.only
    # Opened first: a name that cannot be written is not to cost somebody ten minutes. Emptied last:
    # a run that is broken off leaves the result of the one before.
    output = _open_output(args.json)
    try:
        result = benchmark.run(only, _settings(args), _show_progress)
        _show_progress("")
        print(report.to_text(result))
        if output is not None:
            import json

            output.truncate(0)
            json.dump(report.to_json(result), output, indent=1, allow_nan=False)
            output.write("\n")
    finally:
        if output is not None:
            output.close()
    return 1 if result.failed else 0


def _settings(args: argparse.Namespace) -> Settings:
    from governor.bench import runner

    settings = runner.QUICK if args.quick else runner.FULL
    return settings if args.repeat is None else settings._replace(rounds=args.repeat)


def _open_output(name: str | None) -> Any:
    """Return FILE opened for writing, or None without one; raises GovernorError."""
    if name is None:
        return None
    from governor.destination import Destination

    try:
        destination = Destination(name)
        try:
            return open(destination.open(os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a")
        finally:
            destination.close()
    except OSError as error:
        from governor.errors import GovernorError

        raise GovernorError(error.errno or 0, f"cannot write {name}") from error


def _show_progress(text: str) -> None:
    """Show where the run is, on one line of a terminal; logs and pipes are spared."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _only(text: str) -> list[str]:
    from governor.bench import operations

    try:
        return operations.parse_only(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _rounds(text: str) -> int:
    try:
        rounds = int(text)
    except ValueError:
        rounds = 0
    if not 1 <= rounds <= 10_000:
        message = f'"{text}" is not a number of rounds: allowed are 1 to 10000'
        raise argparse.ArgumentTypeError(message)
    return rounds
