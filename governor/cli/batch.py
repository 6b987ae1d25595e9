"""``governor batch``: run a file of jobs under limits."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from governor.cli.arguments import (
    add_agent_timeout,
    add_events,
    add_metrics,
    batch_file,
    checked,
    number_of_jobs,
    serving,
)
from governor.cli.output import show_lines
from governor.units import UNLIMITED, parse_count, parse_duration

if TYPE_CHECKING:
    from governor.batch.outputs import Wanted

_DESCRIPTION = """\
Run the jobs of a TOML file in containers of several hierarchies, under their limits, and say at the
end who used what and who was refused what. docs/batch-file.md describes the file.

Exit status: 0 all jobs succeeded, 1 a job failed, 2 mistakes in the file or on the command line
(nothing was started), 125 governor itself failed, 128+n ended by signal n (130 for Ctrl-C)."""

_USAGE_ERROR = 2
_MOST_LOGS = 1000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``batch`` command."""
    parser = subparsers.add_parser(
        "batch",
        help="run a file of jobs under limits",
        description=_DESCRIPTION,
    )
    parser.add_argument("file", metavar="FILE", help="the batch file (TOML); -: standard input")
    parser.add_argument(
        "--jobs",
        type=checked(number_of_jobs),
        metavar="N",
        help="jobs at once (default: the usable CPUs)",
    )
    halt = parser.add_mutually_exclusive_group()
    halt.add_argument(
        "--keep-going",
        dest="halt",
        action="store_const",
        const="never",
        help="after a failure go on with all jobs that do not come after it (default)",
    )
    halt.add_argument(
        "--fail-fast",
        dest="halt",
        action="store_const",
        const="soon",
        help="after a failure start no new job; what runs ends by itself",
    )
    halt.add_argument(
        "--fail-now",
        dest="halt",
        action="store_const",
        const="now",
        help="after a failure start no new job, and end those that run",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would run, in which order, where and under which limits; start nothing",
    )
    _add_resume(parser)
    _add_outputs(parser)
    add_metrics(parser)
    add_events(parser)
    parser.add_argument(
        "--grace",
        type=checked(parse_duration),
        default=5.0,
        metavar="TIME",
        help="from TERM to KILL when the batch is interrupted, such as 500ms or 1m (default: 5s)",
    )
    add_agent_timeout(parser)
    parser.set_defaults(run=run, halt="never", parser=parser)


def _add_resume(parser: argparse.ArgumentParser) -> None:
    """Add what is taken from earlier runs."""
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument(
        "--resume",
        action="store_true",
        help="go on with an earlier run: jobs that succeeded in it are not run again",
    )
    resume.add_argument(
        "--resume-failed",
        dest="resume",
        action="store_true",
        help="the same, by GNU parallel's name",
    )
    resume.add_argument(
        "--resume-unfinished",
        action="store_true",
        help="the same, but jobs that failed are not run again either",
    )
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="record in FILE which jobs have ended, for --resume (default: the batch file's name "
        "and .record)",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the files that are written besides."""
    add = parser.add_argument
    add("--report", metavar="FILE", help="write a JSON report to FILE")
    add("--junit", metavar="FILE", help="write JUnit XML to FILE, for CI")
    add("--joblog", metavar="FILE", help="write a line for each job, as GNU parallel does")
    add("--logs", metavar="DIR", help="keep what each job writes in DIR/NAME.log")
    add(
        "--logs-keep",
        type=checked(_number_of_logs),
        metavar="N",
        help="older logs of each job that are kept as well (default: 3)",
    )
    add(
        "--logs-max",
        type=checked(_log_size),
        metavar="BYTES",
        help="begin a log anew when it is larger, such as 10M (default: no bound)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the batch; returns the exit status. Raises GovernorError for governor's own failures."""
    from governor.batch import session
    from governor.batch.outputs import Unwritable
    from governor.batch.plan import BatchFileError

    options = session.Options(
        file=batch_file(args.file),
        parallel=args.jobs or len(os.sched_getaffinity(0)),
        outputs=_outputs(args),
        metrics=serving(args),
        agent_timeout=args.agent_timeout,
        grace=args.grace,
        resume=args.resume or args.resume_unfinished,
        record=args.record,
        halt=args.halt,
        settled=args.resume_unfinished,
    )
    try:
        if not args.dry_run:
            return session.run(options)
        from governor.batch.dry_run import describe

        show_lines(list(describe(options)))
        return 0
    except BatchFileError as error:
        count = len(error.mistakes)
        print(error, file=sys.stderr)
        print(f"governor: {count} mistake{'s' * (count > 1)}; nothing was started", file=sys.stderr)
    except Unwritable as error:
        print(f"governor: {error.message}; nothing was started", file=sys.stderr)
    return _USAGE_ERROR


def _outputs(args: argparse.Namespace) -> Wanted:
    """Which files are to be written, and how."""
    from governor.batch.logs import KEEP
    from governor.batch.outputs import Wanted

    if args.logs is None:
        for name in ("keep", "max"):
            if getattr(args, f"logs_{name}") is not None:
                args.parser.error(f"--logs-{name} is for --logs, which is not given")
    keep = KEEP if args.logs_keep is None else args.logs_keep
    return Wanted(args.report, args.junit, args.joblog, args.logs, keep, args.logs_max, args.events)


def _number_of_logs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:10]) <= _MOST_LOGS):
        raise ValueError(f"{text!r} is not a number of logs: allowed are 0 to {_MOST_LOGS}")
    return int(text)


def _log_size(text: str) -> int | None:
    size = parse_count(text)
    if not size:
        raise ValueError("a log of 0 bytes holds nothing: allowed are sizes such as 500k or 10M")
    return None if size == UNLIMITED else size
