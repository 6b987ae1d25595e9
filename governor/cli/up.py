"""``governor up``: a governor that goes on running, for whoever of its user comes to use it.

The process is the governor's owner, as a Python program with one of its own is: the supervisor
ends with it, and metrics are served by it. Detached, it is the same in a session of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from governor.cli.arguments import (
    add_agent_timeout,
    add_directory,
    add_events,
    add_metrics,
    checked,
    serving,
)
from governor.cli.layout import Layout, add_layout
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Governor
    from governor.daemon import Ready
    from governor.serving import Serving

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_DESCRIPTION = """\
Run a governor until Ctrl-C, SIGTERM or 'governor down'. Other commands use it:
mount, mkdir, set, 'run --at' and so on. Only its user and root may.

Exit status: 0 when it was ended on purpose, 1 when it failed or could not
start, 2 for a mistake on the command line."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``up`` command."""
    parser = subparsers.add_parser(
        "up",
        help="run a governor for others to use",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--detach", action="store_true", help="in the background; return when it is ready"
    )
    parser.add_argument(
        "--state",
        type=checked(_directory),
        metavar="DIR",
        help="record everything in DIR, and go on with what is recorded there",
    )
    add_layout(parser)
    add_metrics(parser)
    add_events(parser)
    add_agent_timeout(parser)
    add_directory(parser)
    parser.set_defaults(run=run, failure=1)


def run(args: argparse.Namespace) -> int:
    """Run a governor, or leave one running; returns the exit code."""
    from governor import rundir

    layout = Layout.exactly(args.hierarchy, args.settings)
    path = rundir.directory(args.dir)
    state = _state(args.state, path)
    metrics = serving(args)  # files are named from here, which who is detached leaves

    def keep(ready: Ready, log: bool) -> int:
        return _keep(path, state, layout, metrics, args, ready, log)

    if args.detach:
        from governor.daemon import detach

        said = detach(lambda ready: keep(ready, log=True))
        print(rundir.read_log(path), end="", file=sys.stderr)
        print(said)
        return 0
    return keep(_say, log=False)


def _state(given: str | None, path: str) -> str:
    """The state directory; empty for none. EINVAL: it is in the one at ``path``, which goes."""
    if given is None:
        return ""
    state = os.path.abspath(given)
    if os.path.commonpath(map(os.path.realpath, (path, state))) == os.path.realpath(path):
        raise GovernorError(
            errno.EINVAL,
            f"state cannot be kept in {path}: that directory is removed when the governor ends; "
            f"choose another for --state",
        )
    return state


def _directory(text: str) -> str:
    """A directory; an empty one is a variable that is not set. Raises ValueError."""
    if not text:
        raise ValueError("an empty name is no directory")
    return text


def _say(words: str) -> None:
    print(words, flush=True)


def _keep(
    path: str,
    state: str,
    layout: Layout,
    metrics: Serving | None,
    args: argparse.Namespace,
    ready: Ready,
    log: bool,
) -> int:
    """Own a governor at ``path`` until it ends, or is to end."""
    from governor import rundir
    from governor.api import Governor
    from governor.launch import open_standard_streams

    open_standard_streams()  # the lock must not get one of their numbers
    lock = rundir.claim(path, state)
    try:
        if log:
            descriptor = rundir.open_log(path)
            os.dup2(descriptor, 2)
            os.close(descriptor)
        # Signals first: one that comes while it starts would leave it, with a state, to itself.
        with (
            _signals() as heard,
            Governor(
                agent_timeout=args.agent_timeout,
                events=args.events,
                fork=True,
                directory=path,
                lock=lock,
                state=state,
            ) as governor,
        ):
            try:
                rundir.record(path, governor.pid, governor.nonce)
                layout.build(governor, again=bool(state))
                if metrics is not None:
                    governor.serve_metrics(metrics)
            except BaseException:
                governor.back_out()
                raise
            served = f", metrics at {metrics.url}" if metrics else ""
            ready(f"governor runs at {path}: process {governor.pid}{served}")
            ended_by = _wait(governor, heard, log, state)
        if not log:
            print(f"governor: ended by {ended_by}", file=sys.stderr)
        return 0
    finally:
        rundir.leave(path, lock)


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket on which the numbers of signals arrive that would end us."""
    here, there = socket.socketpair()
    there.setblocking(False)
    with here, there:
        before = signal.set_wakeup_fd(there.fileno())
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        try:
            yield here
        finally:
            signal.set_wakeup_fd(before)


def _wait(governor: Governor, heard: socket.socket, log: bool, state: str) -> str:
    """Wait for the end or for a reason to end; what it was. EIO: the supervisor has failed.

    ``log``: standard error is a log, where that has to be before it is closed.
    """
    try:
        return _wait_for_end(governor, heard, state)
    except GovernorError as error:
        if log:
            print(f"governor: {error.message}", file=sys.stderr, flush=True)
        raise


def _wait_for_end(governor: Governor, heard: socket.socket, state: str) -> str:
    from governor import rundir

    ended = os.pidfd_open(governor.pid)
    try:
        if heard.fileno() in select.select([heard.fileno(), ended], [], [])[0]:
            return signal.Signals(heard.recv(1)[0]).name
        # Only looked at: Governor.close reaps it.
        status = os.waitid(os.P_PIDFD, ended, os.WEXITED | os.WNOWAIT)
    finally:
        os.close(ended)
    assert status is not None
    after = "all jobs were ended with it"
    if status.si_code != os.CLD_EXITED:
        if state:
            after = f"'{rundir.going_on(governor.directory, state)}' goes on with its jobs"
        raise GovernorError(
            errno.EIO, f"the supervisor was ended by signal {status.si_status}; {after}"
        )
    if status.si_status:
        raise GovernorError(errno.EIO, f"the supervisor has failed; {after}")
    return "request"
