"""``governor run``: one command under limits, with its terminal, signals and exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from governor.cli.arguments import (
    add_agent_timeout,
    add_events,
    add_metrics,
    checked,
    command_of,
    completes,
    serving,
)
from governor.cli.layout import Layout, Setting, add_layout, parse_place
from governor.errors import GovernorError
from governor.results import OWN_FAILURE
from governor.units import parse_count, parse_cpus, parse_duration

if TYPE_CHECKING:
    from governor.api import Governor, Job, JobResult
    from governor.cli.properties import Property

BY_TERMINAL = 0x80
"""si_code SI_KERNEL of sigaction(2): the terminal sent it, to the job as well."""

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

_DESCRIPTION = """\
Run a command under limits. Its standard streams, its terminal and its signals are untouched, and
what it leaves running is ended with it.

Exit status: the command's own; 124 when it timed out, 125 when governor itself failed (nothing was
started for a mistake on the command line), 126 when the command cannot be executed, 127 when it
is not found, 128+n when signal n ended it."""

_EXAMPLES = """\
examples:
  governor run --max-tasks 64 -- make -j8
  governor run --cpus 0-1 --timeout 10m --report run.json -- ./simulate
  governor run -p TasksMax=64 -p RuntimeMaxSec=10min -- ./simulate
  governor run --hierarchy users=numtasks --in users:/students/bob \\
      --set users:/students:numtasks.limit=200 -- sh job.sh
"""

GRACE = 2.0
"""Seconds between TERM and KILL unless the command line says otherwise."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``run`` command."""
    parser = subparsers.add_parser(
        "run",
        help="run one command under limits",
        usage="governor run [options] [--] CMD [ARG ...]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.usage_error = OWN_FAILURE
    _add_limits(parser.add_argument_group("limits"))
    _add_times(parser.add_argument_group("times"))
    _add_containers(parser.add_argument_group("containers"))
    group = parser.add_argument_group("reports, metrics and events")
    group.add_argument("--report", metavar="FILE", help="write a JSON report to FILE")
    add_metrics(group)
    add_events(group)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run, cwd=None, env=None, prefix=[])


def _add_limits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--max-tasks", type=checked(parse_count), metavar="N", help="processes and threads")
    add("--max-files", type=checked(parse_count), metavar="N", help="open files of all processes")
    add("--cpus", type=checked(_cpus), metavar="LIST", help="CPUs to run on, such as 0-3,5")
    action = add(
        "-p",
        "--property",
        dest="properties",
        type=checked(_property),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a limit as systemd writes it (TasksMax=64), or a control file of the command's "
        "container (numsock.limit=10)",
    )
    completes(action, "properties")
    add("--limits", metavar="FILE", help="properties from FILE, one a line; options win")


