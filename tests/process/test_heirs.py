"""A spawner outlives its supervisor, and hands over to the next one what that has to know."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.errors import GovernorError
from governor.supervisor import inheritance
from governor.supervisor.inheritance import Inheritance, reconnect
from governor.wire.spawner import Reaped
from tests.capabilities import need
from tests.process.heirs import ESTATE_TEXT, start_job
from tests.process.helpers import (
    DEADLINE,
    PYTHONPATH,
    eventually,
    exists,
    kill_and_see,
    own_nonce,
    runtime,
)
from workers import spawner
from workers.heirloom import HEIRS
from workers.spawner import end_leftovers, remove_directory
from workers.undertaker import is_zombie

__all__ = ["runtime"]

NONCE = own_nonce()


def never() -> tuple[int, socket.socket]:
    raise AssertionError("the spawner has died")


class First:
    """A supervisor with jobs, and what is known of it."""

    def __init__(self, directory: Path, *commands: str) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.process.heirs", str(directory), str(NONCE), *commands],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": PYTHONPATH},
        )
        assert self._process.stdout is not None
        self.spawner, *self.jobs = map(int, self._process.stdout.readline().split())

    def record(self, ends: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{ends}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "recorded\n"

    def kill(self) -> None:
        with self._process:
            self._process.kill()

    def end_job(self, number: int, signal: int) -> None:
        pid = self.jobs[number]
        os.kill(pid, signal)
        eventually(lambda: not exists(pid), "the job is reaped")


@pytest.fixture
def directory(runtime: Path) -> Path:
    (runtime / "g").mkdir(mode=0o700)
    return runtime / "g"


@pytest.fixture
def first(directory: Path) -> Iterator[First]:
    """Three jobs that sleep, and exit with 10, 11, 12 when they get SIGUSR1."""
    script = "trap 'exit {}' USR1; while :; do sleep 0.01; done"
    first = First(directory, *(script.format(10 + n) for n in range(3)))
    try:
        yield first
    finally:
        first.kill()
        if not is_zombie(first.spawner):
            kill_and_see([first.spawner])
        end_leftovers(NONCE)
        remove_directory(str(directory))


def take_over(directory: Path) -> Inheritance:
    found = reconnect(str(directory), NONCE, never, 10.0)
    assert found is not None
    return found


def hear(found: Inheritance, *expected: tuple[int, int]) -> None:
    """Hear of these ends, each once: job and exit code; children that jobs leave end with 0."""
    heard: list[Reaped] = []
    found.link.on_reaped = lambda message, user_ns: heard.append(message)

    def of_jobs() -> list[tuple[int, int]]:
        ends = [(end.job, os.waitstatus_to_exitcode(end.status)) for end in heard if end.job]
        return sorted(end for end in ends if end[1])

    while len(of_jobs()) < len(expected):
        assert select.select([found.link], [], [], DEADLINE)[0]
        found.link.catch_up()
    assert of_jobs() == sorted(expected)


def leave(found: Inheritance) -> None:
    """End everything as a supervisor does."""
    for descriptor in (found.estate, *found.listeners.values()):
        os.close(descriptor)
    wake, tell = os.pipe()
    found.link.quit(wake)
    os.close(wake)
    os.close(tell)


def test_successor_knows_everything(first: First) -> None:
    first.kill()
    first.end_job(0, signal.SIGUSR1)
    first.end_job(2, signal.SIGKILL)
    found = take_over(first.directory)
    assert os.pread(found.estate, 100, 0) == ESTATE_TEXT
    assert {job: os.read(fd, 9) for job, fd in found.listeners.items()} == {1: b"1", 2: b"2"}
    assert found.jobs == {2: first.jobs[1]}
    assert found.link.pid == first.spawner
    hear(found, (1, 10), (3, -signal.SIGKILL))
    first.end_job(1, signal.SIGUSR1)
    hear(found, (2, 11))
    pid = start_job(found.link, NONCE, 9, "sleep 1000")
    leave(found)
    assert not exists(pid)
    assert is_zombie(first.spawner)
    assert not first.directory.exists()


def test_supervisor_that_nobody_knows_of_yet_leaves_nothing(directory: Path) -> None:
    """As when its owner was interrupted while it started: nobody would look for what it left."""
    first = First(directory)
    first.kill()
    eventually(lambda: is_zombie(first.spawner) or not exists(first.spawner), "it has ended")
    assert not directory.exists()


def test_ends_that_were_recorded_are_not_told_again(first: First) -> None:
    first.end_job(0, signal.SIGKILL)
    first.record(1)
    first.end_job(1, signal.SIGUSR1)
    first.kill()
    found = take_over(first.directory)
    hear(found, (2, 11))
    found.link.acknowledge()
    found.link.close()
    again = take_over(first.directory)
    first.end_job(2, signal.SIGUSR1)
    hear(again, (3, 12))
    leave(again)


def test_one_after_the_other(first: First) -> None:
    """The second one waits until the first has died, and the third until the second has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second:
        second.connect(str(first.directory / HEIRS))
        assert not select.select([second], [], [], 0.1)[0]
        first.kill()
        assert select.select([second], [], [], DEADLINE)[0]
    found = take_over(first.directory)
    assert sorted(found.jobs) == [1, 2, 3]
    leave(found)


