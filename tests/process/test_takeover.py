"""The agent may die or hang at any moment: another goes on, and nobody can tell from a job."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import governor
from governor.api import Container, Governor
from governor.errors import GovernorError
from tests.capabilities import need
from tests.process.agent_faults import FAILURES, STEPS
from tests.process.helpers import (
    DEADLINE,
    PYTHONPATH,
    Puppet,
    eventually,
    exists,
    kernel_pids,
    nothing_left,
    program,
    puppet,
    sampled,
)
from tests.process.running import plain
from workers import estate

pytestmark = pytest.mark.agents_end

ESTATE = "/memfd:governor-estate"


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_agent(pid: int) -> bool:
    try:
        return any(ESTATE in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines())
    except OSError:
        return False


def agent(gov: Governor) -> int:
    """The agent that runs now; waits for one."""
    (spawner,) = children(gov.pid)
    found: list[int] = []

    def is_there() -> bool:
        found[:] = filter(_is_agent, children(spawner))
        return bool(found)

    eventually(is_there, "an agent is there")
    return found[0]


def waiting(agent: int) -> int:
    """How many calls the agent has received and left without an answer, by its estate."""
    for name in os.listdir(f"/proc/{agent}/fd"):
        path = f"/proc/{agent}/fd/{name}"
        with contextlib.suppress(FileNotFoundError):  # it looks at processes meanwhile
            if os.readlink(path).startswith(ESTATE):
                words = memoryview(Path(path).read_bytes()).cast("q")
                return [words[record * 16] for record in range(words[0])].count(estate.CALL)
    return 0


def kill(gov: Governor) -> None:
    """Kill the agent; the next one has not taken over yet when this returns."""

    def is_killed() -> bool:
        with contextlib.suppress(ProcessLookupError):  # one that was about to end anyway
            os.kill(agent(gov), signal.SIGKILL)
            return True
        return False

    eventually(is_killed, "an agent has been killed")


def replaced(gov: Governor, before: int) -> None:
    """Wait until another agent runs."""
    eventually(lambda: agent(gov) != before, "there is another agent")


def tasks_below(box: Container) -> list[list[int]]:
    """Who is in each child of a container; nobody while one of them is being removed."""
    with contextlib.suppress(GovernorError):
        return [child.tasks for child in box.children]
    return []


@pytest.fixture
def box(gov: Governor) -> Container:
    return gov.mount("load", ["numtasks"]).mkdir("/box")


def bomb(rounds: int, cruel: int = 0) -> list[str]:
    return [program("tasks_bomb"), str(rounds), str(cruel)]


# -- at any moment ------------------------------------------------------------------------


@pytest.mark.once
def test_idle_agent_is_replaced_and_its_figures_go_on(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 4
    with puppet(gov, box) as job:
        job.fill(3)
        assert [job.is_refused() for _ in range(3)] == [True] * 3
        assert box["numtasks.held"] == 4
        job.end(2)
        before = agent(gov)
        os.kill(before, signal.SIGKILL)
        replaced(gov, before)
        assert (box["numtasks.held"], box["numtasks.maxheld"]) == (2, 4)
        assert box["numtasks.failcnt"] == 3
        job.fill(2)
        assert job.is_refused()
        assert box["numtasks.failcnt"] == 4


@pytest.mark.once
def test_it_is_told_of(gov: Governor, box: Container) -> None:
    events = gov.events(0)
    kill(gov)
    event = next(event for event in events if event.kind == "agent-restart")
    assert event.fields["reason"] == "the agent was ended by signal 9"


@pytest.mark.parametrize("seed", range(3))
def test_storm_of_forks_never_exceeds_its_limit(gov: Governor, box: Container, seed: int) -> None:
    """Four agents die at random moments; the kernel counts, and the bomb counts refusals.

    An ordinary user's kernel counts nothing, but there is what the bomb says.
    """
    limit = 24
    box["numtasks.limit"] = limit
    moments = random.Random(seed)
    with kernel_pids() if os.geteuid() == 0 else contextlib.nullcontext() as kernel:
        reads, writes = os.pipe()
        command = kernel.inside(bomb(40)) if kernel else bomb(40)
        job = gov.spawn(command, containers=[box], stdout=writes)
        os.close(writes)
        for _ in range(4):
            time.sleep(moments.uniform(0.0, 0.25))
            kill(gov)
        assert job.wait(DEADLINE).exit_code == 0
        made, refused, other = map(int, os.read(reads, 100).split())
        os.close(reads)
        assert kernel is None or kernel.peak <= limit
    assert (made > 100, refused > 0, other) == (True, True, 0)
    assert box["numtasks.failcnt"] == refused
    assert int(box["numtasks.maxheld"]) <= limit
    eventually(lambda: box["numtasks.held"] == 0, "nothing is held")


@pytest.mark.once
def test_limits_change_and_processes_move_meanwhile(gov: Governor, box: Container) -> None:
    other = box.hierarchy.mkdir("/other")
    with puppet(gov, box) as job:
        for turn in range(12):
            if turn % 3 == 0:
                kill(gov)
            target, source = (other, box) if turn % 2 else (box, other)
            target["numtasks.limit"] = 1 + turn
            target.attach(job.pid)
            assert (target["numtasks.held"], source["numtasks.held"]) == (1, 0)
            job.fill(turn)
            assert job.is_refused()
            job.end(turn)


@pytest.mark.once
def test_fork_rate_is_not_forgotten(gov: Governor, box: Container) -> None:
    with puppet(gov, box) as job:
        box.hierarchy.root["numtasks.forkrate_interval"] = 3600
        box.hierarchy.root["numtasks.forkrate"] = 3
        job.fill(2)
        kill(gov)
        job.make()
        kill(gov)
        assert job.is_refused()


def test_affinity_and_files_are_kept_as_well(gov: Governor) -> None:
    need(len(os.sched_getaffinity(0)) > 1, "one processor only")
    corner = gov.mount("cpu", ["cpuset", "numfiles"]).mkdir("/corner")
    corner["cpuset.cpus"] = str(min(os.sched_getaffinity(0)))
    corner["numfiles.limit"] = 30
    code = """
