"""What a job was refused is in its result: all of it, and nothing of anybody else's.

The oracle is the job, which counts its own EAGAIN and EMFILE.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
from collections.abc import Sequence

import pytest

from governor.api import Container, Governor, Hierarchy, Job, JobResult
from governor.errors import JobFailed, JobTimeout, LimitExceeded
from governor.results import Refusal
from tests.process.helpers import DEADLINE, agent_of, eventually, exists, puppet, run_job
from tests.process.running import program

pytestmark = pytest.mark.once

OPENER = """
import errno, os, sys
print(flush=True)
sys.stdin.readline()
refused = 0
for _ in range(int(sys.argv[1])):
    try:
        os.open("/dev/null", os.O_RDONLY)
    except OSError as error:
        refused += error.errno == errno.EMFILE
print(refused)
"""
ONCE = ["sh", "-c", "(exit 0); exit 3"]
"""Forks once and fails when it cannot, which is the last that it does."""


@pytest.fixture
def load(gov: Governor) -> Hierarchy:
    return gov.mount("load", ["numtasks", "numfiles"])


def refused(result: JobResult) -> dict[tuple[str, str], int]:
    return {(row.container, row.resource): row.times for row in result.refusals}


def outputs(
    gov: Governor, commands: Sequence[list[str]], box: Container, file: str, limit: int
) -> list[tuple[JobResult, str]]:
    """Jobs that ran at the same time, limited when all had said a line, and what else they said."""
    theirs, ours = os.pipe()
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        jobs = [
            gov.spawn(command, containers=[box], stdin=theirs, stdout=output)
            for command, output in zip(commands, outputs, strict=True)
        ]
        os.close(theirs)
        for output in outputs:
            eventually(lambda one=output: os.fstat(one.fileno()).st_size > 0, "it is there")  # type: ignore[misc]
        box[file] = limit
        os.close(ours)
        results = [job.wait(DEADLINE) for job in jobs]
        for output in outputs:
            output.seek(0)
        return [
            (r, o.read().decode().splitlines()[1]) for r, o in zip(results, outputs, strict=True)
        ]


def test_each_of_two_bombs_in_a_container_has_its_own(gov: Governor, load: Hierarchy) -> None:
    box = load.mkdir("/box")
    script = 'echo; read line; exec "$0" "$1" 0'
    bombs = [["sh", "-c", script, program("tasks_bomb"), rounds] for rounds in ("3", "8")]
    counted: list[int] = []
    for result, output in outputs(gov, bombs, box, "numtasks.limit", 12):
        counted.append(int(output.split()[1]))
        assert refused(result) == {("load:/box", "tasks"): counted[-1]}
        assert result.refusals[0].limit == 12
    assert sum(counted) == box["numtasks.failcnt"]
    assert min(counted) > 0


def test_files_are_counted_as_the_job_counts_them(gov: Governor, load: Hierarchy) -> None:
    box = load.mkdir("/box")
    openers = [[sys.executable, "-c", OPENER, times] for times in ("40", "60")]
    for result, output in outputs(gov, openers, box, "numfiles.limit", 12):
        assert refused(result) == {("load:/box", "files"): int(output)}
        assert result.exit_code == 0, "it went on, and that is its own affair"


def test_the_last_refusal_is_there_however_soon_the_job_ends(
    gov: Governor, load: Hierarchy
) -> None:
    box = load.mkdir("/box")
    box["numtasks.limit"] = 1
    for _ in range(15):
        result, _ = run_job(gov, ONCE, [box])
        assert result.refusals == (Refusal("load:/box", "tasks", 1, 1, 1),)


def test_all_of_many_that_end_at_once_have_theirs(gov: Governor, load: Hierarchy) -> None:
    boxes = [load.mkdir(f"/{number}") for number in range(20)]
    for box in boxes:
        box["numtasks.limit"] = 1
    jobs = [gov.spawn(ONCE, containers=[box], stderr=null()) for box in boxes]
    for box, job in zip(boxes, jobs, strict=True):
        assert refused(job.wait(DEADLINE)) == {(f"load:{box.path}", "tasks"): 1}


def null() -> int:
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def test_who_was_refused_nothing_has_nothing(gov: Governor, load: Hierarchy) -> None:
    box = load.mkdir("/box")
    box["numtasks.limit"] = 2
    with puppet(gov, box) as job:
        job.make()
        assert job.is_refused()
        result, _ = run_job(gov, ["sh", "-c", "(exit 0); exit 3"], [load.root])
        assert (result.exit_code, result.refusals) == (3, ())


def test_a_job_that_moves_is_refused_in_several_places(gov: Governor, load: Hierarchy) -> None:
    here, there = load.mkdir("/here"), load.mkdir("/there")
    here["numtasks.limit"], there["numtasks.limit"] = 2, 3
    with puppet(gov, here) as job:
        job.make()
        assert job.is_refused()
        there.attach(job.pid)
        job.fill(2)
        assert [job.is_refused() for _ in range(3)] == [True] * 3
        here.rename("was")
    (result,) = results(gov)
    assert refused(result) == {("load:/here", "tasks"): 1, ("load:/there", "tasks"): 3}


def results(gov: Governor) -> list[JobResult]:
    """Of all jobs, also of those that a puppet was."""
    found = []
    for report in gov.jobs():
        job = Job(gov, report.id, report.name, report.pid, [])
        found.append(job.wait(DEADLINE))
    return found


def test_what_lives_on_after_a_job_is_no_concern_of_its_result(
    gov: Governor, load: Hierarchy
) -> None:
    box = load.mkdir("/box")
    box["numtasks.limit"] = 2
    script = "sh -c 'read line; (exit 0); exit 0' <&3 & (exit 0); exit 3"
    theirs, ours = os.pipe()
    command = ["sh", "-c", f"exec 3<&0; {script}"]
    job = gov.spawn(command, containers=[box], stdin=theirs, stderr=null())
    os.close(theirs)
    result = job.wait(DEADLINE)
    assert refused(result) == {("load:/box", "tasks"): 1}
    box["numtasks.limit"] = 1
    os.close(ours)
    eventually(lambda: box["numtasks.failcnt"] == 2, "it was refused, too")
    assert results(gov) == [result]


@pytest.mark.agents_end
def test_nothing_is_lost_or_doubled_when_agents_die(gov: Governor, load: Hierarchy) -> None:
    box = load.mkdir("/box")
    box["numtasks.limit"] = 2
    with puppet(gov, box) as job:
        task = job.make()
        times = 0
        for _ in range(4):
            assert [job.is_refused() for _ in range(7)] == [True] * 7
            times += 7
            before = agent_of(gov, job.pid)
            os.kill(before, signal.SIGKILL)
            eventually(lambda pid=before: not exists(pid), "it is gone")  # type: ignore[misc]
        assert exists(task)
    (result,) = results(gov)
    assert refused(result) == {("load:/box", "tasks"): times}
    assert box["numtasks.failcnt"] == times


@pytest.mark.agents_end
def test_an_agent_that_dies_with_the_job_takes_nothing_along(
    gov: Governor, load: Hierarchy
) -> None:
    box = load.mkdir("/box")
    box["numtasks.limit"] = 2
    with puppet(gov, box) as job:
        job.make()
        agent = agent_of(gov, job.pid)
        os.kill(gov.pid, signal.SIGSTOP)  # nobody hears of anything
        try:
            assert [job.is_refused() for _ in range(5)] == [True] * 5
            os.kill(agent, signal.SIGKILL)
            os.kill(job.pid, signal.SIGKILL)
        finally:
            os.kill(gov.pid, signal.SIGCONT)
        (result,) = results(gov)
    assert (result.signal, refused(result)) == (9, {("load:/box", "tasks"): 5})


class TestCheck:
    def test_success_passes(self, gov: Governor) -> None:
        assert gov.spawn(["true"]).wait(DEADLINE, check=True).exit_code == 0

    def test_failure(self, gov: Governor) -> None:
        with pytest.raises(JobFailed, match=r"^job false failed with exit code 1$") as caught:
            gov.spawn(["false"]).wait(DEADLINE, check=True)
        assert type(caught.value) is JobFailed
        assert caught.value.result is not None
        assert caught.value.result.exit_code == 1

    def test_timeout(self, gov: Governor) -> None:
        with pytest.raises(JobTimeout):
            gov.spawn(["sleep", "1000"], timeout=0.05).wait(DEADLINE, check=True)

    def test_a_limit(self, gov: Governor, load: Hierarchy) -> None:
        box = load.mkdir("/box")
        box["numtasks.limit"] = 1
        with pytest.raises(LimitExceeded) as caught:
            gov.spawn(ONCE, containers=[box], stderr=null()).wait(DEADLINE, check=True)
        error = caught.value
        assert (error.container, error.resource, error.limit, error.held) == (
            "load:/box", "tasks", 1, 1
        )  # fmt: skip
        assert error.errno == errno.EAGAIN

    def test_a_job_that_could_not_start(self, gov: Governor, load: Hierarchy) -> None:
        load.root["numtasks.limit"] = 0
        with pytest.raises(LimitExceeded, match="load:/ is at its limit of 0 tasks; job true was"):
            gov.spawn(["true"]).wait(DEADLINE, check=True)
