from __future__ import annotations

import array
import itertools
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.capabilities import need
from tests.programs.facility_support import (
    LIBC,
    Child,
    Parent,
    as_user,
    compiled,
    eventually,
    forked,
    set_dumpable,
)
from workers import files
from workers.undertaker import is_zombie

USERS = ["me", "nobody"]
CLONE_FILES = 0x400


@pytest.fixture(autouse=True)
def _kcmp() -> None:
    need(files.kcmp(os.getpid(), os.getpid(), files.KCMP_FILES) == 0, "kcmp is not allowed here")


def brute_force(pids: list[int]) -> int:
    """Different files by comparing every descriptor of every thread with every file so far."""
    found: list[tuple[int, int]] = []
    for pid in pids:
        for tid in map(int, os.listdir(f"/proc/{pid}/task")):
            for number in map(int, os.listdir(f"/proc/{pid}/task/{tid}/fd")):
                if files.kcmp(tid, tid, files.KCMP_FILE, number, number):
                    continue  # that of the listing itself, when it is our own process
                if all(files.kcmp(tid, one, files.KCMP_FILE, number, fd) for one, fd in found):
                    found.append((tid, number))
    return len(found)


def shuffled_descriptors(parent: Parent, seed: int) -> None:
    """A random mixture of new, doubled, renumbered and closed descriptors, and two children."""
    choice = random.Random(seed)
    mine = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    for generation in range(3):
        for _ in range(12):
            some = choice.choice(mine)
            match choice.randrange(5):
                case 0:
                    mine += os.pipe()
                case 1:
                    mine.append(os.eventfd(0))
                case 2:
                    mine.append(os.dup(some))
                case 3:
                    os.dup2(some, choice.choice(mine))
                case _:
                    mine.append(os.open("/etc/passwd", os.O_RDONLY))
        os.close(mine.pop(choice.randrange(len(mine))))
        if generation < 2 and os.fork() == 0:
            choice = random.Random(seed + 100 + generation)
    parent.say(os.getpid())
    parent.wait()


@contextmanager
def family(seed: int) -> Iterator[list[int]]:
    with forked(lambda parent: shuffled_descriptors(parent, seed)) as child:
        yield [child.hear() for _ in range(4)]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("seed", range(3))
def test_exact_beside_a_brute_force(seed: int, user: str) -> None:
    def body() -> None:
        with family(seed) as first, family(seed + 50) as second:
            pids = [*first, *second]
            for some in (first, second[1:], pids, pids[::2], pids[::-1], [os.getpid(), *pids]):
                assert files.distinct(some) == (brute_force(some), [])
            bound = files.upper_bound(pids)
            assert bound is not None
            assert bound >= brute_force(pids)

    as_user(user, body)


def opening(count: int) -> None:
    for _ in range(count):
        os.eventfd(0)


def test_inherited_files_are_counted_once() -> None:
    def body(parent: Parent) -> None:
        opening(20)
        if os.fork():
            opening(3)
        parent.say(os.getpid())
        parent.wait()

    with forked(body) as child:
        pids = [child.hear(), child.hear()]
        each = [files.distinct([pid])[0] for pid in pids]
        assert abs(each[0] - each[1]) == 3
        assert files.distinct(pids) == (max(each), [])


def test_a_received_descriptor_is_not_a_new_file() -> None:
    ours, theirs = socket.socketpair()

    def giver(parent: Parent) -> None:
        new = os.eventfd(0)
        theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [new]))])
        waiting(parent)

    def taker(parent: Parent) -> None:
        socket.recv_fds(ours, 1, 1)
        waiting(parent)

    with ours, theirs, forked(waiting) as other, forked(giver) as first, forked(taker) as second:
        pids = [child.hear() for child in (other, first, second)]
        assert files.distinct(pids) == (brute_force(pids), [])
        assert files.distinct(pids[1:])[0] < sum(files.distinct([pid])[0] for pid in pids[1:])


def waiting(parent: Parent) -> None:
    parent.say(os.getpid())
    parent.wait()


@pytest.mark.parametrize("apart", [False, True])
def test_threads_share_a_table_unless_they_part(apart: bool) -> None:
    def thread(parent: Parent) -> None:
        if apart:
            assert LIBC.unshare(CLONE_FILES) == 0
        opening(7)
        parent.say("opened")
        parent.wait()

    def body(parent: Parent) -> None:
        parent.say(len(os.listdir("/proc/self/fd")) - 1)
        threading.Thread(target=thread, args=(parent,), daemon=True).start()
        parent.wait()

    with forked(body) as child:
        before = child.hear()
        assert child.hear() == "opened"
        assert files.distinct([child.pid]) == (brute_force([child.pid]), [])
        assert files.descriptors(child.pid) == (2 * before + 7 if apart else before + 7)


