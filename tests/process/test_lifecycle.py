"""Beginning and end: who may connect, and that nothing is left, whoever dies first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import governor
from governor.api import Governor, Job
from governor.errors import GovernorError
from governor.supervisor import server
from tests.leftovers import Mark
from tests.process.helpers import (
    DEADLINE,
    PYTHONPATH,
    agent_of,
    children,
    end_agents,
    eventually,
    exists,
    file_system,
    program,
    puppet,
    run_job,
    spawner_of,
    state,
)
from tests.programs.facility_support import as_user, prctl

PR_SET_CHILD_SUBREAPER = 36

OWNER = """
import os, sys, governor
with governor.Governor() as gov:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    job = gov.spawn([sys.argv[1]], containers=[box])
    job.wait()
"""


def directory(gov: Governor) -> Path:
    return Path(gov.directory)


def supervisor(gov: Governor) -> int:
    return gov.pid


def room(pid: int) -> int:
    """For how many descriptors the kernel has room now, without enlarging a table."""
    status = Path(f"/proc/{pid}/status").read_text().split()
    return int(status[status.index("FDSize:") + 1])


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Orphans of ours become our children for a while, as they become init's."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0):
            pass


def reaped(pid: int) -> bool:
    """Whether it has ended as our child; it may not be ours yet."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False


@pytest.mark.once
def test_there_is_room_for_descriptors_before_there_are_threads(gov: Governor) -> None:
    """The kernel enlarges a table that threads share after a wait of 10 ms and more."""
    run_job(gov, ["true"], [gov.mount("load", ["numtasks"]).root])
    assert room(gov.pid) >= 1024
    assert room(agent_of(gov)) >= 1024


# -- who may connect ----------------------------------------------------------------------


def test_sockets_lie_in_a_directory_of_the_users_own(gov: Governor, runtime: Path) -> None:
    assert list(runtime.iterdir()) == [directory(gov)]
    status = directory(gov).stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == os.geteuid()
    for entry in directory(gov).iterdir():
        assert stat.S_ISSOCK(entry.stat().st_mode)


