"""What is one socket, terminal, lock or signal, and what is not; how each is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.api import Container, Governor, Hierarchy
from governor.errors import GovernorError
from tests.process.running import World, eventually, failcnt
from tests.process.running import world as make_world

HEAD = """
import ctypes, errno, fcntl, os, signal, socket, struct, sys, threading
TIOCGPTPEER = 0x5441

def tried(call, *arguments):
    "The errno, 0 for success."
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0

def lock(file, type, start, length, command=fcntl.F_SETLK, whence=0):
    wanted = struct.pack("=hh4xqqi4x", type, whence, start, length, 0)
    return tried(fcntl.fcntl, file, command, wanted)
"""
F_OFD_SETLK = 37


def script(text: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-E", "-u", "-c", HEAD + text, *map(str, arguments)]


MOUNTED: dict[str, Hierarchy] = {}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        for name in ("numsock", "numpty", "numflock", "numsiginfo"):
            MOUNTED[name] = made.gov.mount(name, [name])
        yield made


def container(world: World, subsystem: str, limit: int) -> Container:
    return world.new(MOUNTED[subsystem], **{f"{subsystem}_limit": limit})


@pytest.fixture
def file() -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as made:
        yield Path(made.name)


class TestSockets:
    def test_what_is_no_new_socket(self, world: World) -> None:
        sockets = container(world, "numsock", 2)
        ran = world.run(
            script("""
one, other = socket.socketpair()
copies = [os.dup(one.fileno()) for _ in range(20)]
socket.send_fds(one, [b"x"], [one.fileno(), other.fileno()])
received = socket.recv_fds(other, 1, 2)[1]
if os.fork() == 0:
    print(len(received), tried(socket.socket), tried(os.pipe), tried(os.open, "/dev/null", 0))
    os._exit(0)
os.wait()
other.close()
print(tried(socket.socket))
os.close(received[1])
print(tried(socket.socket))
"""),
            [sockets],
        )
        assert ran.err == ""
        assert list(map(int, ran.out.split())) == [2, errno.ENOBUFS, 0, 0, errno.ENOBUFS, 0]

    def test_a_pair_needs_room_for_two(self, world: World) -> None:
        sockets = container(world, "numsock", 2)
        body = "s = socket.socket(); print(tried(socket.socketpair), tried(socket.socket))"
        assert world.run(script(body), [sockets]).out.split() == [str(errno.ENOBUFS), "0"]

    def test_a_connection_that_is_refused_stays_in_the_queue(self, world: World) -> None:
        sockets = container(world, "numsock", 3)
        ran = world.run(
            script("""
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
other = socket.socket()
print(tried(server.accept))
other.close()
accepted, _ = server.accept()
client.sendall(b"still there")
print(accepted.recv(100).decode())
"""),
            [sockets],
        )
        assert (ran.out, ran.err) == (f"{errno.ENOBUFS}\nstill there\n", "")

    def test_an_accept_that_waits_has_its_socket(self, world: World) -> None:
        sockets = container(world, "numsock", 2)
        read, write = os.pipe()
        server = script("""
server = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
threading.Thread(target=server.accept, daemon=True).start()
os.read(0, 1)
print(tried(socket.socket), flush=True)
os._exit(0)
""")
        started = world.start(server, [sockets], stdin=read)
        os.close(read)
        eventually(lambda: started.said() == "ready\n", "the worker has become the server")
        eventually(lambda: sockets["numsock.held"] == 2, "the server waits in accept")
        os.close(write)
        assert started.finish().out == f"ready\n{errno.ENOBUFS}\n"

    def test_with_files_limited_too_each_says_its_own_errno(self, world: World) -> None:
        sockets, load = container(world, "numsock", 2), world.new(world.load, numfiles_limit=20)
        ran = world.run(
            script("""
one, other = socket.socketpair()
print(tried(socket.socket))
one.close()
made = []
try:
    while True:
        made.append(os.eventfd(0))
except OSError:
    pass
print(tried(socket.socket))
"""),
            [sockets, load],
        )
        assert list(map(int, ran.out.split())) == [errno.ENOBUFS, errno.EMFILE]


class TestTerminals:
    def test_what_is_no_new_terminal(self, world: World) -> None:
        terminals = container(world, "numpty", 1)
        ran = world.run(
            script("""
