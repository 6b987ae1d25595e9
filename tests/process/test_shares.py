"""Shares: what is guaranteed is there whatever others do, caps are exact, forks have a rate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from governor.api import Container, Governor
from governor.errors import GovernorError
from tests.process.helpers import (
    DEADLINE,
    KernelPids,
    Puppet,
    eventually,
    kernel_pids,
    program,
    puppet,
)

OPEN_ALL = """
import errno, os
files = []
try:
    while True:
        files.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    assert error.errno == errno.EMFILE, error
os.close(files.pop())
print(len(files), flush=True)
os.read(0, 1)
"""


@pytest.fixture
def root(gov: Governor) -> Container:
    """The root of a hierarchy of 40 tasks."""
    root = gov.mount("load", ["numtasks"]).root
    root["numtasks.total"] = 40
    return root


def fill(job: Puppet, how: str = "f") -> int:
    """Make tasks until one is refused: how many there are, the puppet included."""
    made = 1
    while not job.is_refused(how):
        made += 1
    return made


def stats(container: Container) -> dict[str, int]:
    """The file ``stats``."""
    lines = str(container["numtasks.stats"]).splitlines()
    return {name: int(figure) for name, figure in map(str.split, lines)}


@contextmanager
def counted_puppet(gov: Governor, kernel: KernelPids, container: Container) -> Iterator[Puppet]:
    """A puppet whose tasks the kernel counts on its own."""
    command = kernel.inside([program("tasks_puppet")])

    def start(stdin: int, stdout: int) -> None:
        gov.spawn(command, containers=[container], stdin=stdin, stdout=stdout)

    with Puppet(start) as job:
        yield job


# -- guarantees ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["f", "t"], ids=["forks", "threads"])
def test_full_siblings_leave_exactly_what_is_guaranteed(
    gov: Governor, root: Container, how: str
) -> None:
    quiet, one, other = (root.mkdir(name) for name in ("quiet", "one", "other"))
    quiet["numtasks.shares"] = "min_shares=25"
    with puppet(gov, one) as bomb, puppet(gov, other) as second, puppet(gov, root) as third:
        second.fill(5, how)
        assert fill(bomb, how) + 6 + 1 == 30
        assert second.is_refused(how)
        assert third.is_refused(how)
        with puppet(gov, quiet) as job:
            assert fill(job, how) == 10
            assert root["numtasks.held"] == 40
            assert bomb.is_refused()


def test_guarantee_and_total_are_exact_for_the_kernel_while_bombs_storm(
    gov: Governor, root: Container
) -> None:
    quiet, one, other = (root.mkdir(name) for name in ("quiet", "one", "other"))
    quiet["numtasks.shares"] = "min_shares=25"
    with kernel_pids() as kernel, ExitStack() as running:
        bombs = [
            running.enter_context(counted_puppet(gov, kernel, box)) for box in (one, other, root)
        ]
        bombs[0].fill(16)
        for bomb in bombs[1:]:
            bomb.do("l")
        job = running.enter_context(counted_puppet(gov, kernel, quiet))
        assert fill(job) >= 10
        for bomb in bombs[1:]:
            bomb.do("!")
        fill(bombs[0])
        assert kernel.current == 40
        assert kernel.peak == 40


def test_fork_bomb_beside_it_never_makes_it_fail(gov: Governor, root: Container) -> None:
    quiet, wild = root.mkdir("quiet"), root.mkdir("wild")
    quiet["numtasks.shares"] = "min_shares=50"
    with open(os.devnull, "wb") as nowhere, puppet(gov, quiet) as job:
        gov.spawn([program("tasks_bomb"), "12", "0"], containers=[wild], stdout=nowhere)
        for _ in range(5):
            assert not any(job.is_refused() for _ in range(19))
            job.end(19)
    assert stats(quiet)["failures"] == 0


def test_what_is_over_the_minimum_is_borrowed_and_given_back(
    gov: Governor, root: Container
) -> None:
    one, other = root.mkdir("one"), root.mkdir("other")
    one["numtasks.shares"] = "min_shares=25"
    other["numtasks.shares"] = "min_shares=25"
    with puppet(gov, one) as first, puppet(gov, other) as second:
        assert fill(first) == 30
        assert fill(second) == 10
        first.end(5)
        assert not second.is_refused()
        assert fill(first) == 5
        second.end(10)
        assert fill(first) == 2
        assert first.is_refused()


def test_guarantee_within_a_guarantee(gov: Governor, root: Container) -> None:
    group = root.mkdir("group")
    quiet, busy, outside = group.mkdir("quiet"), group.mkdir("busy"), root.mkdir("outside")
    group["numtasks.shares"] = "min_shares=50,child_shares_divisor=4"
    quiet["numtasks.shares"] = "min_shares=1"
    assert group["numtasks.amounts"] == "min=20,max=-3,unused=15"
    assert quiet["numtasks.amounts"] == "min=5,max=-3,unused=5"
    with puppet(gov, outside) as bomb, puppet(gov, busy) as second:
        assert fill(bomb) == 20
        assert fill(second) == 15
        with puppet(gov, quiet) as job:
            assert fill(job) == 5
            assert root["numtasks.held"] == 40


# -- caps ---------------------------------------------------------------------------------


def test_caps_are_met_exactly_at_every_level(gov: Governor, root: Container) -> None:
    group = root.mkdir("group")
    inner = group.mkdir("inner")
    group["numtasks.shares"] = "max_shares=50"
    inner["numtasks.shares"] = "max_shares=50"
    with puppet(gov, group) as outer_job, puppet(gov, inner) as job:
        assert fill(job) == 10
        assert fill(outer_job) == 10
        assert (group["numtasks.held"], root["numtasks.held"]) == (20, 20)
        assert (inner["numtasks.failcnt"], group["numtasks.failcnt"]) == (1, 1)


def test_the_lower_of_limit_and_cap_holds(gov: Governor, root: Container) -> None:
    box = root.mkdir("box")
    box["numtasks.shares"] = "max_shares=25"
    box["numtasks.limit"] = 7
    with puppet(gov, box) as job:
        assert fill(job) == 7
        box["numtasks.limit"] = 30
        assert not job.is_refused()
        job.fill(2)
        assert job.is_refused()
        assert box["numtasks.limit"] == 30


@contextmanager
def open_files(gov: Governor, container: Container) -> Iterator[int]:
    """A job that has opened as many files as it could: how many there are in its container."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [sys.executable, "-c", OPEN_ALL]
    job = gov.spawn(command, containers=[container], stdin=theirs_in, stdout=theirs_out)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with open(ours_in) as answer:
            assert int(answer.readline()) > 0
            # It has closed one again, to be able to print.
            yield int(container["numfiles.held"]) + 1
    finally:
        os.close(ours_out)
        job.wait(DEADLINE)


