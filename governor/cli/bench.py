"""``governor bench``: what governor costs on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governor.bench.result import Result
    from governor.bench.runner import Settings
    from governor.bench.sections import Section

_DESCRIPTION = """\
Time what a job does (fork, vfork and exec, threads, open, socket, an untrapped system call), what
is done to containers (moves, mkdir, limits, reading, metrics) and the start of jobs: without
governor, under it, under an answerer in C that only says "continue" (the floor), under ptrace, in
kernel cgroups, and by other tools that start programs; and how that grows with hierarchies, depth,
limits, groups and processes. Needs a C compiler the first time.

Exit status: 0 measured (targets missed or not), 1 when something failed that is then named or,
with --compare, when something has become slower, 125 when nothing could be measured."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``bench`` command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure what governor costs on this machine",
        description=_DESCRIPTION,
    )
    _add_measuring(parser)
    _add_results(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to measure")
    group.add_argument(
        "--quick", action="store_true", help="take about a minute, not a quarter of an hour"
    )
    group.add_argument("--repeat", type=_rounds, metavar="N", help="rounds to measure (1 to 10000)")
    group.add_argument(
        "--only",
        type=_operations,
        metavar="OP,...",
        help="of fork, vfork, thread, open, socket, getppid, attach, mkdir, limit, read, scrape "
        "and spawn, only these",
    )
    group.add_argument(
        "--section",
        type=_sections,
        metavar="NAME,...",
        help="of calls, controls, spawn and the sweeps hierarchies, depth, limits, groups and "
        "processes, only these",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument("--json", metavar="FILE", help="write the result to FILE too")
    group.add_argument(
        "--figures", metavar="DIR", help="draw figures into DIR too (needs governor[figures])"
    )
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--from", dest="source", metavar="FILE", help="measure nothing; take the result in FILE"
    )
    source.add_argument(
        "--compare",
        nargs=2,
        metavar=("OLD", "NEW"),
        help="measure nothing; say what changed between two results",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, or read what was measured, and print the tables; returns the exit status."""
    _refuse_what_means_nothing(args)
    if args.compare is not None:
        return _compare(*args.compare)
    if args.figures is not None:
        from governor.bench import figures

        # First, as the file below: a mistake is not to cost somebody a quarter of an hour.
        figures.prepare(args.figures)
    output = _open_output(args.json)
    try:
        result = _result(args)
        _finish(result, args, output)
    finally:
        if output is not None:
            output.close()
    return 1 if result.failed else 0


def _refuse_what_means_nothing(args: argparse.Namespace) -> None:
    """End with a usage error when an option would be ignored."""
    if args.source is None and args.compare is None:
        return
    measuring = ("--quick", args.quick), ("--repeat", args.repeat), ("--only", args.only)
    options = [*measuring, ("--section", args.section)]
    if args.compare is not None:
        options += [("--json", args.json), ("--figures", args.figures)]
    for option, given in options:
        if given not in (None, False):
            what = "--from" if args.compare is None else "--compare"
            args.parser.error(f"{what} measures nothing, so {option} means nothing with it")


def _result(args: argparse.Namespace) -> Result:
    """Return what was found now, or is in a file."""
    if args.source is not None:
        from governor.bench import store

        return store.load(args.source)
    from governor.bench import benchmark, operations

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    only = operations.NAMES if args.only is None else args.only
    result = benchmark.run(_wanted(args), only, _settings(args), _show_progress)
    _show_progress("")
    return result


def _end(number: int, _: object) -> None:
    """End in order, so that no kernel cgroup of the benchmark's stays behind."""
    raise SystemExit(128 + number)


def _wanted(args: argparse.Namespace) -> list[Section]:
    from governor.bench import sections

    names = sections.NAMES if args.section is None else args.section
    return [section for section in sections.sections(args.quick) if section.name in names]


def _finish(result: Result, args: argparse.Namespace, output: Any) -> None:
    """Show and store a result."""
    from governor.bench import report

    print(report.to_text(result))
    if output is not None:
        import json

        from governor.bench import store

        # Emptied last: a run that is broken off leaves the result of the one before.
        output.truncate(0)
        json.dump(store.to_json(result), output, indent=1, allow_nan=False)
        output.write("\n")
    if args.figures is not None:
        from governor.bench import figures

        for path in figures.draw(result, args.figures):
            print(path)


def _compare(old: str, new: str) -> int:
    from governor.bench import compare, report, store

    found = compare.compare(store.load(old), store.load(new))
    print(report.comparison_text(found))
    return 1 if found.slower else 0


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


def _operations(text: str) -> list[str]:
    from governor.bench import operations

    return _choice(text, "operation", operations.NAMES)


def _sections(text: str) -> list[str]:
    from governor.bench import sections

    return _choice(text, "section", sections.NAMES)


def _choice(text: str, what: str, allowed: tuple[str, ...]) -> list[str]:
    from governor.bench import choice

    try:
        return choice.parse(text, what, allowed)
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
