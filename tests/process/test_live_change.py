"""Limits that change while jobs run: in force from the next fork on, and nothing is killed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from governor.api import Container, Governor
from governor.errors import GovernorError
from tests.process.helpers import DEADLINE, agent_of, exists, puppet


@pytest.fixture
def box(gov: Governor) -> Container:
    """A container whose tasks are counted, without a limit."""
    return gov.mount("load", ["numtasks"]).mkdir("/box")


def test_first_limit_of_a_running_job_holds_from_the_next_fork_on(
    gov: Governor, box: Container
) -> None:
    with puppet(gov, box) as job:
        job.fill(5)
        box["numtasks.limit"] = 8
        job.fill(2, "t")
        assert job.is_refused()
        assert (box["numtasks.held"], box["numtasks.failcnt"]) == (8, 1)


def test_first_limit_below_what_is_held_refuses_the_very_next_fork(
    gov: Governor, box: Container
) -> None:
    with puppet(gov, box) as job:
        job.fill(5)
        box["numtasks.limit"] = 3
        assert job.is_refused()


def test_lowering_below_what_is_held_kills_nothing_and_admits_nothing(
    gov: Governor, box: Container
) -> None:
    box["numtasks.limit"] = 10
    with puppet(gov, box) as job:
        children = job.fill(6)
        box["numtasks.limit"] = 4
        assert job.is_refused()
        assert job.is_refused("t")
        assert all(map(exists, children))
        assert box["numtasks.held"] == 7
        job.end(3)
        assert job.is_refused()
        job.end()
        assert not job.is_refused()
        assert job.is_refused()
        assert box["numtasks.failcnt"] == 4


def test_raising_admits_at_once(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 2
    with puppet(gov, box) as job:
        job.make()
        for limit in range(3, 30):
            assert job.is_refused()
            box["numtasks.limit"] = limit
            assert not job.is_refused("t")
        assert box["numtasks.held"] == 29


def test_no_limit_any_more(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 2
    with puppet(gov, box) as job:
        job.make()
        assert job.is_refused()
        box["numtasks.limit"] = "max"
        assert box["numtasks.limit"] == "max"
        job.fill(20)
        assert box["numtasks.held"] == 22
        box["numtasks.limit"] = 23
        job.make()
        assert job.is_refused()


def test_limit_of_an_ancestor_holds_at_once_as_well(gov: Governor) -> None:
    students = gov.mount("load", ["numtasks"]).mkdir("/students")
    bob = students.mkdir("bob")
    with puppet(gov, bob) as job:
        job.fill(2)
        students["numtasks.limit"] = 3
        assert job.is_refused()
        assert (students["numtasks.failcnt"], bob["numtasks.failcnt"]) == (1, 0)


def test_refused_value_changes_nothing(gov: Governor, box: Container) -> None:
    box["numtasks.limit"] = 2
    with puppet(gov, box) as job:
        for wrong in (-1, "many", "", "1.5", 1.5, True, None):
            with pytest.raises(GovernorError, match=r"numtasks\.limit"):
                box["numtasks.limit"] = wrong  # type: ignore[assignment]
        assert box["numtasks.limit"] == 2
        job.make()
        assert job.is_refused()


def test_changes_in_a_storm_of_forks_refuse_nobody_who_has_room(
    gov: Governor, box: Container
) -> None:
    with puppet(gov, box) as job:
        job.do("l")
        for _ in range(50):
            box["numtasks.limit"] = 9  # the puppet and its eight children
            box["numtasks.limit"] = "max"
        assert job.do("!") == (0, 0)
        assert (box["numtasks.held"], box["numtasks.failcnt"]) == (1, 0)


def test_refusals_in_a_storm_of_forks_are_counted_one_by_one(gov: Governor, box: Container) -> None:
    with puppet(gov, box) as job:
        job.do("l")
        for _ in range(20):
            box["numtasks.limit"] = 4
            box["numtasks.limit"] = 20
        box["numtasks.limit"] = 1
        while box["numtasks.failcnt"] == 0:
            pass
        _, failed = job.do("!")
        assert (box["numtasks.held"], box["numtasks.failcnt"]) == (1, failed)


def test_a_limit_of_a_root_is_kept_but_not_enforced_while_its_subsystem_is_unbound(
    gov: Governor,
) -> None:
    root = gov.mount("load", ["numtasks"]).root
    root["numtasks.limit"] = 2
    with puppet(gov) as job:
        job.make()
        assert job.is_refused()
        gov.umount("load")
        job.fill(5)
        again = gov.mount("again", ["numtasks"]).root
        assert (again["numtasks.limit"], again["numtasks.held"]) == (2, 7)
        assert job.is_refused()
        again["numtasks.limit"] = 8
        job.make()
        assert job.is_refused()


def test_a_change_of_the_trees_returns_when_the_agent_goes_by_it(gov: Governor) -> None:
    root = gov.mount("load", ["numtasks"]).root
    root["numtasks.limit"] = 2
    with puppet(gov) as job, ThreadPoolExecutor(1) as client:
        agent = agent_of(gov, job.pid)
        for change in (lambda: gov.umount("load"), lambda: gov.mount("again", ["numtasks"])):
            os.kill(agent, signal.SIGSTOP)
            try:
                changed = client.submit(change)
                # It cannot return meanwhile, however long this takes.
                assert not wait([changed], timeout=0.3).done
            finally:
                os.kill(agent, signal.SIGCONT)
            changed.result(DEADLINE)


def test_job_older_than_the_hierarchy_is_counted_and_said_to_be_only_observed(
    gov: Governor,
) -> None:
    with puppet(gov) as job:
        job.make()
        root = gov.mount("load", ["numtasks"]).root
        root["numtasks.limit"] = 2
        assert root["numtasks.held"] == 2
        # It has no filter for this, and one cannot be put on it any more.
        assert not job.is_refused()
        assert root["numtasks.held"] == 3
        assert gov.enforcement()["numtasks"] == "observed"