def test_files_have_shares_as_well(gov: Governor) -> None:
    root = gov.mount("load", ["numfiles"]).root
    box, other = root.mkdir("box"), root.mkdir("other")
    root["numfiles.total"] = 200
    other["numfiles.shares"] = "max_shares=30"
    box["numfiles.shares"] = "min_shares=25"
    with open_files(gov, other) as held:
        assert held == 60
    with open_files(gov, root) as held:
        assert held == 150
        with open_files(gov, box) as least:
            # What is guaranteed to it, and the one that the root's job has closed again.
            assert least == 51


# -- changes while jobs run ---------------------------------------------------------------


def test_changes_hold_from_the_next_fork_on(gov: Governor, root: Container) -> None:
    box, other = root.mkdir("box"), root.mkdir("other")
    with puppet(gov, box) as job:
        job.fill(30)
        box["numtasks.shares"] = "max_shares=50"
        assert job.is_refused()
        box["numtasks.shares"] = "max_shares=-3"
        assert not job.is_refused()
        other["numtasks.shares"] = "min_shares=20"
        assert fill(job, "t") == 1
        other["numtasks.shares"] = "min_shares=10"
        assert not job.is_refused()
        other["numtasks.shares"] = "min_shares=-3"
        job.fill(7)
        assert job.is_refused()
        root["numtasks.total"] = 41
        assert not job.is_refused()
        assert job.is_refused()
        root["numtasks.total"] = "max"
        job.fill(5)


