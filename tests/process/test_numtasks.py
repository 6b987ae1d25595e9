"""numtasks: never a task over the limit, never a refusal below it, every refusal counted once."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import governor
from governor.api import Container, Governor
from governor.errors import GovernorError
from tests.capabilities import need
from tests.process.helpers import (
    DEADLINE,
    PYTHONPATH,
    eventually,
    kernel_pids,
    program,
    puppet,
    run_job,
    wait_all,
)
from workers.privilege import privileged
from workers.readings import Readings
from workers.syscalls import table

NOBODY = 65534
KINDS = {
    "fork": "f",
    "vfork": "v",
    "clone": "c",
    "clone3": "3",
    "posix_spawn": "s",
    "thread": "t",
}


@pytest.fixture
def box(gov: Governor) -> Container:
    """A container whose tasks are counted."""
    return gov.mount("load", ["numtasks"]).mkdir("/box")


# -- at the limit -------------------------------------------------------------------------


@pytest.mark.parametrize("how", KINDS.values(), ids=KINDS.keys())
def test_every_way_to_make_a_task_fails_with_eagain_at_the_limit(
    gov: Governor, box: Container, how: str
) -> None:
    box["numtasks.limit"] = 3
    with puppet(gov, box) as job:
        job.fill(2, how)
        assert job.do(how) == (errno.EAGAIN, 0)
        assert box["numtasks.held"] == 3
        assert box["numtasks.failcnt"] == 1
        job.end()
        job.make(how)
        assert job.do(how) == (errno.EAGAIN, 0)
        assert (box["numtasks.failcnt"], box["numtasks.maxheld"]) == (2, 3)


@pytest.mark.parametrize("limit", [1, 2, 24, 48])
def test_as_many_tasks_as_the_limit_says_whatever_their_kinds(
    gov: Governor, box: Container, limit: int
) -> None:
    box["numtasks.limit"] = limit
    kinds = list(KINDS.values())
    with puppet(gov, box) as job:
        for i in range(limit - 1):
            job.make(kinds[i % len(kinds)])
        assert all(job.is_refused(how) for how in kinds)
        assert box["numtasks.held"] == limit
        assert box["numtasks.failcnt"] == len(kinds)


def test_zombie_counts_until_it_is_reaped(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 3
    with puppet(gov, box) as job:
        job.make("z")
        assert box["numtasks.held"] == 2
        job.make()
        assert job.is_refused()


def test_daemon_counts_although_it_left_its_parent_and_its_session(
    gov: Governor, box: Container
) -> None:
    box["numtasks.limit"] = 4
    with puppet(gov, box) as job:
        job.make("d")
        job.make("d")
        assert box["numtasks.held"] == 3
        assert job.is_refused("t") is False
        assert job.is_refused()


def test_limits_add_up_over_the_jobs_of_a_container(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 5
    with puppet(gov, box) as one, puppet(gov, box) as other:
        one.fill(2)
        other.make("t")
        assert one.is_refused()
        assert other.is_refused("t")
        one.end()
        assert not other.is_refused("s")
        assert box["numtasks.failcnt"] == 2


# -- which container refuses --------------------------------------------------------------


@pytest.mark.parametrize(
    ("parent", "child", "refusals"),
    [(3, "max", (2, 0)), ("max", 3, (0, 2)), (3, 7, (2, 0)), (7, 3, (0, 2))],
)
def test_container_whose_limit_is_met_counts_the_refusal(
    gov: Governor, parent: int | str, child: int | str, refusals: tuple[int, int]
) -> None:
    hierarchy = gov.mount("load", ["numtasks"])
    students = hierarchy.mkdir("/students")
    bob = students.mkdir("bob")
    students["numtasks.limit"] = parent
    bob["numtasks.limit"] = child
    with puppet(gov, bob) as job:
        job.fill(2)
        assert job.is_refused()
        assert job.is_refused("t")
        assert hierarchy.root["numtasks.failcnt"] == 0
        assert (students["numtasks.failcnt"], bob["numtasks.failcnt"]) == refusals


def test_parents_limit_is_shared_by_its_children(gov: Governor) -> None:
    students = gov.mount("load", ["numtasks"]).mkdir("/students")
    students["numtasks.limit"] = 4
    ann, bob = students.mkdir("ann"), students.mkdir("bob")
    with puppet(gov, ann) as first, puppet(gov, bob) as second:
        first.fill(2)
        assert second.is_refused()
        first.end()
        assert not second.is_refused()
        assert first.is_refused()
        held = [c["numtasks.held"] for c in (students, ann, bob)]
        assert held == [4, 2, 2]


@pytest.mark.parametrize("limit", [0, 1])
def test_job_is_not_started_in_a_full_container(gov: Governor, box: Container, limit: int) -> None:
    with ExitStack() as running:
        for _ in range(limit):
            running.enter_context(puppet(gov, box))
        box["numtasks.limit"] = limit
        result, output = run_job(gov, ["echo", "started"], [box])
        assert (result.exit_code, output) == (125, "")
        assert result.error is not None
        assert f"load:/box is at its limit of {limit} tasks" in result.error
        assert box["numtasks.failcnt"] == 1
        assert box["numtasks.held"] == limit


# -- no refusal without need --------------------------------------------------------------


def test_when_a_task_has_ended_the_very_next_fork_succeeds(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 12
    with puppet(gov, box) as job:
        job.fill(11)
        assert job.is_refused()
        assert job.do("r") == (0, 0)
        assert job.is_refused()
        assert box["numtasks.failcnt"] == 2


@pytest.fixture
def busy_cpus() -> Iterator[None]:
    """All CPUs busy with something else."""
    spin = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(spin) for _ in os.sched_getaffinity(0)]
    yield
    for hog in hogs:
        hog.kill()
        hog.wait()


@pytest.mark.parametrize(("threads", "limit"), [(1, 2), (2, 4), (4, 8)])
def test_fork_and_wait_is_never_refused_within_the_limit(
    gov: Governor, box: Container, threads: int, limit: int
) -> None:
    box["numtasks.limit"] = limit
    command = [program("tasks_forkwait"), str(3000 // threads), str(threads)]
    assert run_job(gov, command, [box])[1] == "0 0\n"
    assert box["numtasks.failcnt"] == 0


def test_two_jobs_at_once_are_never_refused_within_their_limit(
    gov: Governor, box: Container
) -> None:
    box["numtasks.limit"] = 4
    command = [program("tasks_forkwait"), "1000"]
    jobs = [gov.spawn(command, containers=[box], stdout=2) for _ in range(2)]
    assert [result.exit_code for result in wait_all(jobs)] == [0, 0]
    assert box["numtasks.failcnt"] == 0


@pytest.mark.usefixtures("busy_cpus")
def test_load_makes_no_false_refusal(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 4
    command = [program("tasks_forkwait"), "500", "2"]
    assert run_job(gov, command, [box])[1] == "0 0\n"
    assert box["numtasks.failcnt"] == 0


POOL = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
wanted = int(sys.argv[1])
together = Barrier(wanted)
with ThreadPoolExecutor(wanted) as pool:
    try:
        print(len(list(pool.map(lambda _: together.wait(), range(wanted)))))
    except RuntimeError as error:
        together.abort()
        print(error)
"""


