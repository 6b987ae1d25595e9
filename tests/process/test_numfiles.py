"""numfiles: a group's open files never exceed its limit, whatever makes them and whoever shares."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from governor.api import Container
from tests.process.running import Started, World, eventually, failcnt, program
from tests.process.running import world as make_world
from workers.files import KCMP_FILE, kcmp

STDIO = 3

KINDS = """
    openat openat2 o_path socket socketpair pipe2 eventfd2
    epoll_create1 memfd_create memfd_secret accept accept4 timerfd_create
    inotify_init1 signalfd4 pidfd_open clone clone3 perf_event_open userfaultfd
    fanotify_init bpf mq_open landlock_create_ruleset open_tree fsopen fspick open_by_handle_at
    fsmount open_tree_attr
""".split()
if os.uname().machine == "x86_64":
    # aarch64 has only their successors.
    KINDS += "open creat pipe eventfd epoll_create inotify_init signalfd".split()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


def script(text: str) -> list[str]:
    """A Python program that has all the modules it needs before it fills its limit."""
    head = "import errno, fcntl, os, select, signal, socket, subprocess, sys, threading\n"
    return [sys.executable, "-S", "-E", "-u", "-c", head + _LIBRARY + text]


_LIBRARY = """
def fill():
    "Open files until it is refused."
    made = []
    try:
        while True:
            made.append(os.eventfd(0))
    except OSError as error:
        assert error.errno == errno.EMFILE, error
    return made

def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno == errno.EMFILE
    return False
"""


class TestWhatIsCharged:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_of_file(self, world: World, kind: str) -> None:
        """Filled with this kind alone; where we may not make it, it is refused all the same."""
        container = world.new(world.load, numfiles_limit=13)
        ran = world.run([program("files_kinds"), kind, "13"], [container])
        assert ran.exit_code == 0, ran
        refused, admitted, held, last = ran.out.split()
        assert refused == "EMFILE", ran
        assert admitted != "EMFILE", "there was room"
        if held != "-":
            assert (held, last) == ("13", "EMFILE")
        assert failcnt(container, "numfiles") == (1 if held == "-" else 2)
        assert int(container["numfiles.maxheld"]) <= 13

    def test_what_is_not_a_new_file(self, world: World) -> None:
        """At the limit descriptors of the same files can be made by every means there is."""
        container = world.new(world.load, numfiles_limit=40)
        ran = world.run(
            script(
                """
one, other = socket.socketpair()
read, write = os.pipe()
import array, ctypes
libc = ctypes.CDLL(None, use_errno=True)
mask = ctypes.create_string_buffer(8)
sfd = libc.syscall(289, -1, mask, 8, 0)
made = fill()
print(len(made) > 20)
copies = [os.dup(made[0]) for _ in range(50)]
os.dup2(made[0], 200)
os.dup2(made[0], 201, inheritable=False)
fcntl.fcntl(made[0], fcntl.F_DUPFD, 300)
socket.send_fds(one, [b"x"], [made[1], made[2]])
print(len(socket.recv_fds(other, 1, 2)[1]))
print(libc.syscall(289, sfd, mask, 8, 0) == sfd)
pid = os.fork()
if pid == 0:
    os.dup(made[0])
    print(refused(os.eventfd, 0), refused(os.pipe))
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(refused(os.eventfd, 0))
os.close(copies.pop())
print(refused(os.eventfd, 0))
"""
            ),
            [container],
        )
        assert ran.err == ""
        assert ran.out.split() == "True 2 True True True 0 True True".split()
        # From Python 3.12 on os.fork opens a file of /proc to count the threads, in vain here.
        by_python = int(sys.version_info >= (3, 12))
        assert failcnt(container, "numfiles") == 5 + by_python

    def test_stdio_is_counted_once(self, world: World) -> None:
        """Three streams on one file are one open file."""
        container = world.new(world.load, numfiles_limit=10)
        same = 'exec <>/dev/null >&0 2>&0; exec "$@"'
        fill = script("sys.exit(len(fill()))")
        assert world.run(["sh", "-c", same, "-", *fill], [container]).exit_code == 9
        read, write = os.pipe()
        try:
            started = world.start(["cat"], [container], stdin=read)
            os.close(read)
            eventually(lambda: container["numfiles.held"] == STDIO, "three open files")
        finally:
            os.close(write)
        assert started.finish().exit_code == 0
        assert container["numfiles.held"] == 0

    def test_a_pipe_needs_room_for_two(self, world: World) -> None:
        container = world.new(world.load, numfiles_limit=13)
        ran = world.run(
            script(
                """
