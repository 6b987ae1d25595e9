"""What the tests of running jobs share: a governor, puppets that do as told, a kernel's count."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

import governor
from governor.api import Container, Governor, Job, JobResult
from governor.errors import GovernorError
from governor.results import Event
from governor.supervisor.agent_process import DEATHS
from governor.wire import client as wire
from tests.capabilities import need
from tests.leftovers import Mark
from tests.programs import build
from workers.membership import MAX_NONCE

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
PIDS = Path("/sys/fs/cgroup/pids")
_GIVEN = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
PYTHONPATH = os.pathsep.join(map(os.path.abspath, [str(ROOT), *_GIVEN]))
"""For a process of its own that is to find governor, wherever it runs."""


def program(name: str, *flags: str) -> str:
    """The path of a C program of tests/programs, compiled; skips where there is no compiler."""
    try:
        return build.compile(name, "-pthread", *flags)
    except build.CannotCompile as error:
        need(False, str(error))
        raise


def own_nonce() -> int:
    """A governor's number that nobody else has, even where these tests run twice at once.

    Nor do those beside it belong to anybody.
    """
    return int.from_bytes(os.urandom(3), "little") % (MAX_NONCE - 2) + 2


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for a state of other processes that no event announces."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        os.sched_yield()


def exists(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def children(pid: int) -> list[int]:
    """The processes that one has made itself, or adopted."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def spawner_of(gov: Governor) -> int:
    """The pid of a governor's spawner."""
    (pid,) = children(gov.pid)
    return pid


def agent_of(gov: Governor, *jobs: int) -> int:
    """The pid of a governor's agent, these being the first processes of its jobs."""
    spawner = spawner_of(gov)
    # A governor answers before its agent has been forked.
    eventually(lambda: not set(jobs).issuperset(children(spawner)), "there is an agent")
    (pid,) = set(children(spawner)) - set(jobs)
    return pid


def end_agents(spawner: int, job: int) -> None:
    """Let one agent fail after the other, until there will be no other."""
    ended = {job}
    for _ in range(DEATHS):
        eventually(lambda: not ended.issuperset(children(spawner)), "there is an agent")
        (agent,) = set(children(spawner)) - ended
        kill_and_see([agent], signal.SIGTERM)
        ended.add(agent)


def state(pid: int) -> str:
    """As in proc_pid_stat(5); X, for dead, also when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


@contextlib.contextmanager
def file_system(place: Path, room: str) -> Iterator[Path]:
    """A file system of its own at a new directory; ``room``: an option of tmpfs(5)."""
    need(os.geteuid() == 0, "only root can mount a file system", root=True)
    place.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"{room},mode=700", "none", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    need(done.returncode == 0, f"no file system can be mounted: {done.stderr}", root=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


def kill_and_see(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Kill processes and wait until they have ended, whoever reaps them.

    The end of one may be that of another of them.
    """
    with contextlib.ExitStack() as opened:
        ends = []
        for pid in pids:
            ends.append(os.pidfd_open(pid))
            opened.callback(os.close, ends[-1])
        for end in ends:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(end, number)
        for end in ends:
            assert select.select([end], [], [], DEADLINE)[0]


@contextlib.contextmanager
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Whatever is started in here is marked and must be gone afterwards, files included.

    Gives the directory below which governors make theirs.
    """
    mark = Mark()
    for name, value in mark.environment.items():
        monkeypatch.setenv(name, value)
    # Sockets lie in it, so its path has to be short.
    with tempfile.TemporaryDirectory(prefix="gov") as scratch:
        monkeypatch.setenv("XDG_RUNTIME_DIR", scratch)
        try:
            yield Path(scratch)
            assert mark.processes() == []
            assert os.listdir(scratch) == []
        finally:
            mark.kill()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for governors' directories; the test fails when something is left."""
    with nothing_left(monkeypatch) as directory:
        yield directory


@pytest.fixture
def gov(runtime: Path, request: pytest.FixtureRequest) -> Iterator[Governor]:
    """A governor; the test fails when it leaves something behind, or has to replace its agent.

    A test that ends agents itself is marked ``agents_end``: what else would end one is a mistake
    that nobody sees in a job.
    """
    with governor.Governor() as gov:
        yield gov
        if request.node.get_closest_marker("agents_end") is None:
            restarts = agent_restarts(gov)
            assert not restarts, restarts


def agent_restarts(gov: Governor) -> list[str]:
    """Why agents have been replaced so far; of one that has ended nobody knows."""
    with contextlib.suppress(GovernorError):
        rows = gov.client.ask(lambda n: wire.Follow(n, 0, 0), DEADLINE)[2]
        events = [Event(*row) for row in rows]
        return [str(e.fields["reason"]) for e in events if e.kind == "agent-restart"]
    return []


