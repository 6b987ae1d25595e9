from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs.facility_support import Parent, as_user, forked, prctl, set_dumpable
from workers import cpu

USERS = ["me", "nobody"]
PR_SET_NAME = 15
BURN_NS = 60_000_000


def burn(nanoseconds: int) -> None:
    end = time.process_time_ns() + nanoseconds
    while time.process_time_ns() < end:
        pass


def burning(parent: Parent) -> None:
    burn(BURN_NS)
    parent.say(time.process_time_ns())
    parent.wait()
    parent.say(time.process_time_ns())


@pytest.mark.parametrize("user", USERS)
def test_the_clock_of_another_process(user: str) -> None:
    def body() -> None:
        with forked(burning) as child:
            before = child.hear()
            measured = cpu.process_ns(child.pid)
            child.say()
            after = child.hear()
            assert measured is not None
            assert before <= measured <= after

    as_user(user, body)


def test_the_clock_goes_on_in_a_zombie_and_ends_with_the_reaping() -> None:
    with forked(lambda parent: burn(BURN_NS)) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        measured = cpu.process_ns(child.pid)
        assert measured is not None
        assert measured >= BURN_NS
        sample = cpu.sample(child.pid)
        assert sample is not None
        assert sample.own_ns == measured
        child.reap()
        assert cpu.process_ns(child.pid) is None
        assert cpu.sample(child.pid) is None
        assert not cpu.ignores_sigchld(child.pid)


def burn_in_the_kernel(nanoseconds: int) -> None:
    end = time.process_time_ns() + nanoseconds
    with open("/dev/zero", "rb", buffering=0) as zero:
        buffer = bytearray(1 << 20)
        while time.process_time_ns() < end:
            zero.readinto(buffer)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("work", [burn, burn_in_the_kernel])
def test_the_user_part_is_what_the_process_itself_is_told(
    user: str, work: Callable[[int], None]
) -> None:
    """Of its own time and of that of a child that it has waited for."""

    def both(parent: Parent) -> None:
        if (pid := os.fork()) == 0:
            work(BURN_NS)
            os._exit(0)
        os.waitpid(pid, 0)
        work(4 * BURN_NS)
        times = os.times()
        parent.say((times.user + times.children_user, times.system + times.children_system))
        parent.wait()

    def body() -> None:
        with forked(both) as child:
            user_seconds, system_seconds = child.hear()
            sample = cpu.sample(child.pid)
            assert sample is not None
            total = sample.own_ns + sample.children_ns
            assert 0 <= sample.user_ns <= total
            assert sample.user_ns == pytest.approx(user_seconds * 1e9, abs=30e6)
            assert total - sample.user_ns == pytest.approx(system_seconds * 1e9, abs=30e6)

    as_user(user, body)


@pytest.mark.parametrize(
    ("clocks", "expected"),
    [
        ((0, 0), 1001),  # before the first tick
        ((3, 3), 1001),
        ((0, 3), 0),
        ((1, 3), 333),
        ((5, 3), 1001),  # read one after the other
        (None, 1001),  # reaped meanwhile
    ],
)
def test_a_time_is_divided_as_its_ticks_are(
    clocks: tuple[int, int] | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock(pid: int, which: int) -> int:
        if clocks is None:
            raise OSError(errno.EINVAL, "reaped")
        return {cpu._CPUCLOCK_VIRT: clocks[0], cpu._CPUCLOCK_PROF: clocks[1]}[which]

    monkeypatch.setattr(cpu, "_clock", clock)
    assert cpu.user_ns(1, 1001) == expected


def test_the_time_of_reaped_children() -> None:
    def body(parent: Parent) -> None:
        if (pid := os.fork()) == 0:
            burn(BURN_NS)
            os._exit(0)
        os.waitpid(pid, 0)
        times = os.times()
        parent.say(times.children_user + times.children_system)
        parent.wait()

    with forked(body) as child:
        seconds = child.hear()
        sample = cpu.sample(child.pid)
        assert sample is not None
        assert sample.children_ns == pytest.approx(seconds * 1e9)
        assert sample.children_ns >= BURN_NS // 2
        assert sample.ppid == os.getpid()


def test_a_name_may_look_like_fields() -> None:
    def body(parent: Parent) -> None:
        name = b") R 1 (x) 2 3\0"
        import ctypes

        buffer = ctypes.create_string_buffer(name)
        prctl(PR_SET_NAME, ctypes.addressof(buffer))
        parent.say("named")
        parent.wait()

    with forked(body) as child:
        before = cpu.sample(child.pid)
        assert child.hear() == "named"
        assert ") R 1" in Path(f"/proc/{child.pid}/comm").read_text()
        sample = cpu.sample(child.pid)
        assert before is not None
        assert sample is not None
        assert sample[:3] == before[:3]


def test_an_unreadable_process_has_times_too() -> None:
    def body(parent: Parent) -> None:
        set_dumpable(False)
        parent.say("closed")
        parent.wait()

    def run() -> None:
        with forked(body) as child:
            child.hear()
            assert cpu.sample(child.pid) is not None
            assert not cpu.ignores_sigchld(child.pid)

    as_user("nobody", run)


@pytest.mark.parametrize(("handler", "ignored"), [(signal.SIG_IGN, True), (signal.SIG_DFL, False)])
def test_who_ignores_the_end_of_children(handler: signal.Handlers, ignored: bool) -> None:
    def body(parent: Parent) -> None:
        signal.signal(signal.SIGCHLD, handler)
        parent.say("set")
        parent.wait()

    with forked(body) as child:
        child.hear()
        assert cpu.ignores_sigchld(child.pid) is ignored