@pytest.mark.parametrize(("wanted", "printed"), [(5, "5\n"), (6, "can't start new thread\n")])
def test_thread_pool(gov: Governor, box: Container, wanted: int, printed: str) -> None:
    box["numtasks.limit"] = 6
    command = [sys.executable, "-c", POOL, str(wanted)]
    assert run_job(gov, command, [box])[1] == printed
    assert box["numtasks.failcnt"] == (wanted > 5)


# -- never one task over ------------------------------------------------------------------


def bomb(rounds: int, cruel: bool = False) -> list[str]:
    return [program("tasks_bomb"), str(rounds), str(int(cruel))]


@pytest.mark.parametrize("limit", [1, 2, 24, 48])
def test_bomb_sees_every_refusal_that_is_counted(gov: Governor, box: Container, limit: int) -> None:
    box["numtasks.limit"] = limit
    result, output = run_job(gov, bomb(6), [box])
    made, refused, other = map(int, output.split())
    assert result.exit_code == 0
    assert made >= limit - 1
    assert refused > 0
    assert other == 0
    assert box["numtasks.failcnt"] == refused
    assert box["numtasks.maxheld"] == limit


@pytest.mark.parametrize("run", range(3))
@pytest.mark.parametrize("cruel", [False, True], ids=["kind", "cruel"])
@pytest.mark.parametrize("limit", [1, 2, 24, 48])
def test_kernel_never_counts_a_task_more_than_the_limit(
    gov: Governor, box: Container, limit: int, cruel: bool, run: int
) -> None:
    box["numtasks.limit"] = limit
    with kernel_pids() as kernel:
        _, output = run_job(gov, kernel.inside(bomb(8, cruel)), [box])
        refused, other = map(int, output.split()[1:])
        assert kernel.peak == limit
    assert refused > 0
    assert other == 0
    failcnt = box["numtasks.failcnt"]
    assert isinstance(failcnt, int)
    # Who is killed right after a refusal tells nobody of it.
    assert failcnt >= refused if cruel else failcnt == refused


def test_ordinary_user_is_held_to_the_limit_as_well() -> None:
    with kernel_pids() as kernel:
        kernel.open_to(NOBODY)
        python = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        python += ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable]
        probe = subprocess.run([*python, "-c", "import governor, zmq"], capture_output=True)
        if probe.returncode:
            pytest.skip("this interpreter is in a directory closed to ordinary users")
        command = ["-m", "governor", "run", "--max-tasks", "24", "--", *kernel.inside(bomb(12))]
        done = subprocess.run(
            [*python, *command], capture_output=True, text=True, timeout=DEADLINE, check=True
        )
        made, refused, other = map(int, done.stdout.split())
        assert kernel.peak == 24
    assert (made > 23, refused > 0, other) == (True, True, 0)


# -- the barrier --------------------------------------------------------------------------

