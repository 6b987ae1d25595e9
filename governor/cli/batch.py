"""``governor batch``: run a file of jobs under limits."""

from __future__ import annotations

import argparse
import os
import sys

from governor.cli.arguments import add_agent_timeout, add_metrics, checked, number_of_jobs, serving
from governor.units import parse_duration

_DESCRIPTION = """\
Run the jobs of a TOML file in containers of several hierarchies, under their limits, and say at the
end who used what and who was refused what. docs/batch-file.md describes the file.

Exit status: 0 all jobs succeeded, 1 a job failed, 2 mistakes in the file or on the command line
(nothing was started), 125 governor itself failed, 128+n ended by signal n (130 for Ctrl-C)."""

_USAGE_ERROR = 2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``batch`` command."""
    parser = subparsers.add_parser(
        "batch",
        help="run a file of jobs under limits",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the batch file (TOML)")
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
        "--resume",
        action="store_true",
        help="go on with an earlier run: jobs that succeeded in it are not run again",
    )
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="record in FILE which jobs have ended, for --resume (default: the batch file's name "
        "and .record)",
    )
    parser.add_argument("--report", metavar="FILE", help="write a JSON report to FILE")
    add_metrics(parser)
    parser.add_argument(
        "--grace",
        type=checked(parse_duration),
        default=5.0,
        metavar="TIME",
        help="from TERM to KILL when the batch is interrupted, such as 500ms or 1m (default: 5s)",
    )
    add_agent_timeout(parser)
    parser.set_defaults(run=run, halt="never")


def run(args: argparse.Namespace) -> int:
    """Run the batch; returns the exit status. Raises GovernorError for governor's own failures."""
    from governor.batch import session
    from governor.batch.plan import BatchFileError
    from governor.errors import GovernorError
    from governor.report import check_writable

    try:
        if args.report is not None:
            check_writable(args.report)
    except GovernorError as error:
        print(f"governor: {error.message}", file=sys.stderr)
        return _USAGE_ERROR
    try:
        return session.run(
            session.Options(
                file=args.file,
                parallel=args.jobs or len(os.sched_getaffinity(0)),
                report=args.report,
                metrics=serving(args),
                agent_timeout=args.agent_timeout,
                grace=args.grace,
                resume=args.resume,
                record=args.record,
                halt=args.halt,
            )
        )
    except BatchFileError as error:
        count = len(error.mistakes)
        print(error, file=sys.stderr)
        print(f"governor: {count} mistake{'s' * (count > 1)}; nothing was started", file=sys.stderr)
        return _USAGE_ERROR