master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
print(tried(lambda: os.close(os.dup(master))), tried(os.open, "/dev/null", 0))
fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))
print(tried(fcntl.ioctl, master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY))
print(tried(os.open, b"/dev/../dev/ptmx", os.O_RDWR), tried(os.openpty))
os.close(master)
print(tried(os.openpty))
"""),
            [terminals],
        )
        assert ran.err == ""
        full = errno.ENOSPC
        assert list(map(int, ran.out.split())) == [0, 0, 0, full, full, 0]

    def test_another_name_gets_past_and_the_next_open_does_not(
        self, world: World, tmp_path: Path
    ) -> None:
        """It is why the level is never better than partial."""
        with tempfile.TemporaryDirectory() as open_to_all:
            name = Path(open_to_all) / "another"
            name.symlink_to("/dev/ptmx")
            terminals = container(world, "numpty", 1)
            ran = world.run(
                script(
                    """
one = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
other = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
print(tried(os.open, "/dev/ptmx", os.O_RDWR))
os.close(other)
print(tried(os.open, "/dev/ptmx", os.O_RDWR))
os.close(one)
print(tried(os.open, "/dev/ptmx", os.O_RDWR))
""",
                    name,
                ),
                [terminals],
            )
        assert ran.err == ""
        assert list(map(int, ran.out.split())) == [errno.ENOSPC, errno.ENOSPC, 0]
        assert terminals["numpty.maxheld"] == 2


class TestLocks:
    def test_what_is_no_new_lock(self, world: World, file: Path) -> None:
        locks = container(world, "numflock", 2)
        ran = world.run(
            script(
                """
R, W, U = 0, 1, 2
one, other = open(sys.argv[1], "r+b"), open(sys.argv[1], "r+b")
print("made", lock(one, W, 0, 10), lock(one, W, 100, 10), lock(one, W, 200, 10))
print("the same, longer", lock(one, W, 0, 10), lock(one, W, 5, 20))
print("another type", lock(one, R, 0, 25))
print("cut by a type, by an unlock", lock(one, W, 5, 5), lock(one, U, 5, 5))
print("flock, ofd", tried(fcntl.flock, one, fcntl.LOCK_EX), lock(one, W, 300, 1, 37))
print("others' locks", tried(fcntl.lockf, other, fcntl.LOCK_EX, 1, 500))
print("unlock", lock(one, U, 100, 10), tried(fcntl.flock, other, fcntl.LOCK_UN))
print("flock", tried(fcntl.flock, one, fcntl.LOCK_EX), tried(fcntl.flock, one, fcntl.LOCK_SH))
print("another flock", tried(fcntl.flock, other, fcntl.LOCK_SH))
print("from the end", lock(one, W, 0, 1, whence=2), lock(one, U, 0, 0))
print("ofd", lock(one, W, 300, 1, 37), lock(one, R, 300, 1, 37), lock(other, R, 300, 1, 37))
print("closed", one.close(), lock(other, R, 300, 1, 37))
""",
                file,
            ),
            [locks],
        )
        assert ran.err == ""
        full = errno.ENOLCK
        told = {words[0]: words[1] for words in map(_split, ran.out.splitlines())}
        assert told == {
            "made": [0, 0, full],
            "the same, longer": [0, 0],
            "another type": [0],
            "cut by a type, by an unlock": [full, full],
            "flock, ofd": [full, full],
            "others' locks": [full],
            "unlock": [0, 0],
            "flock": [0, 0],
            "another flock": [full],
            "from the end": [full, 0],
            "ofd": [0, 0, full],
            "closed": [None, 0],
        }

    def test_two_files_with_the_same_lock_have_two(self, world: World, file: Path) -> None:
        """The kernel tells of both in the same words."""
        locks = container(world, "numflock", 2)
        body = """
files = [open(sys.argv[1], "r+b") for _ in range(3)]
print([tried(fcntl.flock, one, fcntl.LOCK_SH) for one in files])
os.close(1)
os.read(0, 1)
"""
        read, write = os.pipe()
        started = world.start(script(body, file), [locks], stdin=read)
        os.close(read)
        eventually(lambda: started.said().endswith("\n"), "the locks are made")
        assert started.said() == f"[0, 0, {errno.ENOLCK}]\n"
        assert locks["numflock.held"] == 2
        os.close(write)
        assert started.finish().err == ""

    def test_one_that_is_waited_for_counts(self, world: World, file: Path) -> None:
        locks = container(world, "numflock", 1)
        body = """
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX, 1)
print("locked", flush=True)
os.read(0, 1)
"""
        read, write = os.pipe()
        with open(file, "r+b") as mine:
            fcntl.lockf(mine, fcntl.LOCK_EX, 1)
            waits = world.start(script(body, file), [locks], stdin=read)
            os.close(read)
            eventually(lambda: locks["numflock.held"] == 1, "the job waits for the lock")
            assert "->" in Path("/proc/locks").read_text()
            assert waits.said() == ""
            fails = world.run(
                script("print(lock(open(sys.argv[1], 'r+b'), 1, 9, 1))", file), [locks]
            )
            assert fails.out == f"{errno.ENOLCK}\n"
        eventually(lambda: waits.said() == "locked\n", "the job has the lock")
        assert locks["numflock.held"] == 1
        os.close(write)
        assert waits.finish().exit_code == 0

    def test_other_uses_of_fcntl_are_not_trapped(self, world: World, file: Path) -> None:
        """A filter that looks at the command lets them pass, at the limit too."""
        locks = container(world, "numflock", 0)
        body = """