def test_spawner_dies_under_its_second_supervisor(first: First) -> None:
    """What it leaves becomes init's; the kernel tells of those ends all the same."""
    need(_tells_ends(), "the kernel tells nobody but the parent how a process has ended")
    first.kill()
    restarts: list[int] = []

    def restart() -> tuple[int, socket.socket]:
        pid, end = spawner.replace(NONCE, str(first.directory), 1024, lasting=True)
        restarts.append(pid)
        return pid, end

    found = reconnect(str(first.directory), NONCE, restart, 10.0)
    assert found is not None
    pid = start_job(found.link, NONCE, 9, "trap 'exit 19' USR1; while :; do sleep 0.01; done")
    kill_and_see([first.spawner])
    heard: dict[int, int] = {}

    def hear(end: Reaped, user_ns: int) -> None:
        heard[end.pid] = os.waitstatus_to_exitcode(end.status)

    found.link.on_reaped = hear
    while not restarts:
        found.link.wait()
    for number in (0, 1):
        os.kill(first.jobs[number], signal.SIGUSR1)
    os.kill(pid, signal.SIGUSR1)
    os.kill(first.jobs[2], signal.SIGKILL)
    while len(heard) < 4:
        select.select(found.link.sources, [], [], found.link.tick(busy=True))
        found.link.catch_up()
    assert heard == {first.jobs[0]: 10, first.jobs[1]: 11, first.jobs[2]: -9, pid: 19}
    leave(found)


def _tells_ends() -> bool:
    """Whether this is Linux 6.15 or later."""
    return tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)


def test_spawner_that_does_not_answer_is_ended(
    first: First, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inheritance, "PATIENCE", 0.2)
    first.kill()
    os.kill(first.spawner, signal.SIGSTOP)
    assert reconnect(str(first.directory), NONCE, never, 10.0) is None
    assert is_zombie(first.spawner)
    (first.directory / HEIRS).unlink()
    assert reconnect(str(first.directory), NONCE, never, 10.0) is None


def test_jobs_of_another_governor_are_left_alone(first: First) -> None:
    first.kill()
    with pytest.raises(GovernorError, match=f"kill process {first.spawner}") as caught:
        reconnect(str(first.directory), NONCE + 1, never, 10.0)
    assert caught.value.errno == errno.EBUSY
    found = take_over(first.directory)
    assert sorted(found.jobs) == [1, 2, 3]
    leave(found)


def test_spawner_of_another_governor_without_jobs_is_ended(first: First) -> None:
    first.kill()
    end_leftovers(NONCE)
    assert reconnect(str(first.directory), NONCE + 1, never, 10.0) is None
    assert is_zombie(first.spawner)


def test_descriptors_that_select_does_not_take(first: First) -> None:
    """A supervisor with a thousand jobs has them."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    need(files[1] >= 2048, "there are not as many descriptors")
    spawner.take_descriptors()
    first.kill()
    taken = [os.dup(2)]
    while taken[-1] < 1100:
        taken.append(os.dup(2))
    try:
        found = take_over(first.directory)
        assert found.link.fileno() > 1023
        first.end_job(0, signal.SIGUSR1)
        heard: list[int] = []
        found.link.on_reaped = lambda message, user_ns: heard.append(message.job)
        while 1 not in heard:
            found.link.wait()
        leave(found)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


def test_too_few_descriptors(first: First) -> None:
    """The soft limit is raised; beyond the hard one it is refused, and the jobs are left alone."""
    first.kill()
    code = """
import os, resource, sys
from governor.errors import GovernorError
from governor.supervisor.inheritance import reconnect
few = os.dup(2) + 3
most = few if sys.argv[3] == "hard" else resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
try:
    found = reconnect(sys.argv[1], int(sys.argv[2]), None, 10.0)
    print(sorted(found.jobs), len(found.listeners))
except GovernorError as error:
    print(error.errno, "ulimit" in error.message)
"""
    env = os.environ | {"PYTHONPATH": PYTHONPATH}
    answers = {"hard": f"{errno.EMFILE} True", "soft": "[1, 2, 3] 2"}
    for limit, answer in answers.items():
        command = [sys.executable, "-c", code, str(first.directory), str(NONCE), limit]
        done = subprocess.run(
            command, capture_output=True, text=True, env=env, timeout=DEADLINE, check=False
        )
        assert (done.stdout.strip(), done.stderr) == (answer, "")
    leave(take_over(first.directory))


def test_another_user_is_not_let_in(first: First) -> None:
    """Whoever root lets in the door, the spawner does not talk to."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    first.kill()
    code = """
import os, socket, sys
door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.seteuid(65534)
door.connect(sys.argv[1] + "/heirs")
assert door.recv(100) == b""
"""
    os.chmod(first.directory, 0o755)
    os.chmod(first.directory.parent, 0o755)
    os.chmod(first.directory / HEIRS, 0o777)
    subprocess.run([sys.executable, "-c", code, first.directory], check=True, timeout=DEADLINE)
    leave(take_over(first.directory))
