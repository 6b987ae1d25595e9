"""The supervisor process from its start, with its spawner or that of another, to its end.

The spawner is forked as soon as everything is imported that both need. The supervisor imports
the rest while the spawner does the same for the agent and the workers, which are forks of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

# What is not used here is what the spawner needs as well as the supervisor: imported once.
from governor import transport
from governor.errors import GovernorError
from governor.supervisor.terms import Terms
from governor.wire import agent, job  # noqa: F401
from governor.wire.spawner import Quit
from workers import channel, estate, seccomp, spawner, tally, tasks  # noqa: F401

if TYPE_CHECKING:
    from governor.supervisor.server import Supervisor
    from governor.supervisor.state import State

_FEWEST_FILES = 512
"""Descriptors that supervisor and agent each need, with their reserve and room for some jobs."""
READY = b"ready"
"""What the owner hears when clients may connect, and then what marks processes."""


def main(terms: Terms, owner: socket.socket, make_directory: Callable[[], str]) -> int:
    """Run a supervisor with its spawner in this process, which has no threads yet.

    ``owner`` hears `READY`, the nonce and the directory, or the errno and the words of a failure;
    its end is the supervisor's end, unless everything is recorded. ``make_directory()`` makes
    one where the terms name none. Returns the exit status: 1 when it failed.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # What is ignored, as under nohup, is to be ignored by the jobs as well.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        terms = terms if terms.directory else terms._replace(directory=make_directory())
        terms, supervisor = _start(terms, owner)
    except GovernorError as error:
        with contextlib.suppress(OSError):
            os.rmdir(terms.directory)
        _tell(owner, f"{error.errno} {error.message}".encode(errors="replace"))
        return 1
    _tell(owner, b"%s %d %s" % (READY, terms.nonce, os.fsencode(terms.directory)))
    supervisor.begin()
    try:
        supervisor.serve()
    except GovernorError as error:
        print(f"governor: {error.message}", file=sys.stderr)
        return 1
    return 0


def _tell(owner: socket.socket, words: bytes) -> None:
    """Send to the owner; one that has ended meanwhile is noticed when the supervisor serves."""
    with contextlib.suppress(BrokenPipeError):
        owner.send(words)


def _start(terms: Terms, owner: socket.socket) -> tuple[Terms, Supervisor]:
    """A supervisor that may serve, and the terms that it goes by."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < _FEWEST_FILES:
        reason = f"a governor needs {_FEWEST_FILES} descriptors; the hard limit here is {most}"
        raise GovernorError(errno.EMFILE, f"{reason} (ulimit -Hn)")
    spawner.become_subreaper()  # before the fork: it is for those who were born afterwards
    state = None
    if terms.state:
        from governor.supervisor.state import State

        state = State(terms.state)
        terms = state.take_over(terms, files)
        if state.inherited is not None:
            from governor.supervisor.server import Supervisor

            transport.make_room()
            return terms, Supervisor(terms, state.inherited.link, owner, state)
    return terms, _start_with_spawner(terms, owner, files, state)


def _start_with_spawner(
    terms: Terms, owner: socket.socket, files: int, state: State | None
) -> Supervisor:
    """``files``: how many descriptors a job may have, as our caller may."""
    directory, nonce, lasting = terms.directory, terms.nonce, state is not None
    pid, end = spawner.start(nonce, directory, lasting)
    spawner.take_descriptors()  # after the fork: jobs inherit the spawner's limit
    transport.make_room()
    from governor.supervisor.server import Supervisor
    from governor.supervisor.spawner_link import SpawnerLink

    kept = [] if terms.lock is None or lasting else [terms.lock]

    def restart() -> tuple[int, socket.socket]:
        return spawner.replace(nonce, directory, files, kept, lasting)

    link = SpawnerLink(pid, end, nonce, restart, terms.agent_timeout, lasting)
    try:
        return Supervisor(terms, link, owner, state)
    except GovernorError:
        channel.send(end, Quit())
        raise
