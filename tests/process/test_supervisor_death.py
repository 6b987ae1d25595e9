"""The supervisor of a governor with a state dies at any moment, and others with it."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from governor.api import Job
from governor.errors import GovernorError
from governor.results import Refusal
from tests.process.helpers import (
    DEADLINE,
    children,
    eventually,
    exists,
    kernel_pids,
    kill_and_see,
    program,
    puppet,
)
from tests.process.test_adoption import Service, job_of, limited, service
from workers.undertaker import is_zombie

__all__ = ["service"]


def spawner_of(service: Service) -> int:
    """The spawner: the only child of a supervisor that has started it."""
    (pid,) = children(service.gov.pid)
    return pid


def agent_of(spawner: int, *jobs: int) -> int:
    (pid,) = (pid for pid in children(spawner) if pid not in jobs and not is_zombie(pid))
    return pid


@pytest.mark.parametrize("seed", range(2))
def test_storm_never_exceeds_its_limit(service: Service, seed: int) -> None:
    """Supervisors die at random moments, at once replaced or after a while; the kernel counts."""
    limit = 24
    limited(service.gov, limit)
    moments = random.Random(seed)
    with kernel_pids() if os.geteuid() == 0 else contextlib.nullcontext() as kernel:
        bomb = [program("tasks_bomb"), "40", "0"]
        reads, writes = os.pipe()
        command = kernel.inside(bomb) if kernel else bomb
        box = service.gov.hierarchy("load")["/a"]
        job = service.gov.spawn(command, containers=[box], stdout=writes)
        os.close(writes)
        for _ in range(3):
            time.sleep(moments.uniform(0.0, 0.3))
            service.kill()
            time.sleep(moments.uniform(0.0, 0.3))
            service.gov = service.start()
        assert job_of(service.gov, job).wait(DEADLINE).exit_code == 0
        made, refused, other = map(int, os.read(reads, 100).split())
        os.close(reads)
        assert kernel is None or kernel.peak <= limit
    box = service.gov.hierarchy("load")["/a"]
    assert (made > 100, refused > 0, other) == (True, True, 0)
    assert box["numtasks.failcnt"] == refused
    assert int(box["numtasks.maxheld"]) <= limit
    eventually(lambda: box["numtasks.held"] == 0, "nothing is held")


@pytest.mark.once
def test_limit_holds_without_a_supervisor(service: Service) -> None:
    with puppet(service.gov, limited(service.gov, 3)) as member:
        service.kill()
        member.fill(2)
        assert [member.is_refused() for _ in range(3)] == [True] * 3
        member.end()
        member.make()
        service.gov = service.start()
        box = service.gov.hierarchy("load")["/a"]
        assert (box["numtasks.held"], box["numtasks.failcnt"]) == (3, 3)
        assert member.is_refused()


@pytest.mark.once
def test_agent_dies_without_a_supervisor(service: Service) -> None:
    """A call waits until there is somebody again, and none gets past the limit meanwhile."""
    with puppet(service.gov, limited(service.gov, 2)) as member:
        spawner = spawner_of(service)
        agent = agent_of(spawner, member.pid)
        service.kill()
        kill_and_see([agent])
        os.write(member._orders, b"f")
        service.gov = service.start()
        assert member._hear()[0] == 0
        assert member.is_refused()


@pytest.mark.once
def test_jobs_that_are_being_started(service: Service, tmp_path: Path) -> None:
    """Each runs once at most; whoever was told that it runs hears of its end."""
    path = tmp_path / "ran"
    told = []
    for turn in range(3):
        killer: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(GovernorError):
            for number in range(1, 200):
                if number == 3:
                    soon = f"sleep 0.0{turn * 3}; kill -9 {service.gov.pid}"
                    killer = subprocess.Popen(["sh", "-c", soon])
                name = f"{turn}.{number}"
                command = ["sh", "-c", f"echo {name} >>{path}; exit {number}"]
                told.append((service.gov.spawn(command), name, number))
        assert killer is not None
        killer.wait(DEADLINE)
        service.again()
    results = {report.id: report.exit_code for report in service.gov.jobs()}
    for job, _, _ in told:
        if results[job.id] is None:
            results[job.id] = job_of(service.gov, job).wait(DEADLINE).exit_code
    ran = path.read_text().split()
    assert len(set(ran)) == len(ran)
    by_id = {job.id: (name, number) for job, name, number in told}
    assert len(by_id) == len(told)
    for id, (name, number) in by_id.items():
        # A job can be lost only between its start and its first step, and that is said.
        assert results[id] == (number if name in ran else 125), name


@pytest.mark.once
def test_spawner_dies_under_the_second_supervisor(service: Service) -> None:
    """Its jobs are init's then; their ends are seen, and others start."""
    box = limited(service.gov, 20)
    hear, say = os.pipe()
    command = ["sh", "-c", "read x; exit 7"]
    first = service.gov.spawn(command, containers=[box], stdin=hear)
    spawner = spawner_of(service)
    gov = service.again()
    box = gov.hierarchy("load")["/a"]
    second = gov.spawn(command, containers=[box], stdin=hear)
    kill_and_see([spawner])
    assert gov.spawn(["sh", "-c", "exit 5"], containers=[box]).wait(DEADLINE).exit_code == 5
    third = gov.spawn(command, containers=[box], stdin=hear)
    assert box["numtasks.held"] == 3
    gov = service.again()
    os.write(say, b"\n\n\n")
    assert [job_of(gov, job).wait(DEADLINE).exit_code for job in (first, second, third)] == [7] * 3
    box = gov.hierarchy("load")["/a"]
    eventually(lambda: box["numtasks.held"] == 0, "all have ended")
    for end in (hear, say):
        os.close(end)