def test_a_process_whose_leader_has_gone(tmp_path: Path) -> None:
    program = compiled("facility_leader", tmp_path)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        eventually(lambda: is_zombie(process.pid))  # joined it is before it lets go of its files
        assert files.descriptors(process.pid) == 5
        assert files.distinct([process.pid]) == (5, [])


def test_zombies_and_gone_processes_hold_nothing() -> None:
    with forked(lambda parent: None) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert files.descriptors(child.pid) == 0
        assert files.distinct([child.pid]) == (0, [])
        child.reap()
        assert files.descriptors(child.pid) == 0
        assert files.distinct([child.pid]) == (0, [])
        assert files.upper_bound([child.pid]) == 0


def test_an_unreadable_process_is_named() -> None:
    def closed(parent: Parent) -> None:
        set_dumpable(False)
        waiting(parent)

    def body() -> None:
        with forked(closed) as child, forked(waiting) as other:
            pids = [child.hear(), other.hear()]
            assert files.distinct(pids) == (brute_force(pids[1:]), pids[:1])
            expected = files._size_is_number()
            assert (files.descriptors(child.pid) is not None) == expected
            assert (files.upper_bound(pids) is not None) == expected

    as_user("nobody", body)


def test_a_process_on_its_way_out_is_told_from_a_closed_one() -> None:
    def closed(parent: Parent) -> None:
        set_dumpable(False)
        waiting(parent)

    with forked(closed) as child:
        assert not files.exiting(child.hear())
        child.say()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert files.exiting(child.pid)
        child.reap()
        assert files.exiting(child.pid)


def test_files_of_a_parent_that_ends_meanwhile_are_not_lost() -> None:
    """The holder whom a file is counted for goes away: another holder stands for it."""

    def body(parent: Parent) -> None:
        opening(20)
        os.fork()
        waiting(parent)

    with forked(body) as child:
        pids = [child.hear(), child.hear()]
        (heir,) = set(pids) - {child.pid}
        found = files._apart_from_parents(files._processes(pids, "/proc")[0])
        os.kill(child.pid, signal.SIGKILL)
        child.reap()
        left = [file for file in found if files._name(file, "/proc") is not None]
        assert len(left) == len(os.listdir(f"/proc/{heir}/fd"))
        assert files._count_different([*left, *left]) == files.distinct([heir])[0]


def test_counting_while_everything_changes() -> None:
    """Processes and descriptors come and go: no error, and never more than there can be."""

    def churning(parent: Parent) -> None:
        parent.say(os.getpid())
        for number in itertools.count():
            first, second = os.pipe()
            if number % 7 == 0 and (pid := os.fork()) == 0:
                os._exit(0)
            elif number % 7 == 0:
                os.waitpid(pid, 0)
            os.close(first)
            os.close(second)

    with ExitStack() as stack:
        children: list[Child] = [stack.enter_context(forked(churning)) for _ in range(3)]
        pids = [child.hear() for child in children]
        most = len(os.listdir("/proc/self/fd")) + 3 * 6
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            number, unreadable = files.distinct(pids)
            assert 0 < number <= most
            assert unreadable == []


def test_kcmp_without_permission_fails() -> None:
    assert files.kcmp(2**22 - 5, os.getpid(), files.KCMP_FILE, 0, 0) == -1
    assert files.kcmp(os.getpid(), os.getpid(), files.KCMP_VM) == 0


def test_a_shared_mapping_of_descriptors_is_one_table() -> None:
    """A child that shares its parent's table, as clone(CLONE_FILES) makes it."""
    from tests.programs.facility_support import raw
    from workers.syscalls import table

    def body(parent: Parent) -> None:
        if raw(table().clone, CLONE_FILES | 17) == 0:
            parent.say(os.getpid())
            parent.wait()
            os._exit(0)
        parent.say(os.getpid())
        parent.wait()

    with forked(body) as child:
        pids = [child.hear(), child.hear()]
        assert files.kcmp(pids[0], pids[1], files.KCMP_FILES) == 0
        assert files.distinct(pids) == files.distinct(pids[:1])