ORDINARY = ["setpriv", "--bounding-set=-sys_resource,-sys_admin"]
"""Runs a program of root's without the capabilities that pass barriers."""


def ordinary(command: list[str]) -> list[str]:
    return [*ORDINARY, *command] if os.geteuid() == 0 else command


@pytest.mark.parametrize("barrier", [2, 12, 24])
def test_ordinary_caller_is_refused_exactly_at_the_barrier(
    gov: Governor, box: Container, barrier: int
) -> None:
    box["numtasks.limit"] = 24
    box["numtasks.barrier"] = barrier
    result, output = run_job(gov, ordinary(bomb(6)), [box])
    made, refused, other = map(int, output.split())
    assert (result.exit_code, other) == (0, 0)
    assert made >= barrier - 1
    assert box["numtasks.failcnt"] == refused > 0
    assert box["numtasks.maxheld"] == barrier


@pytest.mark.parametrize("cruel", [False, True], ids=["kind", "cruel"])
def test_kernel_never_counts_an_ordinary_task_over_the_barrier_nor_any_over_the_limit(
    gov: Governor, box: Container, cruel: bool
) -> None:
    box["numtasks.limit"] = 20
    box["numtasks.barrier"] = 12
    with kernel_pids() as kernel:
        run_job(gov, kernel.inside(ordinary(bomb(8, cruel))), [box])
        assert kernel.peak == 12
    need(privileged(os.getpid()), "root has neither CAP_SYS_ADMIN nor CAP_SYS_RESOURCE here")
    with kernel_pids() as kernel:
        run_job(gov, kernel.inside(bomb(8, cruel)), [box])
        assert kernel.peak == 20


def test_raised_and_dropped_barrier_holds_for_the_next_fork(gov: Governor, box: Container) -> None:
    if os.geteuid() == 0:
        pytest.skip("the puppet is privileged")
    box["numtasks.limit"] = 9
    box["numtasks.barrier"] = 2
    with puppet(gov, box) as job:
        job.make()
        assert job.is_refused()
        box["numtasks.barrier"] = 3
        job.make()
        assert job.is_refused("t")
        box["numtasks.barrier"] = "max"
        job.fill(6)
        assert job.is_refused()
        assert box["numtasks.failcnt"] == 3


def test_barrier_over_the_limit_is_refused(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 9
    with pytest.raises(GovernorError, match=r"allowed is numtasks\.limit, 9, or less") as caught:
        box["numtasks.barrier"] = 10
    assert caught.value.errno == errno.EINVAL


def test_figures_are_reset_to_what_is_held(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 4
    with puppet(gov, box) as job:
        job.fill(3)
        assert job.is_refused()
        job.end(2)
        assert [box[f"numtasks.{name}"] for name in FIGURES] == [2, 0, 4, 1]
        for name in ("minheld", "maxheld", "failcnt"):
            box[f"numtasks.{name}"] = 0
        assert [box[f"numtasks.{name}"] for name in FIGURES] == [2, 2, 2, 0]
        job.make()
        assert [box[f"numtasks.{name}"] for name in FIGURES] == [3, 2, 3, 0]
    with pytest.raises(GovernorError, match="allowed is 0") as caught:
        box["numtasks.maxheld"] = 1
    assert caught.value.errno == errno.EINVAL


FIGURES = ("held", "minheld", "maxheld", "failcnt")


def test_a_process_stopped_on_its_way_out_of_a_fork_holds_nothing_back(
    gov: Governor, box: Container
) -> None:
    """Its fork is over, though the kernel still shows it in that call."""
    box["numtasks.limit"] = 100
    forker = gov.spawn([program("tasks_forkwait"), "100000000"], containers=[box])
    with puppet(gov, box) as job:
        for _ in range(5):
            stop_in_a_fork(forker.pid)
            box["numtasks.limit"] = int(box["numtasks.held"]) + 1
            job.make()
            assert job.is_refused()
            job.end()
            box["numtasks.limit"] = 100
            os.kill(forker.pid, signal.SIGCONT)
        forker.kill()


def stop_in_a_fork(pid: int) -> None:
    """Stop a process, again until that is on the way out of a fork or before it begins again."""

    def is_stopped() -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def is_in_a_fork() -> bool:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGSTOP)
        eventually(is_stopped, "it has stopped")
        return Path(f"/proc/{pid}/syscall").read_text().split()[0] in FORKS

    eventually(is_in_a_fork, "it has stopped in a fork")


FORKS = {str(number) for number in table().tasks}


def test_a_job_that_ends_at_once_was_there(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted by itself before it begins, and nobody need be quick enough afterwards."""
    monkeypatch.setattr(Readings, "show", lambda self, *groups: None)
    with governor.Governor(fork=True) as gov:
        load = gov.mount("load", ["numtasks", "numfiles"])
        box = load.mkdir("/box")
        run_job(gov, ["true"], [box])
        assert (box["numtasks.maxheld"], load.root["numtasks.maxheld"]) == (1, 1)
        assert box["numtasks.held"] == 0