made = fill()
os.close(made.pop())
print(refused(os.pipe), refused(os.eventfd, 0))
"""
            ),
            [container],
        )
        assert ran.out.split() == ["True", "False"]

    def test_a_connection_refused_to_accept_is_not_lost(self, world: World) -> None:
        container = world.new(world.load, numfiles_limit=20)
        ran = world.run(
            script(
                """
server = socket.socket(socket.AF_UNIX)
server.bind("")
server.listen()
client = socket.socket(socket.AF_UNIX)
client.connect(server.getsockname())
made = fill()
print(refused(server.accept))
os.close(made.pop())
peer, _ = server.accept()
client.sendall(b"hello")
print(peer.recv(5).decode())
"""
            ),
            [container],
        )
        assert (ran.out.split(), ran.err) == (["True", "hello"], "")


class TestNoWayRound:
    def test_io_uring(self, world: World) -> None:
        container = world.new(world.load, numfiles_limit=50)
        ran = world.run(
            script(
                """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for call in 425, 426, 427:
    print(libc.syscall(call, 1, 0, 0, 0, 0, 0), errno.errorcode[ctypes.get_errno()])
"""
            ),
            [container],
        )
        assert ran.out.split() == ["-1", "ENOSYS"] * 3

    def test_foreign_system_call_tables(self, world: World) -> None:
        """i386 through int 0x80, and x32."""
        container = world.new(world.load, numfiles_limit=50)
        ran = world.run([program("files_abis")], [container])
        assert ran.out == "i386 open ENOSYS\ni386 eventfd ENOSYS\nx32 open ENOSYS\n"

    def test_hidden_in_another_table(self, world: World) -> None:
        """A thread that unshared its descriptors, and processes whose first thread has gone."""
        container = world.new(world.load, numfiles_limit=30)
        ran = world.run([program("files_hidden", "-pthread")], [container])
        assert ran.out == "own table EMFILE 27\nleader gone EMFILE 27\n"
        assert failcnt(container, "numfiles") == 2
        assert container["numfiles.maxheld"] == 30

    def test_across_a_fork(self, world: World) -> None:
        """A child's files are the group's, and go with the child, however it ends."""
        container = world.new(world.load, numfiles_limit=30)
        ran = world.run(
            script(
                """
for end in range(3):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        fill()
        os.write(write, b"x")
        if end == 1:
            os._exit(0)
        signal.pause()
    os.read(read, 1)
    if end == 1:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    else:
        print(refused(os.eventfd, 0))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    made = fill()
    print(len(made) > 15)
    for fd in [*made, read, write]:
        os.close(fd)
"""
            ),
            [container],
        )
        assert ran.err == ""
        assert ran.out.split() == ["True"] * 5

    def test_a_daemon_still_counts(self, world: World) -> None:
        """A process that has left its session and its parent keeps its files."""
        container = world.new(world.load, numfiles_limit=30)
        ran = world.run(
            script(
                """
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        made = fill()
        os.write(write, b"x")
        signal.pause()
    os._exit(0)
