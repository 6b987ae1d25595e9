"""Reaping in two steps says what wait4(2) would have said."""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Callable

import pytest

from governor.wire.codec import Message
from governor.wire.spawner import Buried, Reaped, UserTime
from tests.process.helpers import exists, own_nonce
from workers import cpu, membership
from workers.membership import Tag
from workers.undertaker import Undertaker, children, is_zombie

NONCE = own_nonce()


def fork(become: Callable[[], object]) -> int:
    """A child that has ended."""
    pid = os.fork()
    if pid == 0:
        try:
            become()
        finally:
            os._exit(99)
    end = os.pidfd_open(pid)
    select.select([end], [], [])
    os.close(end)
    return pid


def burn() -> None:
    while time.process_time() < 0.02:
        pass
    os._exit(3)


def grandchild() -> None:
    if os.fork() == 0:
        burn()
    os.wait()
    os._exit(0)


def bury(pid: int) -> list[Message]:
    """What is said of a child; in between, it is there until it is said to be gone."""
    said: list[Message] = []

    def hear(message: Message) -> None:
        assert exists(pid) != isinstance(message, Buried)
        said.append(message)

    Undertaker(NONCE, hear).bury_all()
    return said


def dump() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # the shell of a job in the background ignores it
    os.kill(os.getpid(), signal.SIGQUIT)


@pytest.mark.parametrize(
    ("become", "code"),
    [(lambda: os._exit(7), 7), (lambda: os.kill(os.getpid(), 9), -9), (dump, -signal.SIGQUIT)],
)
def test_status(become: Callable[[], object], code: int) -> None:
    pid = fork(become)
    assert is_zombie(pid)
    assert pid in children(os.getpid())
    _, reaped, buried = bury(pid)
    assert isinstance(reaped, Reaped)
    assert os.waitstatus_to_exitcode(reaped.status) == code
    assert (reaped.pid, reaped.job, reaped.group, buried) == (pid, 0, 0, Buried(pid))


@pytest.mark.parametrize("become", [burn, grandchild])
def test_time_is_that_of_all_children_it_waited_for(become: Callable[[], object]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pid = fork(become)
    start = cpu.used(pid)[1]
    user, reaped, _ = bury(pid)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert isinstance(user, UserTime)
    assert isinstance(reaped, Reaped)
    assert reaped.start == start
    assert user.ns == pytest.approx((after.ru_utime - before.ru_utime) * 1e9, abs=5000)
    both = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert reaped.cpu == pytest.approx(both * 1e9, abs=5000)
    assert reaped.cpu >= 20_000_000


@pytest.mark.parametrize(
    ("nonce", "expected"), [(NONCE, (4, 5)), (NONCE - 1, (0, 0))], ids=["own", "another"]
)
def test_tag_of_another_governor_says_nothing(nonce: int, expected: tuple[int, int]) -> None:
    def become() -> None:
        membership.write(os.getpid(), Tag(nonce, 4, 5))
        os._exit(0)

    _, reaped, _ = bury(fork(become))
    assert isinstance(reaped, Reaped)
    assert (reaped.job, reaped.group) == expected


def test_nobody_has_ended() -> None:
    assert bury(0) == []