def _add_times(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--timeout", type=checked(parse_duration), metavar="T", help="end it after T (10s, 5m)")
    add(
        "--grace",
        type=checked(parse_duration),
        metavar="T",
        help="time between TERM and KILL when it is ended (default: 2s)",
    )
    add_agent_timeout(group)


def _add_containers(group: argparse._ArgumentGroup) -> None:
    places = group.add_argument(
        "--in",
        dest="places",
        type=checked(parse_place),
        action="append",
        default=[],
        metavar="NAME:/PATH",
        help="run in this container, made as needed (default: the root)",
    )
    completes(places, "containers")
    add_layout(group)
    group.add_argument(
        "--at",
        nargs="?",
        const="",
        metavar="DIR",
        help="run by the governor that 'governor up' runs, there or at the usual place",
    )


def _property(text: str) -> tuple[Property, Any]:
    from governor.cli import properties

    return properties.parse(text)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    command = command_of(args)
    if not command:
        raise GovernorError(22, "no command to run; give it after the options: governor run -- CMD")
    if args.properties or args.limits is not None:
        from governor.cli import limits

        limits.apply(args)
    if args.grace is None:
        args.grace = GRACE
    if args.at is not None:
        from governor.cli import run_at

        return run_at.run(args, command)
    layout = Layout.of(args.hierarchy, args.places, _settings(args))
    if args.report is not None:
        from governor.report import check_writable

        check_writable(args.report)
    from governor.api import Governor

    began = time.monotonic()
    metrics = serving(args)
    with Governor(
        metrics=metrics, fork=True, agent_timeout=args.agent_timeout, events=args.events
    ) as governor:
        containers = layout.build(governor)
        with signals_held():
            job = governor.spawn(
                [*args.prefix, *command],
                name=os.path.basename(command[0]),
                containers=containers,
                cwd=args.cwd,
                env=args.env,
                timeout=args.timeout,
                grace=args.grace,
                foreground=_has_terminal(),
            )
            early = signal.sigpending()
            with signals_forwarded(lambda received: _pass_on(job, received, early)):
                result = job.wait()
        if args.report is not None:
            _write_report(args.report, governor, command, layout, result, began)
    explain(command[0], result)
    return result.exit_code


def _settings(args: argparse.Namespace) -> list[Setting]:
    """The shortcuts for limits, as settings of the job's container, then those given in full."""
    shortcuts = (
        ("numtasks.limit", args.max_tasks),
        ("numfiles.limit", args.max_files),
        ("cpuset.cpus", args.cpus),
    )
    own = [Setting(None, file, value) for file, value in shortcuts if value is not None]
    return [*own, *args.settings]


def explain(name: str, result: JobResult) -> None:
    """Say what the exit code cannot: why it was not started, not governed, or could not go on."""
    if result.unenforced:
        print(f"governor: limits were not enforced: {result.unenforced}", file=sys.stderr)
    if result.timed_out:
        print(f"governor: {name} timed out", file=sys.stderr)
    elif result.error:
        print(f"governor: {result.error}", file=sys.stderr)
    if result.exit_code and not result.error:
        for refusal in result.refusals:
            print(f"governor: {name} was refused {refusal}", file=sys.stderr)


def _has_terminal() -> bool:
    """Whether there is a controlling terminal, whose job control the command must stay under."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Keep signals waiting until they can be passed on; for good, unless nothing was started."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    try:
        yield
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise


@contextlib.contextmanager
def signals_forwarded(pass_on: Callable[[signal.struct_siginfo], None]) -> Iterator[None]:
    """Give every signal meant for us to ``pass_on``."""
    forwarding = threading.Lock()

    def forward() -> None:
        while True:
            received = signal.sigwaitinfo(_FORWARDED)
            # Refused: governor is coming to its end, and says so itself.
            with forwarding, contextlib.suppress(GovernorError):
                pass_on(received)

    threading.Thread(target=forward, daemon=True).start()
    yield
    # For good: there is no job any more, and soon no connection to ask for it.
    forwarding.acquire()


def _pass_on(job: Job, received: signal.struct_siginfo, early: set[signal.Signals]) -> None:
    """Send on what has been sent to us, except what the terminal has sent to the job itself.

    ``early``: what came before there was a job that it could reach.
    """
    number = signal.Signals(received.si_signo)
    if number in early or not _has_reached(job.pid, received):
        early.discard(number)
        job.signal(number)


def _has_reached(pid: int, received: signal.struct_siginfo) -> bool:
    """Whether the job has the signal already.

    What is typed goes to the whole foreground process group, which a job that is being started has
    still to join; a hang-up goes to the session's leader.
    """
    leader_only = received.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid()
    return received.si_code == BY_TERMINAL and not leader_only and not _is_joining(pid)


def _is_joining(pid: int) -> bool:
    """Whether a process is of our session and not in our group, as workers begin."""
    try:
        return os.getsid(pid) == os.getsid(0) and os.getpgid(pid) != os.getpgrp()
    except OSError:
        return False


def _write_report(
    path: str,
    governor: Governor,
    command: list[str],
    layout: Layout,
    result: JobResult,
    began: float,
) -> None:
    from governor import report

    job = report.job_report(os.path.basename(command[0]), command, layout.labels(), result)
    containers = governor.containers()
    report.write(
        report.Report(
            result.exit_code,
            result.signal,
            time.monotonic() - began,
            [job],
            governor.enforcement(),
            containers,
        ),
        path,
    )


def _cpus(text: str) -> str:
    parse_cpus(text)
    return text