file = open(sys.argv[1], "r+b")
print(fcntl.fcntl(file, fcntl.F_GETFD), lock(file, 1, 0, 1, fcntl.F_GETLK), lock(file, 2, 0, 1))
print(tried(fcntl.flock, file, fcntl.LOCK_UN), lock(file, 1, 0, 1))
"""
        ran = world.run(script(body, file), [locks])
        assert list(map(int, ran.out.split())) == [1, 0, 0, 0, errno.ENOLCK]
        assert failcnt(locks, "numflock") == 1

    def test_where_the_range_cannot_be_read(self, world: World, file: Path) -> None:
        """It may be an unlock: it is let pass, and the level says so."""
        if os.geteuid() == 0:
            pytest.skip("nothing is hidden from root")
        locks = container(world, "numflock", 0)
        body = """
libc = ctypes.CDLL(None)
libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
file = open(sys.argv[1], "r+b")
done = [None]
def in_a_thread():
    done[0] = lock(file, 1, 0, 1)
thread = threading.Thread(target=in_a_thread)
thread.start()
thread.join()
print(done[0], tried(fcntl.flock, file, fcntl.LOCK_EX), flush=True)
os.read(0, 1)
"""
        read, write = os.pipe()
        started = world.start(script(body, file), [locks], stdin=read)
        os.close(read)
        eventually(lambda: started.said().endswith("\n"), "it has tried")
        assert started.said() == f"0 {errno.ENOLCK}\n"
        levels = {
            c.path: c.level["numflock"] for c in world.gov.containers() if "numflock" in c.level
        }
        os.close(write)
        assert started.finish().exit_code == 0
        assert levels[locks.path] == "partial"


def _split(line: str) -> tuple[str, list[int | None]]:
    words = line.split()
    number = next(i for i, word in enumerate(words) if word.isdigit() or word == "None")
    values = [None if word == "None" else int(word) for word in words[number:]]
    return " ".join(words[:number]), values


class TestSignals:
    BODY = """
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int),
                ("rest", ctypes.c_char * 48)]
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGRTMIN)
signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
timer = ctypes.c_void_p()
event = Event(0, signal.SIGALRM, 0, b"")
made = ctypes.CDLL(None).timer_create(1, ctypes.byref(event), ctypes.byref(timer))
print(made, flush=True)
os.read(0, 1)
os._exit(0)
"""

    def test_what_is_counted(self, world: World) -> None:
        watched = world.new(MOUNTED["numsiginfo"])
        read, write = os.pipe()
        started = world.start(script(self.BODY), [watched], stdin=read)
        os.close(read)
        eventually(lambda: started.said() == "0\n", "signals are pending")
        pending = signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN
        timers = int(Path(f"/proc/{started.job.pid}/timers").exists())
        assert watched["numsiginfo.held"] == len(pending) + timers
        os.close(write)
        started.finish()
        assert watched["numsiginfo.held"] == 0
        assert int(watched["numsiginfo.maxheld"]) >= len(pending)

    def test_there_is_no_limit_to_write(self, world: World) -> None:
        watched = world.new(MOUNTED["numsiginfo"])
        with pytest.raises(GovernorError, match="it has") as caught:
            watched["numsiginfo.limit"] = 5
        assert caught.value.errno == errno.ENOENT

    def test_it_is_never_called_enforced(self, world: World) -> None:
        watched = world.new(MOUNTED["numsiginfo"])
        world.run(["true"], [watched])
        levels = {c.level.get("numsiginfo") for c in world.gov.containers()}
        assert levels == {"observed", None}


def test_what_no_agent_can_count_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a subsystem of another package, when it is mounted."""
    metadata = tmp_path / "wild-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[governor.subsystems]\nwild = wild:Wild\n")
    (tmp_path / "wild.py").write_text(
        "from governor.subsystem import CountedSubsystem\n"
        "class Wild(CountedSubsystem):\n"
        "    name, resource, traps = 'wild', 'dreams', frozenset({'dreams'})\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.syspath_prepend(str(tmp_path))
    with Governor() as gov:
        with pytest.raises(GovernorError, match="dreams") as caught:
            gov.mount("wild", ["wild"])
        assert caught.value.errno == errno.EINVAL
        gov.mount("wild", ["numtasks"])
