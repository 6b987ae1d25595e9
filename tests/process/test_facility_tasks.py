from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.programs.facility_support import (
    DEADLINE,
    Parent,
    as_user,
    compiled,
    die_with,
    eventually,
    filtered,
    forked,
    receive,
    respond,
    set_dumpable,
)
from workers import tasks
from workers.syscalls import table

CLONES = table().tasks
USERS = ["me", "nobody"]


def sleeping_threads(parent: Parent) -> None:
    for _ in range(4):
        threading.Thread(target=parent.wait, daemon=True).start()
    parent.say("started")
    parent.wait()


def spinning(parent: Parent) -> None:
    parent.say("spinning")
    while True:
        pass


def test_threads_are_counted() -> None:
    with forked(sleeping_threads) as child:
        child.hear()
        assert tasks.count(child.pid) == 5


def test_a_zombie_is_one_task_and_a_reaped_process_none() -> None:
    with forked(lambda parent: None) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert tasks.count(child.pid) == 1
        child.reap()
        assert tasks.count(child.pid) == 0


def test_a_process_whose_leader_has_gone_still_counts(tmp_path: Path) -> None:
    program = compiled("facility_leader", tmp_path)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        assert tasks.count(process.pid) == 2


@pytest.mark.parametrize("user", USERS)
def test_sleeping_elsewhere_settles(user: str) -> None:
    def waiting(parent: Parent) -> None:
        parent.say("waits")
        parent.wait()

    def body() -> None:
        with forked(waiting) as child:
            child.hear()
            reservation = tasks.reserve(child.pid)
            eventually(lambda: tasks.settled(reservation, CLONES))
            assert tasks.run_ns(child.pid) is not None

    as_user(user, body)


def test_sleeping_elsewhere_settles_though_unreadable() -> None:
    def waiting(parent: Parent) -> None:
        set_dumpable(False)
        parent.say("waits")
        parent.wait()

    def body() -> None:
        with forked(waiting) as child:
            child.hear()
            with pytest.raises(PermissionError):
                Path(f"/proc/{child.pid}/syscall").read_text()
            reservation = tasks.reserve(child.pid)
            eventually(lambda: tasks.settled(reservation, CLONES))
            assert reservation.cost_ns is None or reservation.cost_ns > 0

    as_user("nobody", body)


def test_a_gone_thread_settles() -> None:
    with forked(lambda parent: None) as child:
        child.reap()
        assert tasks.run_ns(child.pid) is None
        assert tasks.settled(tasks.reserve(child.pid), CLONES)


def test_a_running_thread_settles_by_run_time_and_not_at_first_sight() -> None:
    with forked(spinning) as child:
        child.hear()
        reservation = tasks.reserve(child.pid)
        assert not tasks.settled(reservation, CLONES)
        assert reservation.run_ns is not None
        assert reservation.cost_ns is not None
        started = reservation.run_ns
        eventually(lambda: tasks.settled(reservation, CLONES))
        now = tasks.run_ns(child.pid)
        assert now is not None
        assert now - started > reservation.cost_ns


def test_a_big_process_may_take_longer_to_fork() -> None:
    def big(parent: Parent) -> None:
        memory = b"x" * (64 << 20)
        spinning(parent)
        del memory

    costs = []
    for body in (spinning, big):
        with forked(body) as child:
            child.hear()
            reservation = tasks.reserve(child.pid)
            tasks.settled(reservation, CLONES)
            assert reservation.cost_ns is not None
            costs.append(reservation.cost_ns)
    assert costs[1] - costs[0] > 60 * 100_000


def test_another_thread_with_the_same_id_settles() -> None:
    with forked(spinning) as child:
        child.hear()
        reservation = tasks.reserve(child.pid)
        tasks.settled(reservation, CLONES)
        reservation.run_ns = 1 << 62
        assert tasks.settled(reservation, CLONES)


def test_a_fork_that_has_not_happened_is_not_settled() -> None:
    def body(parent: Parent) -> None:
        if os.fork() == 0:
            os._exit(0)
        parent.say("forked")

    with filtered({"tasks"}, body) as (child, listener):
        assert select.select([listener], [], [], DEADLINE)[0]
        call = receive(listener)
        reservation = tasks.reserve(call.tid)
        assert not any(tasks.settled(reservation, CLONES) for _ in range(50))
        respond(listener, call.id, 0)
        assert child.hear() == "forked"


@pytest.mark.parametrize("user", USERS)
def test_a_vfork_is_settled_once_its_child_is_there(user: str, tmp_path: Path) -> None:
    # The program is reached by descriptor: the directory is closed to other users.
    program = os.open(compiled("facility_vfork", tmp_path), os.O_RDONLY)
    path = f"/proc/self/fd/{program}"

    def body() -> None:
        with subprocess.Popen([path], stdout=subprocess.PIPE, pass_fds=[program]) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            (vforked,) = map(int, children.read_text().split())
            try:
                reservation = tasks.reserve(process.pid)
                eventually(lambda: tasks.settled(reservation, CLONES))
                where = Path(f"/proc/{process.pid}/syscall").read_text().split()[0]
                assert int(where) in CLONES
            finally:
                os.kill(vforked, 9)

    try:
        as_user(user, body)
    finally:
        os.close(program)


@pytest.mark.parametrize("mebibytes", [0, 64])
@pytest.mark.parametrize("spin", [False, True])
def test_when_a_fork_is_settled_its_child_can_be_counted(spin: bool, mebibytes: int) -> None:
    """The forking process has to share its CPUs, so that it is often put off in the middle."""
    forks = 12

    def body(parent: Parent) -> None:
        pid = os.getpid()
        memory = bytearray(mebibytes << 20)
        parent.stream.setblocking(not spin)
        for _ in range(forks):
            if os.fork() == 0:
                die_with(pid)
                signal.pause()
            wait_for_word(parent)
        parent.say(len(memory))

    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(forked(spinning)).hear()
        child, listener = stack.enter_context(filtered({"tasks"}, body))
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        for number in range(forks):
            assert select.select([listener], [], [], DEADLINE)[0]
            call = receive(listener)
            reservation = tasks.reserve(call.tid)
            respond(listener, call.id, 0)
            eventually(partial(tasks.settled, reservation, CLONES))
            assert len(children.read_text().split()) == number + 1
            child.say()
        assert child.hear() == mebibytes << 20


def wait_for_word(parent: Parent) -> None:
    """Wait for a byte: asleep, or running when the stream does not block."""
    while True:
        try:
            assert parent.stream.recv(1)
        except BlockingIOError:
            continue
        return