import os
input()
try:
    os.sched_setaffinity(0, range(os.cpu_count()))
except PermissionError:  # our memory may not be read
    pass
files = []
try:
    while True: files.append(os.open("/", 0))
except OSError as error:
    print(len(os.sched_getaffinity(0)), error.errno, 20 < len(files) < 31)
"""
    reads, writes = os.pipe()
    heard, say = os.pipe()
    command = [sys.executable, "-S", "-c", code]
    job = gov.spawn(command, containers=[corner], stdin=reads, stdout=say)
    os.close(say)
    kill(gov)
    os.write(writes, b"\n")
    assert job.wait(DEADLINE).exit_code == 0
    assert os.read(heard, 100).split() == [b"1", str(errno.EMFILE).encode(), b"True"]
    for descriptor in (reads, writes, heard):
        os.close(descriptor)


@pytest.mark.once
def test_received_call_that_waits_for_the_supervisor_is_answered(gov: Governor) -> None:
    """The agent dies while a call waits for a container that a stopped supervisor is to make."""
    need(shutil.which("unshare") is not None, "unshare of util-linux is not there")
    need(plain(["unshare", "-U", "true"]).exit_code == 0, "no user namespaces for this user")
    box = gov.mount("servers", ["ns", "numtasks"]).mkdir("/box")
    path = program("ns_puppet")
    with Puppet(lambda i, o: gov.spawn([path], containers=[box], stdin=i, stdout=o)) as job:
        before = agent(gov)
        os.kill(gov.pid, signal.SIGSTOP)
        try:
            os.write(job._orders, b"u")
            eventually(lambda: waiting(before) == 1, "the call has been received")
            os.kill(before, signal.SIGKILL)
        finally:
            os.kill(gov.pid, signal.SIGCONT)
        assert job._hear() == (0, 0)
        eventually(lambda: tasks_below(box) == [[job.pid]], "it has moved")
        assert agent(gov) != before


@pytest.mark.once
def test_jobs_that_are_being_started_start(gov: Governor, box: Container) -> None:
    for _ in range(4):
        kill(gov)
        jobs = [gov.spawn(["sh", "-c", "(exit 7)"], containers=[box]) for _ in range(5)]
        assert [job.wait(DEADLINE).exit_code for job in jobs] == [7] * 5
    assert box["numtasks.failcnt"] == 0


@pytest.mark.once
def test_refusals_that_it_did_not_tell_of_are_told(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 1
    events = (event for event in gov.events(0) if event.kind == "limit")
    with puppet(gov, box) as job:
        told = 0
        for turn in range(1, 6):
            assert [job.is_refused() for _ in range(5)] == [True] * 5
            kill(gov)
            while told < 5 * turn:
                told += int(next(events).fields["times"])
        assert told == box["numtasks.failcnt"] == 25


@pytest.mark.once
def test_refusals_before_a_reset_are_told_once_as_well(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 1
    events = (event for event in gov.events(0) if event.kind == "limit")
    with puppet(gov, box) as job:
        told = 0
        for turn in range(1, 4):
            assert [job.is_refused() for _ in range(5)] == [True] * 5
            box["numtasks.failcnt"] = 0
            assert [job.is_refused() for _ in range(2)] == [True] * 2
            kill(gov)
            while told < 7 * turn:
                told += int(next(events).fields["times"])
        assert told == 21
        assert box["numtasks.failcnt"] == 2


@pytest.mark.once
def test_it_is_counted(gov: Governor, box: Container) -> None:
    for turn in range(3):
        assert gov.status().agent_restarts == turn
        before = agent(gov)
        os.kill(before, signal.SIGKILL)
        replaced(gov, before)
        assert box["numtasks.held"] == 0


def test_a_storm_of_deaths(runtime: Path) -> None:
    """As in ``make stress``, for two seconds."""
    from tests.stress.agents import storm

    assert storm(2.0) >= 1


# -- hanging ------------------------------------------------------------------------------


@pytest.fixture
def impatient(runtime: Path) -> Iterator[Governor]:
    with governor.Governor(agent_timeout=0.5) as gov:
        yield gov


@pytest.mark.once
def test_stopped_agent_is_replaced(impatient: Governor) -> None:
    box = impatient.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 3
    with puppet(impatient, box) as job:
        for _ in range(2):
            before = agent(impatient)
            os.kill(before, signal.SIGSTOP)
            job.fill(2)
            assert job.is_refused()
            job.end(2)
            assert not exists(before)
    assert box["numtasks.failcnt"] == 2


@pytest.mark.once
def test_stopped_supervisor_is_no_reason(runtime: Path) -> None:
    """Nobody is replaced when all were stopped together for longer than the timeout."""
    # Long enough for whoever goes on to be heard on a busy machine.
    with governor.Governor(agent_timeout=2.0) as gov:
        box = gov.mount("load", ["numtasks"]).mkdir("/box")
        with puppet(gov, box) as job:
            before = agent(gov)
            os.kill(gov.pid, signal.SIGSTOP)
            os.kill(before, signal.SIGSTOP)
            time.sleep(2.2)  # longer than the timeout, which is the point
            os.kill(gov.pid, signal.SIGCONT)
            os.kill(before, signal.SIGCONT)
            job.make()
            assert agent(gov) == before


@pytest.mark.once
def test_agent_that_counts_for_long_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count of many processes takes longer than an agent may say nothing."""
    assert said_by("tests.process.slow_counts", monkeypatch) == 0


