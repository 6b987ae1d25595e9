"""Requests that make no sense, or that are given up half-way, cost the governor nothing."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import governor.api.governor as governor_module
from governor.api import Container, Governor
from governor.client import Client
from governor.errors import GovernorError
from governor.wire import client as wire
from tests.capabilities import need
from tests.process.helpers import (
    DEADLINE,
    agent_of,
    eventually,
    run_job,
    spawner_of,
    wait_all,
)

INFINITE = float("inf")
NO_NUMBER = float("nan")
SLEEP = ["sleep", "600"]


def refusal(request: Callable[[], Any]) -> int:
    """The errno with which something is refused."""
    with pytest.raises(GovernorError) as caught:
        request()
    return caught.value.errno


def descriptors(gov: Governor) -> int:
    """How many the supervisor has open."""
    return len(os.listdir(f"/proc/{gov.pid}/fd"))


# -- times -------------------------------------------------------------------------


@pytest.mark.once
def test_endless_times(gov: Governor) -> None:
    job = gov.spawn(SLEEP, timeout=INFINITE, grace=INFINITE)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(gov.wait([job], INFINITE)))
    waiting.start()
    with Governor.connect(gov.directory) as other, pytest.raises(GovernorError) as caught:
        other.client.ask(lambda n: wire.Follow(n, -1, INFINITE), 0)
    assert caught.value.errno == errno.ETIMEDOUT
    assert gov.status().jobs == 1
    job.kill()
    waiting.join(DEADLINE)
    assert answers == [{job}]


@pytest.mark.once
def test_times_that_are_no_number(gov: Governor) -> None:
    job = gov.spawn(SLEEP)
    root = gov.mount("load", ["numtasks"]).root
    assert refusal(lambda: gov.wait([job], NO_NUMBER)) == errno.EINVAL
    assert refusal(lambda: gov.spawn(SLEEP, timeout=NO_NUMBER)) == errno.EINVAL
    assert refusal(lambda: gov.stop([job], NO_NUMBER)) == errno.EINVAL
    assert refusal(lambda: root.mkdir("a").remove(kill=True, grace=NO_NUMBER)) == errno.EINVAL
    assert gov.client.ask(lambda n: wire.Follow(n, 0, 0.0))
    assert refusal(lambda: gov.client.ask(lambda n: wire.Follow(n, 0, NO_NUMBER))) == errno.EINVAL
    assert [report.id for report in gov.jobs()] == [job.id]


# -- values ------------------------------------------------------------------------


@pytest.mark.once
def test_a_request_of_a_wrong_shape_is_refused_at_once(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    strange: Any
    for strange in (None, b"/a", 7, ["/a"]):
        assert refusal(lambda path=strange: load.mkdir(path)) == errno.EINVAL  # type: ignore[misc]
    for strange in (None, "7", True, 1.5):
        assert refusal(lambda pid=strange: load.root.attach(pid)) == errno.EINVAL  # type: ignore[misc]
        ask = lambda value=strange: gov.client.ask(  # noqa: E731
            lambda n: wire.Write(n, "load", "/", "numtasks.limit", [value])  # type: ignore[arg-type]
        )
        assert refusal(ask) == errno.EINVAL


@pytest.mark.once
def test_numbers_beyond_all_use(gov: Governor) -> None:
    root = gov.mount("load", ["numtasks"]).root
    job = gov.spawn(SLEEP)
    for pid in ("9" * 5000, 2**64 - 1, str(2**200)):
        assert refusal(lambda pid=pid: root.__setitem__("tasks", pid)) == errno.EINVAL  # type: ignore[misc]
    for number in (-1, 65, 2**40, 2**63):
        assert refusal(lambda n=number: job.signal(n)) == errno.EINVAL  # type: ignore[misc]
        assert refusal(lambda n=number: root.kill(n)) == errno.EINVAL  # type: ignore[misc]
    assert refusal(lambda: root.__setitem__("release_agent", "/a\0b")) == errno.EINVAL


@pytest.mark.once
def test_texts_beyond_all_use(gov: Governor) -> None:
    root = gov.mount("load", ["numtasks"]).root
    assert refusal(lambda: gov.mount("x" * 256, ["numfiles"])) == errno.ENAMETOOLONG
    assert refusal(lambda: root.mkdir("x" * 256)) == errno.ENAMETOOLONG
    for value in ("x" * 2**20, " " * 2**20 + "500"):
        assert refusal(lambda value=value: root.__setitem__("numtasks.limit", value)) == errno.E2BIG  # type: ignore[misc]
    assert gov.mount("x" * 255, ["numfiles"]).root.mkdir("x" * 255).path == "/" + "x" * 255


# -- jobs that are not started -----------------------------------------------------


@pytest.mark.once
def test_refused_jobs_leave_no_descriptors(gov: Governor) -> None:
    """More of them than fit in the queue of the desk."""
    gone = gov.mount("load", ["numtasks"]).mkdir("/gone")
    gone.rmdir()
    before = descriptors(gov)
    for _ in range(200):
        assert refusal(lambda: gov.spawn(SLEEP, containers=[gone])) == errno.ENOENT
    wait_all([gov.spawn(["true"])])
    assert descriptors(gov) < before + 100  # three of each


@pytest.mark.once
def test_clients_that_leave_before_they_ask_for_their_job(gov: Governor) -> None:
    before = descriptors(gov)
    client: Client = gov.client
    for _ in range(20):
        for _ in range(20):
            client.leave_stdio([0, 1, 2])
        wait_all([gov.spawn(["true"])])
    assert descriptors(gov) < before + 450  # three for each of 128


# -- who is attached ---------------------------------------------------------------


def test_the_governor_does_not_govern_itself(gov: Governor) -> None:
    inner = gov.mount("load", ["numtasks"]).mkdir("/inner")
    spawner, agent = spawner_of(gov), agent_of(gov)
    threads = [int(name) for name in os.listdir(f"/proc/{gov.pid}/task")]
    assert len(threads) > 1
    init = [1] if os.geteuid() == 0 else []  # another user's otherwise
    for pid in (spawner, agent, *threads, *init):
        assert refusal(lambda pid=pid: inner.attach(pid)) == errno.EINVAL  # type: ignore[misc]
    assert inner.tasks == []


THREADS = """
import threading, time
end = time.process_time() + 0.3
while time.process_time() < end: pass
threading.Thread(target=lambda: print(threading.get_native_id(), flush=True) or input()).start()
"""


@pytest.mark.once
def test_a_thread_brings_its_process_along(gov: Governor) -> None:
    """With what that has used before as its own business."""
    inner = gov.mount("cpu", ["cpuacct"]).mkdir("/inner")
    with subprocess.Popen(
        [sys.executable, "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as outsider:
        assert outsider.stdout is not None
        thread = int(outsider.stdout.readline())
        assert thread != outsider.pid
        inner.attach(thread)
        assert inner.tasks == [outsider.pid]
        moves = [event for event in _events(gov) if event[2] == "move"]
        assert moves[-1][5]["pid"] == outsider.pid
        assert int(inner["cpuacct.usage"]) < 200_000_000
        outsider.kill()


def _events(gov: Governor) -> list[list[Any]]:
    rows: list[list[Any]] = gov.client.ask(lambda n: wire.Follow(n, 0, 0.0))[2]
    return rows


# -- two clients -------------------------------------------------------------------

STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]


@pytest.mark.once
def test_what_is_being_removed_is_nobody_elses_to_remove(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    doomed = load.mkdir("/doomed")
    read, write = os.pipe()
    gov.spawn(STUBBORN, containers=[doomed], stdout=write)
    os.close(write)
    assert os.read(read, 6) == b"ready\n"
    os.close(read)
    removal = threading.Thread(target=lambda: doomed.remove(kill=True, grace=INFINITE))
    removal.start()

    def is_being_removed(request: Callable[[], None]) -> bool:
        with pytest.raises(GovernorError, match=r"doomed (is being removed|has processes)"):
            request()
        with pytest.raises(GovernorError) as caught:
            request()
        return "is being removed" in caught.value.message

    eventually(lambda: is_being_removed(doomed.remove), "the removal has begun")
    assert is_being_removed(doomed.rmdir)
    doomed.kill(signal.SIGKILL)
    removal.join(DEADLINE)
    assert load.root.children == []


@pytest.mark.once
def test_a_container_that_would_go_by_itself_is_removed(gov: Governor) -> None:
    """Both look for its last process to end; who has asked hears that it is gone."""
    load = gov.mount("load", ["numtasks"])
    for _ in range(40):
        doomed = load.mkdir("/doomed")
        doomed["auto_remove"] = 1
        gov.spawn(SLEEP, containers=[doomed])
        doomed.remove(kill=True)
        assert load.root.children == []


# -- trees -------------------------------------------------------------------------


@pytest.mark.once
def test_a_tree_deeper_than_a_stack(gov: Governor) -> None:
    deep = gov.mount("deep", ["numtasks", "cpuset", "cpuacct"])
    job = gov.spawn(SLEEP)
    container: Container = deep.root
    for _ in range(1020):
        container = container.mkdir("d")
    gov.spawn(SLEEP, containers=[container])
    deep.root["numtasks.total"] = 100
    deep.mkdir("/kept")["numtasks.shares"] = "min_shares=10"
    assert len(gov.containers()) == 1022
    assert gov.spawn(["true"], containers=[container]).wait(DEADLINE).exit_code == 0
    assert {report.id for report in gov.jobs()} > {job.id}
    deep[f"{'/d' * 1}"].remove(recursive=True, kill=True)
    assert deep.root["numtasks.held"] == 1


# -- what jobs are said to be ------------------------------------------------------


def test_a_moved_job_is_said_to_be_where_it_is(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    first, second = load.mkdir("/first"), load.mkdir("/second")
    job = gov.spawn(SLEEP, containers=[first])
    assert gov.jobs()[0].containers == ["load:/first"]
    second.attach(job.pid)
    assert gov.jobs()[0].containers == ["load:/second"]
    first.rmdir()
    assert gov.jobs()[0].containers == ["load:/second"]


# -- descriptors -------------------------------------------------------------------


def test_more_jobs_than_the_caller_may_have_descriptors(runtime: Path) -> None:
    """Neither supervisor nor agent run out of them; each job has the limit of the caller."""
    few = 64
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    need(before[1] > 10 * few, f"the host allows {before[1]} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        gov = Governor()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with gov:
        gov.mount("load", ["numtasks"])
        jobs = [gov.spawn(SLEEP) for _ in range(2 * few)]
        assert run_job(gov, ["sh", "-c", "ulimit -n"])[1] == f"{few}\n"
        assert gov.status().jobs == len(jobs)


# -- waiting -----------------------------------------------------------------------


@pytest.mark.once
def test_a_wait_is_asked_for_again(gov: Governor, monkeypatch: pytest.MonkeyPatch) -> None:
    """So none is kept for ever of a client that was killed; nobody else notices."""
    asked: list[float | None] = []

    def ask(request: Any, timeout: float | None = None) -> Any:
        message = request(1)
        if isinstance(message, wire.Wait):
            asked.append(message.timeout)
        return Client.ask(gov.client, request, timeout)

    monkeypatch.setattr(governor_module, "WAIT_SLICE", 0.01)
    job = gov.spawn(SLEEP)
    monkeypatch.setattr(gov.client, "ask", ask)
    assert gov.wait([job], 0.05) == set()
    assert len(asked) > 1
    with pytest.raises(TimeoutError):
        job.wait(0)
    waiting = threading.Thread(target=job.wait)
    waiting.start()
    so_far = len(asked)
    eventually(lambda: len(asked) > so_far + 2, "it was asked for some times")
    job.kill()
    waiting.join(DEADLINE)
    assert job.result is not None
    assert None not in asked
