"""Moves as the seed documents have them: who may be moved, and what an exit meanwhile leaves."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from governor.api import Container, Governor
from governor.errors import GovernorError
from tests.process.helpers import DEADLINE, eventually, puppet

ROUNDS = 60


@pytest.fixture
def boxes(gov: Governor) -> tuple[Container, Container]:
    load = gov.mount("load", ["numtasks", "cpuacct"])
    return load.mkdir("/a"), load.mkdir("/b")


def at_once(*actions: Callable[[], object]) -> None:
    """Do several things at the same time, each in a thread."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], object]) -> None:
        barrier.wait()
        action()

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def move(box: Container, pid: int) -> None:
    with suppress(GovernorError):
        box.attach(pid)


@pytest.mark.parametrize("released", [False, True])
def test_an_exit_during_a_move_leaves_no_count_anywhere(
    gov: Governor, boxes: tuple[Container, Container], released: bool
) -> None:
    """The race of the seeds' review: one container kept a task for ever, the other lost one."""
    a, b = boxes
    for box in boxes:
        box["notify_on_release"] = int(released)
    with puppet(gov, a) as job:
        for _ in range(ROUNDS):
            pid = job.make()
            at_once(lambda: os.kill(pid, signal.SIGKILL), lambda: move(b, pid))  # noqa: B023
            assert sorted([*a.tasks, *b.tasks]) == sorted([job.pid, pid])
            job.end()  # reaps it
            assert (a.tasks, b.tasks) == ([job.pid], [])
            assert (a["numtasks.held"], b["numtasks.held"]) == (1, 0)
        b.rmdir()
        a.hierarchy.root.attach(job.pid)
        a.rmdir()


def test_moves_from_two_sides_leave_the_process_in_one_place(
    gov: Governor, boxes: tuple[Container, Container]
) -> None:
    a, b = boxes
    with puppet(gov) as job:
        for _ in range(ROUNDS):
            at_once(lambda: a.attach(job.pid), lambda: b.attach(job.pid))
            assert sorted([*a.tasks, *b.tasks]) == [job.pid]


def test_who_has_ended_cannot_be_moved(gov: Governor, boxes: tuple[Container, Container]) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        pid = job.make()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: is_zombie(pid), "it has ended")
        with pytest.raises(GovernorError) as caught:
            b.attach(pid)
        assert caught.value.errno == errno.ESRCH
        assert sorted(a.tasks) == sorted([job.pid, pid])  # it counts until it is reaped


def is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_a_thread_stands_for_its_process(gov: Governor, boxes: tuple[Container, Container]) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        job.fill(2, "t")
        thread = next(int(t) for t in os.listdir(f"/proc/{job.pid}/task") if int(t) != job.pid)
        assert gov.where(thread) == gov.where(job.pid)
        b.attach(thread)
        assert (a.tasks, b.tasks) == ([], [job.pid])
        assert (a["numtasks.held"], b["numtasks.held"]) == (0, 3)
        moved = next(event for event in gov.events(after=0) if event.kind == "move")
        assert moved.fields["pid"] == job.pid


def test_tasks_are_in_order(gov: Governor, boxes: tuple[Container, Container]) -> None:
    a, _ = boxes
    with puppet(gov, a) as job:
        pids = [job.pid, *job.fill(12)]
        assert a.tasks == sorted(pids)
        assert str(a["tasks"]).split("\n") == [str(pid) for pid in sorted(pids)]


def test_another_class_in_one_tree_for_a_while(gov: Governor) -> None:
    """As a browser gets a class of network use for the time that it is in front."""
    users = gov.mount("users", ["numtasks"]).mkdir("/students")
    network = gov.mount("network", ["numfiles"])
    www, nfs = network.mkdir("/www"), network.mkdir("/nfs")
    with puppet(gov, users, www) as job:
        for place in (nfs, www):
            place.attach(job.pid)
            assert [str(line) for line in gov.where(job.pid)] == [
                "numtasks:/students",
                f"numfiles:{place.path}",
            ]
            assert gov.where(job.make()) == gov.where(job.pid)


def test_the_first_process_founds_its_container(gov: Governor) -> None:
    """Make, configure, start one process in it: all that it forks is there as well."""
    box = gov.mount("load", ["numtasks"]).mkdir("/job")
    box["numtasks.limit"] = 3
    job = gov.spawn(["sh", "-c", "sleep 1000 & sleep 1000 & wait"], containers=[box])
    eventually(lambda: len(box.tasks) == 3, "all three are there")
    assert box["numtasks.held"] == 3
    box.kill(signal.SIGKILL)
    assert job.wait(DEADLINE).signal == signal.SIGKILL