@pytest.mark.once
def test_no_interval_passes_before_a_death_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor whose waits never end by themselves replaces its agents all the same."""
    assert said_by("tests.process.no_intervals", monkeypatch) == [15, 10]


def said_by(module: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """What a program that is a governor itself prints; it complains of nothing."""
    with nothing_left(monkeypatch):
        command = [sys.executable, "-m", module]
        env = os.environ | {"PYTHONPATH": PYTHONPATH}
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=env)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.once
@pytest.mark.parametrize("timeout", [0, -1, 0.05, 1e9, float("nan"), float("inf")])
def test_timeout_must_be_a_time(timeout: float) -> None:
    with pytest.raises(GovernorError) as refused:
        governor.Governor(agent_timeout=timeout)
    assert refused.value.errno == errno.EINVAL


# -- at every step ------------------------------------------------------------------------


def faulty(scenario: str, step: str, when: str, nth: int) -> tuple[str, int, str]:
    """What a scenario says with a fault, how often the step was done, and complaints."""
    command = [scenario, step, when, str(nth)]
    if step in IN_A_SUCCESSOR:
        command += ["count", "after", "2"]
    return run_faulty(*command)


def run_faulty(*arguments: str) -> tuple[str, int, str]:
    command = [sys.executable, "-m", "tests.process.agent_faults", *arguments]
    env = os.environ | {"PYTHONPATH": PYTHONPATH}
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=env)
    lines = done.stdout.splitlines()
    assert len(lines) > 1, done.stderr
    return lines[-2], int(lines[-1]), done.stderr


@pytest.mark.once
@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("times", [1, 4])
def test_a_new_agent_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, unharmed: dict[str, str], what: str, times: int
) -> None:
    with nothing_left(monkeypatch):
        if "tasks" not in unharmed:
            unharmed["tasks"] = faulty("tasks", "receive", "before", 0)[0]
        command = ["tasks", what, "fails", str(times), "answer", "before", "2"]
        said, tries, complaints = run_faulty(*command)
        assert (said, complaints) == (unharmed["tasks"], "")
        assert tries > times


@pytest.fixture(scope="module")
def unharmed() -> dict[str, str]:
    return {}


ONLY_ENTRIES = ("begin entry", "allow entry")
IN_A_SUCCESSOR = ("adopt", "take over", "reserve", "look again")
OFTEN = ("receive", "wait for calls", "answer", "tell", "count", "tag", "count refusal")
SCENARIO = (
    dict.fromkeys(ONLY_ENTRIES, "namespaces")
    | {"wait for calls": "streak"}
    | {"note charge": "rate"}
)
FAULTS = [
    (SCENARIO.get(step, "tasks"), step, when, nth)
    for step in STEPS
    for when in ("before", "after")
    for nth in ((1, 2) if step in OFTEN else (1,))
]

FAULTS += [("rate", "answer", when, nth) for when in ("before", "after") for nth in (2, 7, 8)]
FAULTS += [("rate", "tag", when, 1) for when in ("before", "after")]
FAULTS += [  # among those who move, whoever was tagged before
    ("moves", step, when, nth)
    for when in ("before", "after")
    for step, nth in (("tag", 6), ("tag", 14), ("tag", 20), ("go on", 1), ("move", 2))
]
FAULTS += [
    ("tasks", step, "busy", 1) for step in ("receive", "recount", "look closely", "tell", "count")
]


@pytest.mark.once
@pytest.mark.parametrize(("scenario", "step", "when", "nth"), sampled(FAULTS, 3))
def test_death_at_a_step_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
    unharmed: dict[str, str],
    scenario: str,
    step: str,
    when: str,
    nth: int,
) -> None:
    if scenario == "namespaces":
        need(plain(["unshare", "-U", "true"]).exit_code == 0, "no user namespaces for this user")
    with nothing_left(monkeypatch):
        if scenario not in unharmed:
            unharmed[scenario] = faulty(scenario, step, "before", 0)[0]
        assert faulty(scenario, step, when, nth)[::2] == (unharmed[scenario], "")