@pytest.mark.once
def test_spawner_dies_before_the_supervisor(service: Service) -> None:
    """What the supervisor had adopted becomes init's."""
    hear, say = os.pipe()
    job = service.gov.spawn(["sh", "-c", "read x; exit 7"], stdin=hear)
    kill_and_see([spawner_of(service)])
    assert service.gov.spawn(["true"]).wait(DEADLINE).exit_code == 0
    gov = service.again()
    assert exists(job.pid)
    os.write(say, b"\n")
    assert job_of(gov, job).wait(DEADLINE).exit_code == 7
    for end in (hear, say):
        os.close(end)


@pytest.mark.once
@pytest.mark.parametrize("everybody", [False, True])
def test_agent_that_the_supervisor_had_adopted(service: Service, everybody: bool) -> None:
    """It goes on with the second spawner as it would with the first, and ends with it."""
    with puppet(service.gov, limited(service.gov, 3)) as member:
        spawner = spawner_of(service)
        agent = agent_of(spawner, member.pid)
        kill_and_see([spawner])
        assert service.gov.spawn(["true"]).wait(DEADLINE).exit_code == 0
        (spawner,) = set(children(service.gov.pid)) - {agent, member.pid}
        service.kill()
        member.fill(2)
        assert [member.is_refused() for _ in range(3)] == [True] * 3
        if everybody:
            kill_and_see([spawner])
            eventually(lambda: is_zombie(agent), "the agent has ended")
        service.gov = service.start()
        eventually(lambda: is_zombie(agent), "the agent has ended")
        if not everybody:
            box = service.gov.hierarchy("load")["/a"]
            assert (box["numtasks.held"], box["numtasks.failcnt"]) == (3, 3)
            assert member.is_refused()


@pytest.mark.once
def test_what_a_job_is_refused_outlives_the_supervisor(service: Service) -> None:
    """Before, without one, and after; and once the job has ended, without anybody at all."""
    with puppet(service.gov, limited(service.gov, 2)) as member:
        member.make()
        assert [member.is_refused() for _ in range(3)] == [True] * 3
        service.kill()
        assert [member.is_refused() for _ in range(2)] == [True] * 2
        service.gov = service.start()
        assert member.is_refused()
        service.kill()
        assert member.is_refused()
    gov = service.gov = service.start()
    (report,) = gov.jobs()
    job = Job(gov, report.id, report.name, report.pid, [])
    refused = (Refusal("load:/a", "tasks", 2, 2, 7),)
    assert job.wait(DEADLINE).refusals == refused
    gov = service.again()
    assert job_of(gov, job).wait(DEADLINE).refusals == refused
