"""What an admitted trap costs, in system calls and looks: two calls, and none at the kernel."""

from __future__ import annotations

from collections import Counter as Counts
from typing import Any, Final, NamedTuple

import pytest

from tests.unit.fake_census import FakeCensus
from workers import listener, seccomp
from workers.accounts import Accounts
from workers.demands import Demands
from workers.listener import Bell, Listener
from workers.seccomp import RECV, REQUEST, RESPONSE, SEND
from workers.syscalls import table

GROUP, JOB, TID, FD = 5, 1, 4321, 99
"""No descriptor has the number FD: whatever reaches the kernel with it fails."""
TRAPS: Final = 1000


class Kernel(Bell):
    """Traps of one call, received and answered; ``calls`` counts what was asked of it."""

    def __init__(self, nr: int) -> None:
        self.nr = nr
        self.calls: Counts[int] = Counts()
        self.admitted: list[int] = []
        self.interrupted: set[int] = set()
        """Which answers a signal interrupts."""
        self.rang = False

    def ioctl(self, fd: int, operation: int, argument: Any) -> int:
        assert fd == FD
        self.calls[operation] += 1
        if operation == RECV:
            assert not any(argument[: REQUEST.size])  # the kernel insists
            id = 1 << 63 | self.calls[RECV]
            REQUEST.pack_into(argument, 0, id, TID, 0, self.nr, 0, 0, *[0] * 6)
        elif operation == SEND:
            if self.calls[SEND] in self.interrupted:
                raise InterruptedError
            id, value, error, flags = RESPONSE.unpack_from(argument)
            assert (value, error, flags) == (0, 0, seccomp.CONTINUE)
            self.admitted.append(id)
            self.rang = len(self.admitted) == TRAPS
        return 0


class World(NamedTuple):
    """A listener on that kernel, and what it counts with."""

    kernel: Kernel
    listener: Listener
    accounts: Accounts
    census: FakeCensus


@pytest.fixture(params=["clone", "openat"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    calls = table()
    kernel = Kernel(calls.clone if request.param == "clone" else _openat())
    monkeypatch.setattr(listener, "ioctl", kernel.ioctl)
    monkeypatch.setattr(seccomp, "set_sync", lambda fd, on: True)
    monkeypatch.setattr(seccomp, "waiting_receive", lambda slot: (kernel.ioctl, slot))
    census = FakeCensus()
    accounts = Accounts(census)
    for id, resource in ((1, "tasks"), (2, "files")):
        accounts.set_counter(id, resource, 100_000)
    plan = {"tasks": [1], "files": [2]}
    accounts.set_plan(GROUP, plan, plan, None)
    estate: Any = type("Memory", (), {"slot": lambda self, job: memoryview(bytearray(2048))})()
    demands = Demands(calls, ["tasks", "files"])
    return World(
        kernel, Listener(FD, JOB, GROUP, demands, -1, accounts, estate, []), accounts, census
    )


def _openat() -> int:
    return next(nr for nr in Demands(table(), ["files"]).quick if nr in (56, 257))


def test_a_trap_is_two_system_calls_and_no_look_at_anybody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    for name in ("members", "count", "at_most", "settled", "firm", "threads"):
        monkeypatch.setattr(world.census, name, lambda *_, name=name: looks.append(name))
    assert world.listener.answer(world.kernel) is None
    assert world.kernel.calls == {RECV: TRAPS, SEND: TRAPS}
    assert world.kernel.admitted == [1 << 63 | number for number in range(1, TRAPS + 1)]
    assert world.listener.last_id == world.kernel.admitted[-1]
    assert looks == []
    world.accounts.book()
    assert world.accounts.tally.calls == {world.kernel.nr: TRAPS}


def test_the_caller_is_noted_where_it_is_another_one_only(world: World) -> None:
    turns: list[int] = world.listener._turns
    assert world.listener.answer(world.kernel) is None
    assert turns == [TID]


def test_an_answer_that_a_signal_interrupts_is_given_again(world: World) -> None:
    """The kernel waits for the lock of the filter interruptibly."""
    world.kernel.interrupted = {1, 2, 500}
    assert world.listener.answer(world.kernel) is None
    assert world.kernel.admitted == [1 << 63 | number for number in range(1, TRAPS + 1)]
    assert world.kernel.calls == {RECV: TRAPS, SEND: TRAPS + 3}
    world.kernel.interrupted = {TRAPS + 4}
    assert world.listener.send(7, 0, seccomp.CONTINUE)
    assert world.kernel.admitted[-1] == 7


def test_a_listener_that_a_signal_interrupts_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def ioctl(fd: int, operation: int, argument: Any) -> int:
        asked.append(operation)
        if len(asked) % 2:
            raise InterruptedError
        return 0

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    assert seccomp.id_valid(FD, 7)
    assert seccomp.set_sync(FD, True)
    assert asked == [seccomp.ID_VALID] * 2 + [seccomp.SET_FLAGS] * 2