def test_another_user_cannot_connect(gov: Governor, runtime: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    runtime.chmod(0o755)
    sockets = [str(path) for path in directory(gov).iterdir()]
    assert sockets

    def connect() -> None:
        for path in sockets:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with client, pytest.raises(PermissionError):
                client.connect(path)

    as_user("nobody", connect)


@pytest.mark.parametrize("name", ["missing", "x" * 120], ids=["missing", "too long"])
def test_unusable_directory_for_sockets_is_passed_over(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    unusable = runtime / name
    if len(name) > 100:  # more than the address of a socket may have
        unusable.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(unusable))
    monkeypatch.setenv("TMPDIR", str(runtime))
    with governor.Governor() as gov:
        assert directory(gov).parent == runtime
    if unusable.exists():
        unusable.rmdir()


# -- the ordinary end ---------------------------------------------------------------------


@pytest.fixture
def crowded(runtime: Path) -> Iterator[Path]:
    """A file system of its own in which two files more can be made."""
    with file_system(runtime / "crowded", "nr_inodes=3") as place:
        yield place


@pytest.mark.parametrize(("command", "status"), [(["run", "--", "true"], 125), (["up"], 1)])
def test_no_room_for_sockets_is_said(crowded: Path, command: list[str], status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_RUNTIME_DIR": str(crowded)}
    done = subprocess.run(
        [sys.executable, "-m", "governor", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"governor: no sockets can be made in {crowded}/governor")
    assert "No space left on device; make room there" in said
    assert done.returncode == status
    eventually(lambda: not os.listdir(crowded), "the directory is gone")


def test_close_ends_every_process_of_a_job(gov: Governor) -> None:
    with puppet(gov) as job:
        left = [job.pid, *job.fill(2), job.make("d"), job.make("z"), job.make("s")]
        gov.close()
        assert not any(map(exists, left))


def test_close_waits_for_jobs_that_have_only_just_been_started(runtime: Path) -> None:
    with governor.Governor() as gov:
        for _ in range(20):
            gov.spawn(["sleep", "1000"])


@pytest.mark.once
def test_close_leaves_no_zombie_and_no_descriptor(runtime: Path) -> None:
    with governor.Governor() as gov:
        gov.spawn(["true"]).wait()
    before = set(os.listdir("/proc/self/fd"))
    with governor.Governor() as gov:
        gov.spawn(["true"]).wait()
    # Those of a connection are closed by a thread of ZeroMQ's, a little later.
    eventually(lambda: before.issuperset(os.listdir("/proc/self/fd")), "all are closed")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.once
def test_close_twice_and_use_afterwards(gov: Governor) -> None:
    gov.close()
    gov.close()
    with pytest.raises(GovernorError, match="ended"):
        gov.mount("load", ["numtasks"])


@pytest.mark.once
def test_exception_in_the_block_ends_everything(runtime: Path) -> None:
    def fail() -> None:
        with governor.Governor() as gov:
            gov.spawn(["sleep", "1000"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_orphan_that_ends_is_reaped_at_once(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    with puppet(gov, box) as job:
        orphan = job.make("d")
        os.kill(orphan, signal.SIGKILL)
        eventually(lambda: not exists(orphan), "the orphan is reaped")
        assert box["numtasks.held"] == 1


def test_daemon_outlives_its_jobs_first_process_but_not_stop(gov: Governor) -> None:
    command = 'trap "" TERM; setsid sleep 1000 & echo $!'
    result, output = run_job(gov, ["sh", "-c", command])
    daemon = int(output)
    assert result.exit_code == 0
    assert exists(daemon)
    job = Job(gov, 1, "sh", 0, [])
    gov.stop([job], grace=0.1)
    assert not exists(daemon)


def test_job_inherits_only_its_streams() -> None:
    command = [sys.executable, "-m", "governor", "run", "--max-files", "100", "--"]
    command += [sys.executable, "-c", "import os; print(len(os.listdir('/proc/self/fd')))"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": PYTHONPATH}, capture_output=True, text=True
    )
    assert done.stdout == "4\n"  # and the directory itself


# -- sudden ends --------------------------------------------------------------------------


def start_owner(mark: Mark, runtime: Path) -> subprocess.Popen[bytes]:
    """A program that owns a governor whose job is a puppet on its standard streams."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, program("tasks_puppet")],
        env={**os.environ, **mark.environment, "PYTHONPATH": PYTHONPATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_end_of_the_owner_is_the_end_of_everything(runtime: Path, number: signal.Signals) -> None:
    mark = Mark()
    with start_owner(mark, runtime) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        assert owner.stdout.readline().startswith(b"0 ")
        # A daemon that is deaf to TERM, a child, and a process that nobody has reaped.
        for order in (b"d", b"f", b"z"):
            owner.stdin.write(order)
            owner.stdin.flush()
            assert owner.stdout.readline().startswith(b"0 ")
        os.killpg(owner.pid, number)
        owner.wait(DEADLINE)
        eventually(lambda: not mark.processes(), "all processes have ended")
        eventually(lambda: not os.listdir(runtime), "the directory is gone")


@pytest.mark.once
@pytest.mark.parametrize("fork", [True, False])
def test_an_owner_that_dies_before_there_is_a_supervisor(runtime: Path, fork: bool) -> None:
    """Nobody else could remove a directory."""
    code = f"""
import os, signal, governor
os.fork = os.posix_spawn = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
governor.Governor(fork={fork})
"""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=DEADLINE)
    assert done.returncode == -signal.SIGKILL
    assert os.listdir(runtime) == []


def test_end_of_the_supervisor_is_the_end_of_its_jobs(gov: Governor, runtime: Path) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    job = gov.spawn(["sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"], containers=[box])
    os.kill(supervisor(gov), signal.SIGKILL)
    with pytest.raises(GovernorError, match="the supervisor has ended"):
        job.wait(DEADLINE)
    gov.close()
    eventually(lambda: not os.listdir(runtime), "the directory is gone")
    assert not exists(job.pid)


@pytest.mark.parametrize("stopped", ["spawner", "agent"])
def test_supervisor_dies_while_another_part_is_stopped(
    gov: Governor, runtime: Path, stopped: str
) -> None:
    """The kernel hangs up on a process group that has lost its leader then (POSIX, _exit)."""
    job = gov.spawn(["sleep", "1000"])
    spawner = spawner_of(gov)
    (agent,) = set(children(spawner)) - {job.pid}
    part = {"spawner": spawner, "agent": agent}[stopped]
    os.kill(part, signal.SIGSTOP)
    eventually(lambda: state(part) == "T", "it is stopped")  # who stops later hears of no hangup
    os.kill(supervisor(gov), signal.SIGKILL)
    eventually(lambda: not any(map(exists, (spawner, agent, job.pid))), "everything has ended")
    gov.close()
    assert not os.listdir(runtime)


def test_supervisor_dies_while_the_spawner_is_stopped_and_init_is_near(
    gov: Governor, runtime: Path, subreaper: None
) -> None:
    """As in a container that runs one command: whose orphans the kernel does not hang up on."""
    job = gov.spawn(["sleep", "1000"])
    spawner = spawner_of(gov)
    os.kill(spawner, signal.SIGSTOP)
    eventually(lambda: state(spawner) == "T", "it is stopped")
    os.kill(supervisor(gov), signal.SIGKILL)
    eventually(lambda: reaped(spawner), "it has gone on and ended")
    assert not exists(job.pid)
    gov.close()
    assert not os.listdir(runtime)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_supervisor_that_is_asked_to_end_asks_its_jobs_first(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(server, "GRACE", DEADLINE)  # however long the job takes to hear of it
    reads, writes = os.pipe()
    command = ["sh", "-c", "trap 'echo asked; exit' TERM; echo; while :; do sleep 0.01; done"]
    with governor.Governor(fork=True) as gov:
        gov.spawn(command, stdout=writes)
        os.close(writes)
        assert os.read(reads, 1) == b"\n"
        os.kill(supervisor(gov), number)
        assert os.read(reads, 99) == b"asked\n"  # the supervisor may be gone, and cannot say so
    assert not os.listdir(runtime)
    os.close(reads)


@pytest.mark.once
@pytest.mark.agents_end
def test_end_of_agent_after_agent_is_the_end_of_its_jobs(gov: Governor, runtime: Path) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    job = gov.spawn([program("tasks_forkwait"), "10000000"], containers=[box])
    end_agents(spawner_of(gov), job.pid)
    with pytest.raises(GovernorError, match="ended"):
        job.wait(DEADLINE)
    gov.close()
    assert not exists(job.pid)
    assert not os.listdir(runtime)


@pytest.mark.once
def test_a_lock_that_it_holds_is_free_when_all_has_ended(runtime: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    ours = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(ours, fcntl.LOCK_EX)
    with governor.Governor(lock=ours) as gov, lock.open() as other:
        os.close(ours)
        job = gov.spawn(["sleep", "1000"])
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(gov.pid, signal.SIGKILL)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not exists(job.pid)
    eventually(lambda: not os.listdir(runtime), "the directory is gone")
