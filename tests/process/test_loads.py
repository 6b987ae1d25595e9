"""The loads of `make stress` at a tenth of their size, for what they check, not for their time."""

from __future__ import annotations

import fcntl
import os
import resource
import threading

import pytest

from governor.api import Governor
from governor.supervisor.release import has_ended
from tests.capabilities import need
from tests.process.helpers import eventually
from tests.programs import build
from tests.stress import churn, crowd, moves, wide

pytestmark = pytest.mark.once

SELECT_MAX = 1024
"""The first descriptor that select(2) does not take (FD_SETSIZE)."""


@pytest.fixture
def jobs_of_many() -> None:
    """The program that the jobs of the loads run."""
    try:
        build.compile("load_job")
    except build.CannotCompile as error:
        need(False, str(error))


@pytest.mark.usefixtures("jobs_of_many")
def test_crowd(gov: Governor) -> None:
    crowd.run(gov, crowd.Crowd(jobs=100, containers=20))


@pytest.mark.usefixtures("jobs_of_many")
def test_moves(gov: Governor) -> None:
    moves.run(gov, 400, jobs=4)


@pytest.mark.usefixtures("runtime")
def test_wide() -> None:
    with Governor(metrics=0) as gov:
        wide.run(gov, 1000)


def test_churn(gov: Governor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(churn, "ENDED_MAX", 20)
    monkeypatch.setattr(churn, "FORKS", 20)
    churn.run(gov, 1.0)


def test_processes_are_waited_for_by_descriptors_of_any_number() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    need(most > SELECT_MAX, f"{most} descriptors are all there may be")
    pidfd = os.pidfd_open(os.getpid())
    high = fcntl.fcntl(pidfd, fcntl.F_DUPFD_CLOEXEC, SELECT_MAX)
    try:
        assert not has_ended(high)
    finally:
        os.close(pidfd)
        os.close(high)


def test_threads_that_have_ended_leave_no_connection(gov: Governor) -> None:
    def ask() -> None:
        thread = threading.Thread(target=gov.status)
        thread.start()
        thread.join()

    ask()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        ask()
    # Descriptors of a connection are closed by a thread of ZeroMQ's, a little later.
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, "connections are closed")
