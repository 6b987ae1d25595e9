"""Many processes, and whole containers, that move: all or none, and nobody is left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from subprocess import PIPE

import pytest

import governor
from governor.api import Container, Governor
from governor.errors import GovernorError
from tests.capabilities import need
from tests.process.helpers import DEADLINE, agent_of, children, kill_and_see, puppet
from tests.process.test_move import foreign_puppet, held
from workers import membership
from workers.moves import Move, Moves, _Refused

Boxes = tuple[Container, Container]
CROWD = 100
FORKS = 10


@pytest.fixture
def boxes(gov: Governor) -> Boxes:
    """Two containers of one hierarchy whose tasks are counted."""
    load = gov.mount("load", ["numtasks"])
    return load.mkdir("/a"), load.mkdir("/b")


def groups_of(pids: list[int]) -> set[int]:
    """The groups of these processes, as the kernel keeps them."""
    return {tag.group for tag in map(membership.read, pids) if tag is not None}


def refusal(boxes: Boxes, *pids: int) -> GovernorError:
    """Moving these from the first box to the second is refused, and moves nobody."""
    a, b = boxes
    before = a.tasks, b.tasks, a["numtasks.held"], b["numtasks.held"]
    with pytest.raises(GovernorError) as caught:
        b.attach(*pids)
    assert (a.tasks, b.tasks, a["numtasks.held"], b["numtasks.held"]) == before
    return caught.value


# -- everybody moves -----------------------------------------------------------------------


def test_a_hundred_move_in_one_hierarchy_and_stay_in_the_others(gov: Governor) -> None:
    trees = [gov.mount(f"t{n}", [f"numtasks@t{n}"]) for n in range(3)]
    here = [tree.mkdir("/here") for tree in trees]
    there = trees[1].mkdir("/there")
    with puppet(gov, *here) as job:
        pids = sorted([job.pid, *job.fill(CROWD - 1)])
        there.attach(*pids)
        assert there.tasks == pids
        assert [box.tasks for box in here] == [pids, [], pids]
        assert held(*here, there) == [CROWD, 0, CROWD, CROWD]
        assert len(groups_of(pids)) == 1
        moves = (event for event in gov.events(after=0) if event.kind == "move")
        assert sorted(int(event.fields["pid"]) for event in islice(moves, CROWD)) == pids
        assert here[1].attach_all(there) == CROWD
        assert (here[1].tasks, there.tasks) == (pids, [])
        there["numtasks.limit"] = 1
        there.attach_all(here[1])
        assert job.is_refused()


def test_jobs_of_many_groups_come_together(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    files = gov.mount("files", ["numfiles"])
    with puppet(gov, a, files.mkdir("/x")) as one, puppet(gov, a, files.mkdir("/y")) as other:
        b.attach_all(a)
        assert b.tasks == sorted([one.pid, other.pid])
        assert (files["/x"].tasks, files["/y"].tasks) == ([one.pid], [other.pid])
        files["/x"].attach_all(b)  # of another hierarchy
        assert files["/x"].tasks == b.tasks
        assert files["/y"].tasks == []


def test_containers_below_come_along_when_that_is_asked_for(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    below = a.mkdir("below")
    with puppet(gov, a) as upper, puppet(gov, below) as lower:
        assert b.attach_all(a) == 1
        assert (b.tasks, below.tasks) == ([upper.pid], [lower.pid])
        assert b.attach_all(a, recursive=True) == 1
        assert b.attach_all(a, recursive=True) == 0
        assert below.attach_all(b.hierarchy.root, recursive=True) == 2
        assert below.tasks == sorted([upper.pid, lower.pid])


def test_who_has_ended_and_is_not_reaped_leaves_nothing_behind(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        job.make("z")
        assert b.attach_all(a) == 2
        assert (a.tasks, held(a, b)) == ([], [0, 2])
        a.rmdir()


def test_duplicates_and_threads_and_those_that_are_there_count_once(
    gov: Governor, boxes: Boxes
) -> None:
    a, b = boxes
    with puppet(gov, a) as job, puppet(gov, b) as there:
        job.fill(2, "t")
        threads = [int(name) for name in os.listdir(f"/proc/{job.pid}/task")]
        b.attach(*threads, job.pid, job.pid, there.pid)
        assert b.tasks == sorted([job.pid, there.pid])
        assert held(a, b) == [0, 4]
        b.attach()
        assert b.attach_all(b) == 0


def test_several_pids_in_one_write(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        pids = sorted([job.pid, *job.fill(3)])
        b["tasks"] = " ".join(map(str, pids))
        assert b.tasks == pids
        a["tasks"] = "\n".join(map(str, pids))
        assert a.tasks == pids


# -- forks meanwhile -----------------------------------------------------------------------


def test_nobody_stays_behind_in_a_storm_of_forks(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with puppet(gov, a) as one, puppet(gov, a) as other:
        for job in (one, other):
            job.fill(10)
            job.do("l")
        for turn in range(30):
            source, target = (a, b) if turn % 2 == 0 else (b, a)
            target.attach_all(source)
            # Nobody is put there but by a move, so that whoever is there was left.
            assert source.tasks == []
        for job in (one, other):
            assert job.do("!") == (0, 0)
        assert held(a, b) == [22, 0]
        assert (a["numtasks.failcnt"], b["numtasks.failcnt"]) == (0, 0)


def test_nobody_stays_behind_where_nothing_is_trapped(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with foreign_puppet() as outsider:
        a.attach(outsider.pid)
        outsider.do("l")
        for _ in range(10):
            b.attach_all(a)
            assert a.tasks == []
            a.attach_all(b)
            assert b.tasks == []
        outsider.do("!")


# -- what is refused whole -----------------------------------------------------------------


def test_limits_are_asked_for_the_sum_when_that_is_wanted(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    inner = b.mkdir("inner")
    b["numtasks.limit"] = 64
    with puppet(gov, a) as job, puppet(gov, b) as there:
        pids = [job.pid, *job.fill(CROWD - 1)]
        for move in (
            lambda: inner.attach(*pids, within_limits=True),
            lambda: inner.attach_all(a, within_limits=True),
        ):
            with pytest.raises(GovernorError, match=r"load:/b is at its limit of 64") as caught:
                move()
            assert caught.value.errno == errno.EAGAIN
            assert (a.tasks, inner.tasks) == (sorted(pids), [])
            assert held(a, b, inner) == [CROWD, 1, 0]
        assert b["numtasks.failcnt"] == 0  # nothing was asked for by a process
        inner.attach(*pids[:63], within_limits=True)
        assert held(a, b, inner) == [37, 64, 63]
        assert there.is_refused()
        there.end(0)
        inner.attach(*pids)  # as ever: a move itself is refused to nobody
        assert held(a, b, inner) == [0, CROWD + 1, CROWD]
        a.attach_all(inner, within_limits=True)
        assert not there.is_refused()


def test_one_that_cannot_move_keeps_all_where_they_are(gov: Governor, boxes: Boxes) -> None:
    a, _ = boxes
    with puppet(gov, a) as job:
        pids = [job.pid, *job.fill(4)]
        gone = subprocess.Popen(["true"])
        gone.wait()
        error = refusal(boxes, *pids, gone.pid)
        assert (error.errno, str(gone.pid) in error.message) == (errno.ESRCH, True)
        error = refusal(boxes, *pids, gov.pid)
        assert (error.errno, str(gov.pid) in error.message) == (errno.EINVAL, True)
        zombie = job.make("z")
        error = refusal(boxes, pids[0], zombie, *pids[1:])
        assert (error.errno, str(zombie) in error.message) == (errno.ESRCH, True)
        if os.geteuid() != 0:
            error = refusal(boxes, *pids, 1)
            assert (error.errno, "process 1 " in error.message) == (errno.EACCES, True)


def test_one_that_cannot_be_tagged_keeps_all_where_they_are(gov: Governor, boxes: Boxes) -> None:
    if os.geteuid() == 0:
        pytest.skip("root tags whatever it wants to")
    lower = (
        "import resource as r, sys; r.setrlimit(10, (7, 7)); print(flush=True); sys.stdin.read()"
    )
    with (
        subprocess.Popen([sys.executable, "-c", lower], stdin=PIPE, stdout=PIPE) as stubborn,
        puppet(gov, boxes[0]) as job,
    ):
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        error = refusal(boxes, job.pid, *job.fill(3), stubborn.pid)
        assert error.errno == errno.EPERM
        assert f"process {stubborn.pid} cannot move to load:/b" in error.message


def test_who_is_born_of_one_that_is_put_back_is_put_back(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(moves: Moves, groups: dict[int, int]) -> list[Move]:
        """Some come late, and meanwhile others are born to those that have moved already."""

        def there() -> list[int]:
            members = moves._census.members()
            return [pid for pid, tag in members.items() if tag.group in groups.values()]

        os.kill(there()[0], signal.SIGCONT)
        while len(there()) <= FORKS:
            os.sched_yield()
        raise _Refused(errno.EAGAIN, 1)

    monkeypatch.setattr(Moves, "_late", late)
    forks = f"kill -STOP $$; for i in $(seq {FORKS}); do sleep 600 & done; wait"
    with (
        governor.Governor(fork=True) as gov,
        subprocess.Popen(["sh", "-c", forks], start_new_session=True) as outsider,
    ):
        load = gov.mount("load", ["numtasks"])
        a, b = load.mkdir("/a"), load.mkdir("/b")
        try:
            os.waitid(os.P_PID, outsider.pid, os.WSTOPPED | os.WNOWAIT)
            a.attach(outsider.pid)
            with pytest.raises(GovernorError, match="fork faster"):
                b.attach_all(a)
            assert b.tasks == []
            assert outsider.pid in a.tasks
        finally:
            kill_and_see([outsider.pid, *children(outsider.pid)])


def test_a_subsystem_that_refuses_one_names_it(gov: Governor) -> None:
    place = gov.mount("servers", ["ns"]).mkdir("/place")  # one process makes namespaces
    with puppet(gov) as one, puppet(gov) as other:
        for _ in range(2):
            with pytest.raises(GovernorError, match=f"process {other.pid} cannot move") as caught:
                place.attach(one.pid, other.pid)
            assert caught.value.errno == errno.EPERM
            assert place.tasks == []
        place.attach(other.pid)
        assert place.tasks == [other.pid]


def test_all_that_end_meanwhile_are_left_out(gov: Governor, boxes: Boxes) -> None:
    a, b = boxes
    with puppet(gov, a) as job:
        for _ in range(20):
            pids = job.fill(5)
            os.kill(pids[0], signal.SIGKILL)
            with suppress(GovernorError):  # it had ended before: then nobody moves
                b.attach(*pids)
            assert set(pids[1:]) <= set(a.tasks) or set(pids[1:]) <= set(b.tasks)
            job.end(5)
            assert (a.tasks, b.tasks) == ([job.pid], [])


# -- affinity, CPU time, agents ------------------------------------------------------------


def test_the_affinity_of_all_follows(gov: Governor) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    need(len(cpus) > 1, "one CPU only")
    tree = gov.mount("cpu", ["cpuset"])
    first, last = tree.mkdir("/first"), tree.mkdir("/last")
    first["cpuset.cpus"], last["cpuset.cpus"] = str(cpus[0]), str(cpus[-1])
    with puppet(gov, first) as job:
        pids = [job.pid, *job.fill(20)]
        job.make("t")
        last.attach_all(first)
        tids = [int(tid) for pid in pids for tid in os.listdir(f"/proc/{pid}/task")]
        assert {frozenset(os.sched_getaffinity(tid)) for tid in tids} == {frozenset(cpus[-1:])}
        first.attach(*pids)
        assert {frozenset(os.sched_getaffinity(tid)) for tid in tids} == {frozenset(cpus[:1])}


BURNT = 100_000_000
BURN = f"""
import os, time
for _ in range(3):
    if os.fork() == 0:
        while time.process_time_ns() < {BURNT}: pass
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(600)
time.sleep(600)
"""


def test_what_was_used_before_stays_charged_where_it_was_used(gov: Governor) -> None:
    """Nobody has looked at these processes before they move."""
    acct = gov.mount("acct", ["cpuacct"])
    a, b = acct.mkdir("/a"), acct.mkdir("/b")
    read, write = os.pipe()
    job = gov.spawn([sys.executable, "-c", BURN], containers=[a], stdout=write)
    os.close(write)
    with os.fdopen(read) as lines:
        burnt = [int(lines.readline()) for _ in range(3)]
    b.attach_all(a)
    assert set(burnt) <= set(b.tasks)
    used = sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in burnt)  # the kernel's own count
    assert used >= 3 * BURNT
    assert int(a["cpuacct.usage"]) >= 3 * BURNT
    assert int(b["cpuacct.usage"]) < BURNT
    b.kill(signal.SIGKILL)
    job.wait(60)
    assert int(a["cpuacct.usage"]) >= 3 * BURNT
    assert int(b["cpuacct.usage"]) < BURNT


@pytest.mark.agents_end
def test_an_agent_that_dies_before_it_has_answered_is_not_missed(
    gov: Governor, boxes: Boxes
) -> None:
    """Deaths in the middle are in test_takeover."""
    a, b = boxes
    with puppet(gov, a) as job:
        pids = sorted([job.pid, *job.fill(30)])
        agent = agent_of(gov, job.pid)
        os.kill(agent, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            moved = pool.submit(b.attach_all, a)
            kill_and_see([agent])
            assert moved.result(DEADLINE) == len(pids)
        assert (a.tasks, b.tasks) == ([], pids)
        assert held(a, b) == [0, len(pids)]
