"""attach: a running process moves with its charge, its affinity and its children to come."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import governor
from governor.api import Container, Governor
from governor.errors import GovernorError
from tests.capabilities import need
from tests.process.helpers import Puppet, exists, kill_and_see, program, puppet
from workers import membership

Boxes = tuple[Container, Container]


@pytest.fixture
def boxes(gov: Governor) -> Boxes:
    """Two containers of one hierarchy whose tasks are counted."""
    load = gov.mount("load", ["numtasks"])
    return load.mkdir("/a"), load.mkdir("/b")


def held(*containers: Container) -> list[int | str]:
    return [container["numtasks.held"] for container in containers]


@contextmanager
def foreign_puppet() -> Iterator[Puppet]:
    """A puppet that no governor has started."""
    started: list[subprocess.Popen[bytes]] = []

    def start(stdin: int, stdout: int) -> None:
        path = program("tasks_puppet")
        started.append(subprocess.Popen([path], stdin=stdin, stdout=stdout))

    with Puppet(start) as puppet:
        try:
            yield puppet
        finally:
            children = Path(f"/proc/{puppet.pid}/task/{puppet.pid}/children").read_text()
            kill_and_see([puppet.pid, *map(int, children.split())])
            started[0].wait()


# -- what moves and what stays ------------------------------------------------------------


def test_charge_moves_with_all_threads_and_children_stay(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        children = sorted(job.fill(2))
        job.fill(3, "t")
        assert held(a, b) == [6, 0]
        b.attach(job.pid)
        assert held(a, b) == [2, 4]
        assert (a.tasks, b.tasks) == (children, [job.pid])


def test_children_to_come_are_the_new_containers(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    a["numtasks.limit"] = 4
    b["numtasks.limit"] = 3
    with puppet(gov, a) as job:
        job.fill(3)
        assert job.is_refused()
        b.attach(job.pid)
        job.make()
        job.make("t")
        assert job.is_refused()
        assert held(a, b) == [3, 3]
        assert (a["numtasks.failcnt"], b["numtasks.failcnt"]) == (1, 1)
        a.attach(job.pid)
        assert held(a, b) == [5, 1]
        assert job.is_refused()
        assert (a["numtasks.failcnt"], b["numtasks.failcnt"]) == (2, 1)


def test_grandchildren_belong_where_their_parent_is(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        b.attach(job.pid)
        job.make("d")
        assert held(a, b) == [0, 2]


def test_move_is_never_refused_but_a_full_container_admits_nothing_new(
    gov: Governor, boxes: Boxes
) -> None:
    a, b = boxes
    b["numtasks.limit"] = 1
    with puppet(gov, a) as job, puppet(gov, b):
        b.attach(job.pid)
        assert held(a, b) == [0, 2]
        assert job.is_refused()
        a.attach(job.pid)
        assert not job.is_refused()


def test_room_that_a_move_leaves_is_given_out_at_once(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    a["numtasks.limit"] = 2
    with puppet(gov, a) as mover, puppet(gov, a) as stayer:
        assert stayer.is_refused()
        b.attach(mover.pid)
        assert not stayer.is_refused()
        assert stayer.is_refused()


def test_other_hierarchies_do_not_notice(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    files = gov.mount("files", ["numfiles"]).mkdir("/builds")
    with puppet(gov, a, files) as job:
        before = files["numfiles.held"]
        b.attach(job.pid)
        assert files.tasks == [job.pid]
        assert files["numfiles.held"] == before


def test_affinity_of_every_thread_follows(gov: Governor) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    need(len(cpus) > 1, "one CPU only")
    cpu = gov.mount("cpu", ["cpuset"])
    first, last = cpu.mkdir("/first"), cpu.mkdir("/last")
    first["cpuset.cpus"] = str(cpus[0])
    last["cpuset.cpus"] = str(cpus[-1])

    def affinities(pid: int) -> set[tuple[int, ...]]:
        threads = os.listdir(f"/proc/{pid}/task")
        return {tuple(sorted(os.sched_getaffinity(int(tid)))) for tid in threads}

    with puppet(gov, first) as job:
        child = job.make()
        job.fill(4, "t")
        assert affinities(job.pid) == {(cpus[0],)}
        last.attach(job.pid)
        assert affinities(job.pid) == {(cpus[-1],)}
        assert affinities(child) == {(cpus[0],)}
        assert affinities(job.make("s")) == {(cpus[-1],)}
        job.make("t")
        assert affinities(job.pid) == {(cpus[-1],)}


# -- what cannot move ---------------------------------------------------------------------


def test_process_that_is_gone(boxes: Boxes) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(GovernorError, match=f"process {gone.pid}") as caught:
        boxes[0].attach(gone.pid)
    assert caught.value.errno == errno.ESRCH


@pytest.mark.parametrize("pid", [0, -1])
def test_number_that_is_no_process(boxes: Boxes, pid: int) -> None:
    with pytest.raises(GovernorError, match="process") as caught:
        boxes[0].attach(pid)
    assert caught.value.errno == errno.EINVAL


def test_another_users_process(boxes: Boxes) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing belongs to another user than root's")
    with pytest.raises(GovernorError, match="process 1 ") as caught:
        boxes[0].attach(1)
    assert caught.value.errno == errno.EACCES


def test_process_that_is_there_already(gov: Governor, boxes: Boxes) -> None:
    a, _ = boxes
    a["numtasks.limit"] = 2
    with puppet(gov, a) as job:
        a.attach(job.pid)
        assert held(a) == [1]
        job.make()
        assert job.is_refused()


def test_process_that_ends_while_it_moves_leaves_no_count(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        for _ in range(50):
            pid = job.make()
            os.kill(pid, 9)
            with suppress(GovernorError):  # dying, or a zombie already
                b.attach(pid)
            job.end()
            with pytest.raises(GovernorError, match="no process"):
                b.attach(pid)
        assert held(a, b) == [1, 0]


# -- while forks are under way ------------------------------------------------------------


def test_counts_are_right_after_moves_in_a_storm_of_forks(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    for box in boxes:
        box["numtasks.limit"] = 9
    with puppet(gov, a) as job:
        job.do("l")
        for _ in range(100):
            b.attach(job.pid)
            a.attach(job.pid)
        error, failed = job.do("!")
        # No more than nine tasks in all, so that there was always room in both.
        assert (error, failed) == (0, 0)
        assert held(a, b) == [1, 0]
        assert (a["numtasks.failcnt"], b["numtasks.failcnt"]) == (0, 0)


# -- processes from outside ---------------------------------------------------------------


def test_process_from_outside_is_counted_but_only_observed(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes

    def levels() -> dict[str, str]:
        return {c.path: c.level["numtasks"] for c in gov.containers() if c.path != "/"}

    with foreign_puppet() as outsider:
        outsider.fill(2)
        a["numtasks.limit"] = 1
        a.attach(outsider.pid)
        assert held(a) == [1]
        assert not outsider.is_refused()  # it has no filter
        assert held(a) == [2]
        assert levels() == {"/a": "observed", "/b": "enforced"}
        b["numtasks.limit"] = 10
        with puppet(gov, b) as job:
            assert not job.is_refused()
            b.attach(outsider.pid)
            assert levels()["/b"] == "partial"
            assert gov.enforcement()["numtasks"] in ("partial", "observed")


def test_tasks_from_outside_leave_less_room_for_jobs(gov: Governor, boxes: Boxes) -> None:
    a, _ = boxes
    a["numtasks.limit"] = 3
    with foreign_puppet() as outsider, puppet(gov, a) as job:
        a.attach(outsider.pid)
        job.make()
        assert job.is_refused()
        outsider.make("t")
        job.end()
        assert job.is_refused()


def test_process_from_outside_outlives_the_governor(runtime: Path) -> None:
    with foreign_puppet() as outsider:
        with governor.Governor() as gov:
            box = gov.mount("load", ["numtasks"]).mkdir("/box")
            box.attach(outsider.pid)
            child = outsider.make()
            assert held(box) == [2]
        assert exists(child)
        assert outsider.make()
        assert membership.read(outsider.pid) is None
        assert membership.read(child) is None
