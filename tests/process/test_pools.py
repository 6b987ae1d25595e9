"""Guarantees and fork rates as jobs meet them, by a subsystem that has nothing else.

``toyshares.most`` bounds a container, ``toyshares.least`` is what it is guaranteed, and
``toyshares.forks`` how many forks an interval of ``toyshares.seconds`` may have.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import governor
from governor.api import Container, Governor, Hierarchy
from tests.process.helpers import DEADLINE, kernel_pids, puppet, run_job
from tests.process.running import eventually, program

TOY_MODULE = """
from governor.core.counter import Counter
from governor.subsystem import ControlFile, Subsystem
from governor.units import UNLIMITED


class Shares:
    def __init__(self, container):
        self.pool = Counter(container.hierarchy.new_id(), "tasks")
        self.rate = Counter(container.hierarchy.new_id(), "tasks", interval=3600)
        self.least = 0
        self.most = UNLIMITED


class ToyShares(Subsystem):
    name = "toyshares"
    traps = frozenset({"tasks"})
    facility = "tasks"

    def create(self, container):
        shares = Shares(container)
        if container.parent is not None:
            shares.pool.borrow(container.parent.states[self.name].pool)
        return shares

    def destroy(self, container, state):
        state.pool.borrow(None)

    def counters(self, container):
        shares = container.states[self.name]
        return shares.pool, shares.rate

    def contribute(self, plan, container):
        plan.count(container.states[self.name].pool)
        for node in container.ancestors():
            plan.count(node.states[self.name].rate)

    def populate(self):
        return {
            "toyshares.most": self.file("most"),
            "toyshares.least": self.file("least"),
            "toyshares.borrowed": ControlFile(lambda c: c.states[self.name].pool.held),
            "toyshares.forks": self.rate("limit", int),
            "toyshares.seconds": self.rate("interval", float),
            "toyshares.refused": ControlFile(lambda c: c.states[self.name].rate.failcnt),
            "toyshares.made": ControlFile(lambda c: c.states[self.name].rate.held),
        }

    def file(self, attribute):
        def write(container, value):
            setattr(container.states[self.name], attribute, value)
            for node in container.ancestors():
                self.work_out(node)

        return ControlFile(lambda c: getattr(c.states[self.name], attribute), int, write)

    def rate(self, attribute, parse):
        def write(container, value):
            setattr(container.states[self.name].rate, attribute, value)

        def read(container):
            return str(getattr(container.states[self.name].rate, attribute))

        return ControlFile(read, parse, write)

    def work_out(self, container):
        shares = container.states[self.name]
        promised = sum(c.states[self.name].least for c in container.children.values())
        if shares.most != UNLIMITED:
            shares.pool.limit = shares.most - promised
        shares.pool.guarantee = shares.least - promised
