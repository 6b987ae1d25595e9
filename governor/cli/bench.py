"""``governor bench``: what governor costs on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.bench.benchmark import Wanted
    from governor.bench.result import Result
    from governor.bench.runner import Settings

_DESCRIPTION = """\
Time what a job does (fork, vfork and exec, threads, open, socket, an untrapped system call), what
is done to containers (moves, mkdir, limits, reading, metrics) and the start of jobs: without
governor, under it, under an answerer in C that only says "continue" (the floor), under ptrace, in
kernel cgroups, and by other tools that start programs; and how that grows with hierarchies, depth,
limits, groups, processes and busy jobs; what memory it takes. Needs a C compiler the first time.

Exit status: 0 measured (targets missed or not), 1 when something failed that is then named or,
with --compare, when something has become slower, 125 when nothing could be measured."""


_RESULT = "the result"
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    group.add_argument("--quick", action="store_true", help="take some 80 seconds, not ten minutes")
    group.add_argument("--repeat", type=_rounds, metavar="N", help="rounds to measure (1 to 10000)")
    group.add_argument(
        "--only",
        type=_operations,
        metavar="OP,...",
        help="of fork, vfork, thread, open, socket, getppid, attach, migrate, mkdir, limit, read, "
        "scrape, start, spawn, jobs, build and lookup, only these",
    )
    group.add_argument(
        "--section",
        type=_sections,
        metavar="NAME,...",
        help="of calls, controls, spawn, build, the sweeps hierarchies, depth, limits, groups, "
        "processes, jobs and lookup, and memory (not with --quick unless named), only these",
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
    # First: a mistake is not to cost somebody ten minutes.
    if args.json is not None:
        from governor.report import check_writable

        check_writable(args.json, _RESULT)
    if args.figures is not None:
        from governor.bench import figures

        figures.prepare(args.figures)
    result = _result(args)
    _finish(result, args)
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
    from governor.bench import benchmark

    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    result = benchmark.run(_wanted(args), _settings(args), _show_progress)
    _show_progress("")
    return result


def _end(number: int, _: object) -> None:
    """End in order, undisturbed: no process and no kernel cgroup is to stay behind."""
    for other in _ENDINGS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _wanted(args: argparse.Namespace) -> Wanted:
    from governor.bench import footprint, operations, sections
    from governor.bench.benchmark import Wanted

    names = args.section or (sections.QUICK_NAMES if args.quick else sections.NAMES)
    found = [section for section in sections.sections(args.quick) if section.name in names]
    # Who asks for operations asks for times.
    weighed = sections.MEMORY in names and args.only is None
    return Wanted(found, args.only or operations.NAMES, footprint.CONTAINERS if weighed else 0)


def _finish(result: Result, args: argparse.Namespace) -> None:
    """Store and show a result: the file first, which was asked for by its name."""
    from governor.bench import report
    from governor.cli.output import show, show_lines

    if args.json is not None:
        import json

        from governor.bench import store
        from governor.report import write_text

        text = json.dumps(store.to_json(result), indent=1, allow_nan=False)
        write_text(f"{text}\n", args.json, _RESULT)
    show(report.to_text(result))
    if args.figures is not None:
        from governor.bench import figures

        show_lines([str(path) for path in figures.draw(result, args.figures)])


def _compare(old: str, new: str) -> int:
    from governor.bench import compare, report, store
    from governor.cli.output import show

    found = compare.compare(store.load(old), store.load(new))
    show(report.comparison_text(found))
    return 1 if found.slower else 0


def _settings(args: argparse.Namespace) -> Settings:
    from governor.bench import runner

    settings = runner.QUICK if args.quick else runner.FULL
    return settings if args.repeat is None else settings._replace(rounds=args.repeat)


def _show_progress(text: str) -> None:
    """Show where the run is, on one line of a terminal; logs and pipes are spared."""
    if sys.stderr.isatty():
        # One that is wrapped could not be taken back.
        shown = text[: os.get_terminal_size(sys.stderr.fileno()).columns - 1]
        print(f"\r\x1b[K{shown}", end="", file=sys.stderr, flush=True)


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
