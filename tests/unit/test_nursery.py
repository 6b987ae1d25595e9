"""Workers and the nursery that forks them: what is known of them, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from governor.api.executor.task import Task
from governor.api.executor.worker import Worker
from governor.wire.pool import FROM_NURSERY, Forked
from workers import channel

DIES_OVER_A_FORK = """
import os, socket, sys
from workers import nursery

def fork():
    if os.fork():
        os._exit(0)  # before it could say or note anything
    return 0

nursery._fork = fork
end, task = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
nursery.Nursery(end, b"", 1)._fork(7, task)
"""


def test_a_worker_is_known_though_its_nursery_died_over_its_fork() -> None:
    """Else the executor would take it for one that has never been, and have its task done twice."""
    here, there = channel.pair()
    calls, theirs = socket.socketpair()
    with here, calls:
        with there, theirs:
            given = [there.fileno(), theirs.fileno()]
            subprocess.run(
                [sys.executable, "-c", DIES_OVER_A_FORK, *map(str, given)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                pass_fds=given,
                check=True,
            )
        received = channel.receive(here, FROM_NURSERY)
        assert received is not None
        forked, _ = received
        assert isinstance(forked, Forked)
        assert (forked.worker, forked.errno) == (7, 0)
        assert channel.receive(here, FROM_NURSERY) is None
        end = os.pidfd_open(forked.pid)
        calls.close()  # it has nothing to do any more
        assert channel.is_readable(end, 60)
        os.close(end)


def test_what_a_worker_has_never_had_can_be_given_to_another() -> None:
    there, gone = Worker(1), Worker(2)
    gone.theirs.close()
    for worker in (there, gone):
        worker.give(Task((pow, (2, 2), {}), None))
        worker.close()
    assert (there.lost, gone.lost) == (False, True)


def test_a_worker_is_interrupted_as_soon_as_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task may have begun before its executor has heard of its process."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    early, late, spared = Worker(1), Worker(2), Worker(3)
    early.interrupt()
    assert sent == []
    early.begin(101)
    late.begin(102)
    spared.begin(103)
    late.interrupt()
    assert sent == [(101, signal.SIGINT), (102, signal.SIGINT)]
    for worker in (early, late, spared):
        worker.close()