def test_minimum_that_others_hold_comes_when_they_end(gov: Governor, root: Container) -> None:
    box, other = root.mkdir("box"), root.mkdir("other")
    with puppet(gov, box) as job, puppet(gov, other) as late:
        job.fill(38)
        other["numtasks.shares"] = "min_shares=25"
        assert late.is_refused()
        job.end(9)
        assert fill(late) == 10
        assert job.is_refused()


def test_removed_container_gives_its_minimum_back(gov: Governor, root: Container) -> None:
    box, other = root.mkdir("box"), root.mkdir("other")
    other["numtasks.shares"] = "min_shares=25"
    with puppet(gov, box) as job:
        assert fill(job) == 30
        other.rmdir()
        assert "unused_min_shares=100" in str(root["numtasks.shares"])
        job.fill(10)
        assert job.is_refused()


def test_refused_shares_change_nothing(gov: Governor, root: Container) -> None:
    box = root.mkdir("box")
    box["numtasks.shares"] = "min_shares=10,max_shares=50"
    before = box["numtasks.shares"], root["numtasks.shares"]
    for wrong in (
        "min_shares=101",
        "max_shares=101",
        "min_shares=60",
        "min_shares=-2",
        "child_shares_divisor=0",
        "min_shares=5,max_share=9",
        "min_shares=many",
        "min_shares=1,min_shares=2",
        "res=numfiles,min_shares=1",
        "64",
    ):
        with pytest.raises(GovernorError, match=r"shares"):
            box["numtasks.shares"] = wrong
    with pytest.raises(GovernorError, match="max_shares of a child: 50"):
        root["numtasks.shares"] = "child_shares_divisor=40"
    for wrong_total in (0, "none", "-1"):
        with pytest.raises(GovernorError, match=r"numtasks\.total"):
            root["numtasks.total"] = wrong_total
    assert (box["numtasks.shares"], root["numtasks.shares"]) == before


# -- rates and figures --------------------------------------------------------------------


def test_so_many_forks_per_interval_and_then_again(gov: Governor) -> None:
    root = gov.mount("load", ["numtasks"]).root
    box, other = root.mkdir("box"), root.mkdir("other")
    root["numtasks.forkrate_interval"] = 600
    with puppet(gov, box) as job, puppet(gov, other) as free:
        job.fill(3)
        root["numtasks.forkrate"] = 5
        job.fill(5, "t")
        assert job.is_refused()
        assert job.is_refused("s")
        # Each container has a count of its own, and its parents' is not touched.
        assert fill(free) == 6
        assert stats(box)["forkrate_failures"] == 2
        assert stats(box)["failures"] == box["numtasks.failcnt"] == 0
        # A new setting begins a new interval.
        root["numtasks.forkrate"] = 4
        assert fill(job) == 5
        root["numtasks.forkrate_interval"] = 500
        assert fill(job) == 5
        root["numtasks.forkrate_interval"] = 1
        fill(job)
        eventually(lambda: not job.is_refused(), "the next interval")
        root["numtasks.forkrate"] = "max"
        job.fill(20)


def test_figures_of_stats_and_their_reset(gov: Governor, root: Container) -> None:
    box = root.mkdir("box")
    box["numtasks.limit"] = 8
    with puppet(gov, box) as job:
        assert fill(job) == 8
        for _ in range(3):
            job.do("r")  # a thousand children, one after the other
        job.end(2)
        assert stats(box) == {
            "current": 6,
            "successes": 3008,
            "failures": 1,
            "forkrate_failures": 0,
        }
        assert stats(root)["successes"] == 3008
        box["numtasks.stats"] = 0
        assert (stats(box)["successes"], stats(box)["failures"]) == (0, 0)
        assert box["numtasks.failcnt"] == 0
        assert fill(job) == 3
        assert stats(box) == {
            "current": 8,
            "successes": 2,
            "failures": 1,
            "forkrate_failures": 0,
        }
        assert stats(root)["successes"] == 3010
