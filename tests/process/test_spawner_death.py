"""The spawner may die or hang at any moment: the supervisor adopts what it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import governor
from governor.api import Governor
from governor.supervisor.spawner_link import DEATHS
from tests.process.helpers import (
    DEADLINE,
    PYTHONPATH,
    children,
    eventually,
    exists,
    kill_and_see,
    nothing_left,
    puppet,
    run_job,
    sampled,
    spawner_of,
    wait_all,
)
from tests.process.spawner_faults import EXPECTED, STEPS

pytestmark = pytest.mark.once


def newest_spawner(gov: Governor, before: int, *jobs: int) -> int:
    """The spawner that has taken the place of ``before``; waits for it.

    ``jobs`` may still look like one, when they have not become what they are to be yet.
    """
    found: list[int] = []

    def is_there() -> bool:
        for pid in set(children(gov.pid)) - {before, *jobs}:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # others may end
                if b"spawner.main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return bool(found)

    eventually(is_there, "there is another spawner")
    return found[0]


@pytest.fixture
def impatient(runtime: Path) -> Iterator[Governor]:
    with governor.Governor(agent_timeout=0.5) as gov:
        yield gov


FAULTS = [
    (step, when, nth)
    for step in STEPS
    for when in ("before", "after")
    for nth in ((2, 5) if STEPS[step][0] == "spawner" else (2,))
    if (step, when) != ("exec", "after")  # it never returns
]


@pytest.mark.parametrize(("step", "when", "nth"), sampled(FAULTS, 3))
def test_death_at_a_step_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, step: str, when: str, nth: int
) -> None:
    """Each job runs once, ends are seen with status and CPU time, limits hold, nothing is left."""
    command = [sys.executable, "-m", "tests.process.spawner_faults", step, when, str(nth)]
    with nothing_left(monkeypatch):
        env = os.environ | {"PYTHONPATH": PYTHONPATH}
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=env)
    said, killed, times = map(json.loads, done.stdout.splitlines())
    assert said == EXPECTED, done.stderr
    assert times >= nth
    assert killed == ["the spawner was ended by signal 9"]
    assert done.stderr == ""


def test_spawners_die_one_after_the_other(gov: Governor) -> None:
    """Jobs of each of them go on, and so does the agent; all are ended in the end."""
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    spawner, jobs = spawner_of(gov), []
    for round in range(3):
        jobs += [gov.spawn(["sh", "-c", f"sleep 1000; exit {round}"], containers=[box])]
        kill_and_see([spawner])
        spawner = newest_spawner(gov, spawner, *(job.pid for job in jobs))
    eventually(lambda: box["numtasks.held"] == 6, "all have forked")
    for job in jobs:
        (sleep,) = children(job.pid)
        os.kill(sleep, signal.SIGKILL)
    assert [result.exit_code for result in wait_all(jobs)] == [0, 1, 2]
    assert box["numtasks.held"] == 0
    left = gov.spawn(["sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"])
    gov.close()
    assert not exists(left.pid)


@pytest.mark.agents_end
def test_spawner_and_agent_die_together(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 3
    with puppet(gov, box) as job:
        spawner = spawner_of(gov)
        (agent,) = set(children(spawner)) - {job.pid}
        kill_and_see([spawner, agent])
        job.fill(2)
        assert job.is_refused()
        assert run_job(gov, ["sh", "-c", "exit 5"])[0].exit_code == 5


def test_stopped_spawner_is_replaced(impatient: Governor) -> None:
    """Whether it is to start something, or only to say what has ended."""
    spawner = spawner_of(impatient)
    os.kill(spawner, signal.SIGSTOP)
    assert run_job(impatient, ["sh", "-c", "exit 4"])[0].exit_code == 4
    assert not exists(spawner)
    spawner = newest_spawner(impatient, spawner)
    reads, writes = os.pipe()
    job = impatient.spawn(["sh", "-c", "read line; exit 6"], stdin=reads)
    os.kill(spawner, signal.SIGSTOP)
    os.close(writes)
    os.close(reads)
    assert job.wait(DEADLINE).exit_code == 6
    assert not exists(spawner)


@pytest.mark.agents_end
def test_stopped_spawner_and_dead_agent_are_replaced(impatient: Governor) -> None:
    box = impatient.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 2
    with puppet(impatient, box) as job:
        spawner = spawner_of(impatient)
        (agent,) = set(children(spawner)) - {job.pid}
        os.kill(spawner, signal.SIGSTOP)
        os.kill(agent, signal.SIGKILL)
        job.make()
        assert job.is_refused()


def test_jobs_have_the_limits_of_their_starter(gov: Governor) -> None:
    """The supervisor has raised its own number of descriptors, which is none of a job's."""
    before = run_job(gov, ["sh", "-c", "ulimit -n; umask; pwd; env"])[1]
    spawner = spawner_of(gov)
    kill_and_see([spawner])
    newest_spawner(gov, spawner)
    assert run_job(gov, ["sh", "-c", "ulimit -n; umask; pwd; env"])[1] == before
    assert run_job(gov, ["sh", "-c", "ls /proc/self/fd"])[1].split() == ["0", "1", "2", "3"]


def test_callables_still_run(gov: Governor) -> None:
    spawner = spawner_of(gov)
    kill_and_see([spawner])
    newest_spawner(gov, spawner)
    assert gov.spawn(lambda: sys.exit(9)).wait(DEADLINE).exit_code == 9


def test_end_of_spawner_after_spawner_is_the_end_of_its_jobs(gov: Governor, runtime: Path) -> None:
    job = gov.spawn(["sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"])
    spawner = spawner_of(gov)
    for _ in range(DEATHS - 1):
        kill_and_see([spawner])
        spawner = newest_spawner(gov, spawner, job.pid)
    kill_and_see([spawner])
    with pytest.raises(governor.GovernorError, match="ended"):
        job.wait(DEADLINE)
    gov.close()
    assert not exists(job.pid)
    assert not os.listdir(runtime)