def sampled(cases: Sequence[tuple[object, ...]], one_in: int) -> list[Any]:
    """Parameters: one case in so many is tried each time, the others by ``make stress``."""
    return [
        pytest.param(*case, marks=[pytest.mark.stress] if number % one_in else [])
        for number, case in enumerate(cases)
    ]


class Puppet:
    """The program tasks_puppet: it does what each letter says, one at a time.

    ``start(stdin, stdout)`` starts it on two descriptors.
    """

    def __init__(self, start: Callable[[int, int], object]) -> None:
        theirs_in, self._orders = os.pipe()
        self._answers, theirs_out = os.pipe()
        try:
            start(theirs_in, theirs_out)
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._buffer = b""
        self.pid = self._hear()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._orders)
        os.close(self._answers)

    def do(self, letter: str) -> tuple[int, int]:
        """Give one order; the errno and the number (mostly a pid) it answers with."""
        os.write(self._orders, letter.encode())
        return self._hear()

    def make(self, how: str = "f") -> int:
        """Make a task; its pid (0 for a thread). Raises OSError."""
        error, pid = self.do(how)
        if error:
            raise OSError(error, os.strerror(error))
        return pid

    def fill(self, wanted: int, how: str = "f") -> list[int]:
        """Make so many tasks."""
        return [self.make(how) for _ in range(wanted)]

    def end(self, times: int = 1) -> None:
        """End the newest tasks."""
        for _ in range(times):
            self.do("e")

    def is_refused(self, how: str = "f") -> bool:
        """Try to make a task: whether it is refused as it should be, with EAGAIN."""
        error, _ = self.do(how)
        assert error in (0, errno.EAGAIN), os.strerror(error)
        return error == errno.EAGAIN

    def _hear(self) -> tuple[int, int]:
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], DEADLINE)
            assert ready, "the puppet does not answer"
            heard = os.read(self._answers, 4096)
            assert heard, "the puppet has ended"
            self._buffer += heard
        line, _, self._buffer = self._buffer.partition(b"\n")
        error, number = line.split()
        return int(error), int(number)


@contextlib.contextmanager
def puppet(gov: Governor, *containers: Container) -> Iterator[Puppet]:
    """A puppet as a job in these containers."""
    path = program("tasks_puppet")

    def start(stdin: int, stdout: int) -> None:
        gov.spawn([path], containers=containers, stdin=stdin, stdout=stdout)

    with Puppet(start) as puppet:
        yield puppet


def run_job(
    gov: Governor, command: list[str], containers: Iterable[Container] = (), **keys: float
) -> tuple[JobResult, str]:
    """Run a program to its end: the result and what it printed."""
    with tempfile.TemporaryFile() as output:
        job = gov.spawn(command, containers=containers, stdout=output, **keys)  # type: ignore[arg-type]
        result = job.wait(DEADLINE)
        output.seek(0)
        return result, output.read().decode()


def wait_all(jobs: Iterable[Job]) -> list[JobResult]:
    """The results of these jobs."""
    return [job.wait(DEADLINE) for job in jobs]


class KernelPids:
    """A cgroup with the kernel's pids controller, which counts on its own how many tasks there are.

    A command enters it by itself, as ``inside`` wraps it; nothing but that command is counted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def inside(self, command: list[str]) -> list[str]:
        """The command, run in the cgroup by the very process that is started."""
        enter = f'echo $$ >"{self._path}/cgroup.procs" && exec "$@"'
        return ["sh", "-c", enter, "sh", *command]

    def open_to(self, user: int) -> None:
        """Let an ordinary user enter."""
        os.chown(self._path / "cgroup.procs", user, -1)

    @property
    def peak(self) -> int:
        """The most tasks there ever were at once."""
        return int((self._path / "pids.peak").read_text())

    @property
    def current(self) -> int:
        """The tasks there are."""
        return int((self._path / "pids.current").read_text())

    def close(self) -> None:
        """Remove the cgroup with whatever still runs in it."""

        def is_removed() -> bool:
            for pid in (self._path / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                self._path.rmdir()
            return not self._path.exists()

        eventually(is_removed, f"{self._path} is empty")


@contextlib.contextmanager
def kernel_pids() -> Iterator[KernelPids]:
    """A fresh cgroup of the pids controller. An ordinary user's test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("only root makes a cgroup")
    need((PIDS / "cgroup.procs").exists(), f"no pids controller at {PIDS}")
    path = Path(tempfile.mkdtemp(prefix="governor-test-", dir=PIDS))
    path.chmod(0o755)
    cgroup = KernelPids(path)
    try:
        need((path / "pids.peak").exists(), "this kernel keeps no pids.peak (Linux 6.12)")
        yield cgroup
    finally:
        cgroup.close()