os.wait()
os.read(read, 1)
print(refused(os.eventfd, 0), refused(os.dup, 0))
"""
            ),
            [container],
        )
        assert ran.out.split() == ["True", "False"]
        assert container["numfiles.held"] == 30
        [daemon] = container.tasks
        os.kill(daemon, signal.SIGKILL)
        eventually(lambda: container["numfiles.held"] == 0, "the daemon's end")


class TestManyAtOnce:
    @pytest.mark.parametrize(
        ("processes", "threads"), [(1, 1), (1, 6), (6, 1), (3, 3)], ids=lambda n: str(n)
    )
    def test_hogs(self, world: World, processes: int, threads: int) -> None:
        """The programs' own count, which never exceeds the truth, never exceeds the limit."""
        limit = 60
        container = world.new(world.load, numfiles_limit=limit)
        hog = program("files_hog", "-pthread")
        rounds = 1500 // (processes * threads)
        several = processes * threads > 1
        command = [hog, str(processes), str(threads), str(rounds), *["meet"] * several]
        ran = world.run(command, [container])
        highest, refused, other = map(int, ran.out.split())
        assert highest <= limit - STDIO
        assert int(container["numfiles.maxheld"]) <= limit
        assert failcnt(container, "numfiles") == refused
        assert other == 0
        assert container["numfiles.held"] == 0
        if several:
            assert highest > limit - 2 * processes * threads, "it did not come up to the limit"
            assert refused > 0

    def test_against_a_count_by_brute_force(self, world: World) -> None:
        """All members stopped, every pair of their descriptors compared by the kernel."""
        limit = 40
        container = world.new(world.load, numfiles_limit=limit)
        started = world.start([program("files_share"), "4"], [container])
        seen = {0}
        for looks in itertools.count(1):
            eventually(lambda: len(container.tasks) > 1, "processes that share files")
            seen.add(brute_force(container))
            if looks >= 12 and max(seen) > limit // 2:  # they may get little time between looks
                break
        started.job.kill()
        world.gov.stop([started.job], grace=0)
        assert max(seen) <= limit, seen
        assert int(container["numfiles.maxheld"]) <= limit

    @pytest.mark.parametrize("tasks", [False, True], ids=["files", "tasks and files"])
    def test_files_that_change_hands_while_they_are_counted(
        self, world: World, tasks: bool
    ) -> None:
        """Processes that fork and end leave their files to children that came during the count."""
        container = world.new(world.load, numfiles_limit=63)
        if tasks:
            container["numtasks.limit"] = 1000
        ran = world.run([program("files_relay"), "4", "10", "300"], [container])
        highest, refused, forks = map(int, ran.out.split())
        assert forks >= 100
        assert highest == 60
        assert int(container["numfiles.maxheld"]) <= 63
        assert failcnt(container, "numfiles") == refused

    def test_freed_is_available_at_once(self, world: World) -> None:
        """Ends are not trapped: a charge that is not taken back would end this in a few rounds."""
        container = world.new(world.load, numfiles_limit=24)
        ran = world.run(
            script(
                """
made = fill()
os.close(made.pop())
for _ in range(3_000):
    os.close(os.eventfd(0))
print("never refused")
"""
            ),
            [container],
        )
        assert (ran.out, ran.err) == ("never refused\n", "")
        assert failcnt(container, "numfiles") == 1

    def test_freed_by_another_process_is_available_at_once(self, world: World) -> None:
        container = world.new(world.load, numfiles_limit=24)
        ran = world.run(
            script(
                """
there, back = os.pipe(), os.pipe()
if os.fork() == 0:
    for _ in range(100):
        os.read(there[0], 1)
        made = fill()
        assert made
        for fd in made:
            os.close(fd)
        os.write(back[1], b"x")
    os._exit(0)
for _ in range(100):
    made = fill()
    assert made
    for fd in made:
        os.close(fd)
    os.write(there[1], b"x")
    os.read(back[0], 1)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
            ),
            [container],
        )
        assert (ran.out, ran.err) == ("0\n", "")
        assert failcnt(container, "numfiles") == 200

    def test_several_jobs_share_a_container(self, world: World) -> None:
        """All are there before the first is at the limit: a start brings streams of its own.

        And a library is a file, for which there may be no room when another one is quicker.
        """
        container = world.new(world.load, numfiles_limit=50)
        hog = [
            "sh",
            "-c",
            'echo ready; read line; exec "$@"',
            "-",
            program("files_hog", "-pthread", "-static"),
        ]
        read, write = os.pipe()
        jobs = [world.start([*hog, "2", "1", "300"], [container], stdin=read) for _ in range(3)]
        for job in jobs:
            eventually(partial(has_said, job, 1), "all to be there")
        os.write(write, b"\n" * len(jobs))
        reports = [list(map(int, job.finish().out.split()[1:])) for job in jobs]
        os.close(read)
        os.close(write)
        assert all(highest <= 50 - STDIO for highest, _, _ in reports)
        assert int(container["numfiles.maxheld"]) <= 50
        assert failcnt(container, "numfiles") == sum(refused for _, refused, _ in reports)

    def test_killed_while_calls_wait_for_an_answer(self, world: World) -> None:
        """At the limit a call may wait until others have settled; nobody is left to answer then."""
        container = world.new(world.load, numfiles_limit=20)
        hog = program("files_hog", "-pthread")
        for _ in range(20):
            started = world.start([hog, "2", "4", "1000000"], [container])
            eventually(
                partial(is_refused_more, container, failcnt(container, "numfiles")), "EMFILE"
            )
            world.gov.stop([started.job], grace=0)
            assert container["numfiles.held"] == 0


class TestSeveralLimits:
    def test_the_ancestor_that_is_full_refuses(self, world: World) -> None:
        above = world.new(world.load, numfiles_limit=30)
        below, beside = above.mkdir("below"), above.mkdir("beside")
        below["numfiles.limit"] = 100
        text = "made = fill(); print(len(made)); sys.stdin.read()"
        read, write = os.pipe()
        try:
            first = world.start(script(text), [below], stdin=read)
            eventually(lambda: first.said() != "", "the first job to fill the limit")
            second = world.run(["cat", "/dev/null"], [beside])
            assert second.exit_code != 0
            assert failcnt(below, "numfiles") == failcnt(beside, "numfiles") == 0
            assert failcnt(above, "numfiles") >= 2
            assert above["numfiles.held"] == below["numfiles.held"] == 30
        finally:
            os.close(read)
            os.close(write)
        assert first.finish() == (0, "27\n", "")

    def test_limit_changed_while_it_runs(self, world: World) -> None:
        """Lowered below what is held it takes nothing away, raised it is there at once."""
        container = world.new(world.load, numfiles_limit=20)
        read, write = os.pipe()
        text = """
for _ in range(3):
    print(len(fill()))
    sys.stdin.buffer.raw.read(1)
"""
        try:
            job = world.start(script(text), [container], stdin=read)
            for line, limit in (1, 10), (2, 25):
                eventually(partial(has_said, job, line), "the limit to be filled")
                container["numfiles.limit"] = limit
                os.write(write, b"x")
            eventually(partial(has_said, job, 3), "the last limit to be filled")
            os.write(write, b"x")
        finally:
            os.close(read)
            os.close(write)
        assert job.finish() == (0, "17\n0\n5\n", "")


def is_refused_more(container: Container, before: int) -> bool:
    return failcnt(container, "numfiles") > before


def has_said(started: Started, lines: int) -> bool:
    return started.said().count("\n") == lines


def brute_force(container: Container) -> int:
    """Distinct open files of the members, which are stopped meanwhile so that none can move."""
    stopped: set[int] = set()
    try:
        while new := set(container.tasks) - stopped:
            for pid in new:
                _signal(pid, signal.SIGSTOP)
            for pid in new:
                eventually(partial(_is_still, pid), "a member to stop")
            stopped |= new
        files: list[tuple[int, int]] = []
        for pid in stopped:
            for fd in _descriptors(pid):
                if all(kcmp(pid, *other[:1], KCMP_FILE, fd, other[1]) != 0 for other in files):
                    files.append((pid, fd))
        return len(files)
    finally:
        for pid in stopped:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_still(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _descriptors(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
    except (FileNotFoundError, ProcessLookupError):
        return []
