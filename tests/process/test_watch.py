"""An agent that waits in one busy listener alone is not deaf to everything else."""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from governor import Container, Governor, Job
from tests.process.helpers import DEADLINE, agent_restarts, eventually
from tests.programs.facility_support import Parent, forked
from workers.tasks import call_of
from workers.watch import RING, Watch

_WAITS = {"x86_64": (232, 281), "aarch64": (22,)}[os.uname().machine]
"""The numbers of epoll_wait and epoll_pwait."""
_OPENS = "import os\nos.write(1, b'!')\nwhile True: os.close(os.open('/', os.O_RDONLY))"


def _ring(watch: Watch) -> bool:
    deadline = time.monotonic() + DEADLINE
    while not watch.rang and time.monotonic() < deadline:
        pass
    return watch.rang


def test_it_rings_and_can_be_called_off_again_and_again() -> None:
    def body(parent: Parent) -> None:
        watch = Watch(select.epoll())
        rings = 0
        for turn in range(300):
            watch.begin(0.01)
            if turn % 2:
                rings += _ring(watch)
            watch.end()
        parent.say(rings)

    with forked(body) as child:
        assert child.hear() == 150


def test_it_rings_where_the_signal_was_blocked() -> None:
    def body(parent: Parent) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [RING])
        watch = Watch(select.epoll())
        watch.begin(0.001)
        parent.say(_ring(watch))

    with forked(body) as child:
        assert child.hear() is True


def _sleeps(threads: set[str]) -> int:
    """How often these threads of ours have gone to sleep, as the kernel counts it."""
    total = 0
    for thread in threads:
        with open(f"/proc/self/task/{thread}/status") as file:
            total += int(file.read().partition("\nvoluntary_ctxt_switches:")[2].split(None, 1)[0])
    return total


def test_a_watch_that_sees_nothing_wakes_nobody() -> None:
    def body(parent: Parent) -> None:
        before = set(os.listdir("/proc/self/task"))
        watch = Watch(select.epoll())
        others = set(os.listdir("/proc/self/task")) - before
        assert others
        while any(call_of(int(thread)) not in _WAITS for thread in others):
            os.sched_yield()  # until its thread sleeps in its epoll, and not for the interpreter
        asleep = _sleeps(others)
        for _ in range(1000):
            watch.begin(60)
            watch.end()
        parent.say(_sleeps(others) - asleep)

    with forked(body) as child:
        assert child.hear() < 100


def _busy(gov: Governor) -> tuple[Job, Container]:
    """A job that opens files as fast as it can, in a container with a limit it never meets."""
    container = gov.mount("load", ["numtasks", "numfiles"]).mkdir("/busy")
    container["numfiles.limit"] = 1000
    begun, say = os.pipe()
    job = gov.spawn([sys.executable, "-S", "-c", _OPENS], containers=[container], stdout=say)
    os.close(say)
    assert os.read(begun, 1) == b"!"
    os.close(begun)
    return job, container


def test_the_supervisor_is_heard_in_between(gov: Governor) -> None:
    job, container = _busy(gov)
    for _ in range(200):
        assert int(container["numfiles.held"]) > 0
    container["numfiles.limit"] = 0
    assert job.wait(DEADLINE).exit_code == 1
    assert int(container["numfiles.failcnt"]) > 0


def test_other_jobs_start_fork_and_end_in_between(gov: Governor) -> None:
    busy, container = _busy(gov)
    for _ in range(20):
        other = gov.spawn(["sh", "-c", "true | true; (true)"], containers=[container])
        assert other.wait(DEADLINE).exit_code == 0
    busy.kill()
    assert busy.wait(DEADLINE).signal == signal.SIGKILL


def test_a_listener_that_falls_silent_is_left(gov: Governor) -> None:
    job, container = _busy(gov)
    for _ in range(20):
        job.signal(signal.SIGSTOP)
        assert int(container["numtasks.held"]) == 1
        job.signal(signal.SIGCONT)
    assert agent_restarts(gov) == []
    job.kill()
    assert job.wait(DEADLINE).signal == signal.SIGKILL
    eventually(lambda: container["numtasks.held"] == 0, "nothing is held")