"""


@pytest.fixture
def hierarchy(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Governor, Hierarchy]]:
    """A hierarchy of the toy, which is another package's."""
    (tmp_path / "toy_shares.py").write_text(TOY_MODULE)
    metadata = tmp_path / "toy_shares-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-shares\nVersion: 1.0\n")
    points = "[governor.subsystems]\ntoyshares = toy_shares:ToyShares\n"
    (metadata / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    with governor.Governor() as gov:
        yield gov, gov.mount("users", ["toyshares"])


# -- guarantees ---------------------------------------------------------------------------


def test_siblings_cannot_take_what_one_is_guaranteed(
    hierarchy: tuple[Governor, Hierarchy],
) -> None:
    gov, users = hierarchy
    users.root["toyshares.most"] = 8
    ann, bob = users.mkdir("/ann"), users.mkdir("/bob")
    ann["toyshares.least"] = 3
    with puppet(gov, bob) as greedy:
        greedy.fill(4)
        assert greedy.is_refused()
        assert greedy.is_refused("t")
        assert users.root["toyshares.borrowed"] == 5
        with puppet(gov, ann) as careful:
            careful.fill(2)
            assert users.root["toyshares.borrowed"] == 5
            assert careful.is_refused()
            greedy.end()
            careful.make()
            assert greedy.is_refused()
            assert ann["toyshares.borrowed"] == 4


def test_a_guarantee_holds_although_a_niece_used_up_what_the_parent_is_guaranteed(
    hierarchy: tuple[Governor, Hierarchy],
) -> None:
    gov, users = hierarchy
    users.root["toyshares.most"] = 9
    team = users.mkdir("/team")
    ann, bob, others = team.mkdir("ann"), team.mkdir("bob"), users.mkdir("/others")
    team["toyshares.least"] = 5
    ann["toyshares.least"] = 3
    with puppet(gov, bob) as near, puppet(gov, others) as far:
        near.fill(3)
        far.fill(1)
        assert far.is_refused()
        assert near.is_refused()
        with puppet(gov, ann) as job:
            job.fill(2)
            assert job.is_refused()


def test_a_guarantee_given_while_jobs_run_holds_for_the_next_fork(
    hierarchy: tuple[Governor, Hierarchy],
) -> None:
    gov, users = hierarchy
    users.root["toyshares.most"] = 6
    ann, bob = users.mkdir("/ann"), users.mkdir("/bob")
    with puppet(gov, bob) as greedy:
        greedy.fill(3)
        ann["toyshares.least"] = 2
        assert greedy.is_refused()
        ann["toyshares.least"] = 1
        assert not greedy.is_refused()
        assert greedy.is_refused()
        greedy.end(2)
        with puppet(gov, ann) as job:
            job.make()
            assert not greedy.is_refused()
            assert greedy.is_refused()


@pytest.mark.parametrize("least", [0, 5])
def test_kernel_never_counts_a_task_more_than_the_pool_has(
    hierarchy: tuple[Governor, Hierarchy], least: int
) -> None:
    gov, users = hierarchy
    users.root["toyshares.most"] = 24
    users.mkdir("/owed")["toyshares.least"] = least
    box = users.mkdir("/a").mkdir("b")
    with kernel_pids() as kernel:
        command = kernel.inside([program("tasks_bomb"), "12", "1"])
        _, output = run_job(gov, command, [box])
        assert kernel.peak == 24 - least
    assert int(output.split()[2]) == 0


# -- rates --------------------------------------------------------------------------------


@pytest.fixture
def box(hierarchy: tuple[Governor, Hierarchy]) -> Container:
    return hierarchy[1].mkdir("/box")


def test_a_fork_over_the_rate_fails_with_eagain_at_once(
    hierarchy: tuple[Governor, Hierarchy], box: Container
) -> None:
    gov, users = hierarchy
    users.root["toyshares.forks"] = 5
    with puppet(gov, box) as job:
        for how in "fvt":
            job.make(how)
            if how != "t":
                job.end()
        job.make("3")
        assert [job.do(how)[0] for how in "fvct"] == [errno.EAGAIN] * 4
        assert users.root["toyshares.refused"] == 4
        assert box["toyshares.refused"] == 0
        assert users.root["toyshares.made"] == 5  # with the job's first process
        users.root["toyshares.forks"] = 6
        job.make()
        assert job.is_refused()


def test_the_next_interval_has_room_again(
    hierarchy: tuple[Governor, Hierarchy], box: Container
) -> None:
    gov, _ = hierarchy
    box["toyshares.forks"] = 3
    with puppet(gov, box) as job:
        job.fill(2)
        assert job.is_refused()
        box["toyshares.seconds"] = "0.05"
        eventually(partial(was_admitted, job.is_refused), "a fork is admitted")


def was_admitted(is_refused: object) -> bool:
    return not is_refused()  # type: ignore[operator]


def test_a_job_is_not_started_over_the_rate(
    hierarchy: tuple[Governor, Hierarchy], box: Container
) -> None:
    gov, _ = hierarchy
    box["toyshares.forks"] = 1
    run_job(gov, ["true"], [box])
    job = gov.spawn(["true"], containers=[box])
    result = job.wait(DEADLINE)
    assert result.error is not None
    assert "users:/box is at its limit of 1 new tasks in 3600 s" in result.error
