"""physpages and rsspages: resident memory is counted as the kernel does, and acted upon."""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor import GovernorError
from governor.api import Container, Governor, Hierarchy
from governor.results import Event
from tests.capabilities import need
from tests.process.helpers import eventually, exists, run_job, state
from tests.process.test_privvmpages import MemoryPuppet, puppet

PER_MEBIBYTE = (1 << 20) // os.sysconf("SC_PAGE_SIZE")
KINDS = ["physpages", "rsspages"]


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def share(pid: int) -> float:
    """PSS in pages, summed over the mappings one by one."""
    lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    kibibytes = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kibibytes * 1024 / os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def hogs(gov: Governor, container: Container, *mebibytes: int) -> Iterator[list[MemoryPuppet]]:
    """Processes that have touched so much."""
    with contextlib.ExitStack() as stack:
        made = []
        for size in mebibytes:
            it = stack.enter_context(puppet(gov, container))
            made.append(it)
            touch(it, size)
        yield made


def touch(it: MemoryPuppet, mebibytes: int) -> None:
    """Have it touch so much more. It may be stopped or killed for that before it has them all."""
    assert it.do(f"m{mebibytes * PER_MEBIBYTE}")[0] == 0
    it.say("t0")

    def touched() -> bool:
        try:
            return resident(it.pid) >= mebibytes * PER_MEBIBYTE or state(it.pid) == "T"
        except (FileNotFoundError, ProcessLookupError):
            return True

    eventually(touched, "touched")


def told(gov: Governor, number: int, *kinds: str) -> list[Event]:
    """The first events of these kinds."""
    return list(itertools.islice((e for e in gov.events(after=0) if e.kind in kinds), number))


@pytest.fixture
def memory(gov: Governor) -> Hierarchy:
    return gov.mount("memory", KINDS)


class TestFigures:
    def test_what_is_shared(self, gov: Governor, memory: Hierarchy) -> None:
        """Three forks of 20 MiB have 20 MiB together by PSS, and 80 by RSS."""
        container = memory.mkdir("/some")
        with hogs(gov, container, 20) as (it,):
            it.settle()
            pids = [it.pid, *(it.do("f0")[1] for _ in range(3))]
            by_share, by_resident = sum(map(share, pids)), sum(map(resident, pids))
            assert abs(int(container["physpages.held"]) - by_share) <= 0.1 * by_share
            # The kernel keeps this figure in parts, and does not always add them all up.
            assert abs(int(container["rsspages.held"]) - by_resident) <= 0.05 * by_resident
            assert by_resident > 75 * PER_MEBIBYTE
            assert by_share < 40 * PER_MEBIBYTE
        assert int(memory.root["physpages.maxheld"]) >= 20 * PER_MEBIBYTE

    def test_never_called_enforced(self, gov: Governor, memory: Hierarchy) -> None:
        with hogs(gov, memory.root, 1):
            (report,) = gov.containers()
            assert set(report.level.values()) == {"partial"}

    def test_barrier_tells_once_per_crossing(self, gov: Governor, memory: Hierarchy) -> None:
        container = memory.mkdir("/some")
        container["physpages.barrier"] = 20 * PER_MEBIBYTE
        with hogs(gov, container, 30) as (it,):
            assert len(told(gov, 1, "barrier")) == 1
            it.settle()
            assert it.do("u0")[0] == 0
            assert int(container["physpages.held"]) < 20 * PER_MEBIBYTE
            touch(it, 25)
            for event in told(gov, 2, "barrier"):
                assert (event.path, event.fields["resource"]) == ("/some", "physpages")
                assert event.fields["bound"] == 20 * PER_MEBIBYTE < int(event.fields["held"])
                assert (event.fields["pid"], event.fields["job"]) == (it.pid, 1)

    def test_barrier_is_no_higher_than_the_limit(self, memory: Hierarchy) -> None:
        root = memory.root
        root["physpages.limit"] = 100
        with pytest.raises(GovernorError) as refused:
            root["physpages.barrier"] = 101
        assert refused.value.errno == errno.EINVAL
        root["physpages.barrier"] = 100
        with pytest.raises(GovernorError) as refused:
            root["physpages.limit"] = 99
        assert refused.value.errno == errno.EINVAL
        with pytest.raises(GovernorError) as refused:
            root["physpages.action"] = "shout"
        assert refused.value.errno == errno.EINVAL
        assert root["physpages.action"] == "refuse"


class TestActions:
    @pytest.mark.parametrize("kind", KINDS)
    def test_refuse(self, gov: Governor, memory: Hierarchy, kind: str) -> None:
        """New tasks are refused while the limit is met, and only then."""
        container = memory.mkdir("/some")
        container[f"{kind}.limit"] = 30 * PER_MEBIBYTE
        with hogs(gov, container, 10) as (it,):
            it.settle()
            assert it.do("f0")[0] == 0
            assert it.do("e0")[0] == 0
            touch(it, 25)
            it.settle()
            assert int(container[f"{kind}.held"]) > 30 * PER_MEBIBYTE
            assert it.do("f0")[0] == errno.ENOMEM
            refused, _ = run_job(gov, ["true"], [container])
            assert refused.exit_code == 125
            assert f"/some is at its limit of {30 * PER_MEBIBYTE} {kind}" in str(refused.error)
            assert int(container[f"{kind}.failcnt"]) == 2
            assert it.do("u0")[0] == 0
            assert it.do("f0")[0] == 0
            assert int(container[f"{kind}.failcnt"]) == 2

    def test_stop(self, gov: Governor, memory: Hierarchy) -> None:
        """All are stopped, and go on when one of them has gone; its neighbours never notice."""
        container, other = memory.mkdir("/some"), memory.mkdir("/other")
        container["physpages.limit"] = 50 * PER_MEBIBYTE
        container["physpages.action"] = "stop"
        with hogs(gov, other, 40) as (neighbour,), hogs(gov, container, 30) as (one,):
            assert state(one.pid) != "T"
            with hogs(gov, container, 30) as (two,):
                both = one.pid, two.pid
                eventually(lambda: {state(pid) for pid in both} == {"T"}, "both are stopped")
                assert state(neighbour.pid) != "T"
                os.kill(two.pid, signal.SIGKILL)
                eventually(lambda: state(one.pid) != "T", "the other one goes on")
            one.settle()
            assert one.do("m1") == (0, 0)
            assert container["physpages.failcnt"] == 1
            container["physpages.limit"] = 10
            eventually(lambda: state(one.pid) == "T", "it is stopped again")
            container["physpages.action"] = "refuse"
            eventually(lambda: state(one.pid) != "T", "nobody has to be stopped any more")

    @pytest.mark.parametrize("label", ["physpages", "physpages@own"])
    def test_whom_it_stopped_goes_on_when_it_is_unmounted(self, gov: Governor, label: str) -> None:
        memory = gov.mount("memory", [label])
        memory.root["physpages.action"] = "stop"
        with hogs(gov, memory.root, 20) as (it,):
            memory.root["physpages.limit"] = 10 * PER_MEBIBYTE
            eventually(lambda: state(it.pid) == "T", "it is stopped")
            gov.umount("memory")
            eventually(lambda: state(it.pid) != "T", "it goes on")
            it.settle()

    def test_whom_it_stopped_outlives_the_governor(self, runtime: Path) -> None:
        """Somebody from outside, that is; jobs end with it."""
        with subprocess.Popen(["sleep", "600"]) as outsider:
            try:
                with Governor() as gov:
                    container = gov.mount("memory", ["physpages"]).mkdir("/some")
                    container["physpages.action"] = "stop"
                    container["physpages.limit"] = 0
                    container.attach(outsider.pid)
                    gov.spawn(["sleep", "600"])
                    eventually(lambda: state(outsider.pid) == "T", "it is stopped")
                eventually(lambda: state(outsider.pid) != "T", "it goes on")
            finally:
                outsider.kill()

    @pytest.mark.parametrize("kind", KINDS)
    def test_kill(self, gov: Governor, memory: Hierarchy, kind: str) -> None:
        """The largest is killed, and no other one as soon as that is enough."""
        container = memory.mkdir("/some")
        container[f"{kind}.action"] = "kill"
        container[f"{kind}.limit"] = 100 * PER_MEBIBYTE
        with hogs(gov, container, 15, 60, 10) as (small, large, smallest):
            assert int(container[f"{kind}.failcnt"]) == 0
            end = os.pidfd_open(large.pid)
            touch(small, 30)
            assert select.select([end], [], [], 60)[0]
            os.close(end)
            (killed,) = told(gov, 1, "kill")
            assert (killed.path, killed.fields["resource"]) == ("/some", kind)
            assert (killed.fields["pid"], killed.fields["job"]) == (large.pid, 2)
            assert killed.fields["bound"] == 100 * PER_MEBIBYTE < int(killed.fields["held"])
            eventually(
                lambda: int(container[f"{kind}.held"]) < 60 * PER_MEBIBYTE, "its memory is back"
            )
            for it in (small, smallest):
                it.settle()
            small.settle()
            assert exists(small.pid)
            assert exists(smallest.pid)
            assert container[f"{kind}.failcnt"] == 1

    def test_kill_below_a_parent(self, gov: Governor, memory: Hierarchy) -> None:
        """The limit of a parent is that of all below; the largest of all of them goes."""
        parent = memory.mkdir("/all")
        one, two = memory.mkdir("/all/one"), memory.mkdir("/all/two")
        parent["rsspages.action"] = "kill"
        with hogs(gov, one, 20) as (small,), hogs(gov, two, 40) as (large,):
            end = os.pidfd_open(large.pid)
            parent["rsspages.limit"] = 40 * PER_MEBIBYTE
            assert select.select([end], [], [], 60)[0]
            os.close(end)
            small.settle()
            assert small.do("m1") == (0, 0)
            assert [int(c["rsspages.failcnt"]) for c in (parent, one, two)] == [1, 0, 0]


def test_against_the_kernels_own_account(gov: Governor, memory: Hierarchy) -> None:
    """What a cgroup of the memory controller finds is what we find, but for the page cache."""
    if os.geteuid() != 0:
        pytest.skip("only root makes a cgroup")
    controller = Path("/sys/fs/cgroup/memory")
    need((controller / "cgroup.procs").exists(), f"no memory controller at {controller}")
    cgroup = Path(tempfile.mkdtemp(prefix="governor-test-", dir=controller))
    try:
        with hogs(gov, memory.root, 1) as (it,):
            it.settle()
            (cgroup / "cgroup.procs").write_text(str(it.pid))
            touch(it, 60)
            it.settle()
            assert it.do("f0")[0] == 0
            lines = (cgroup / "memory.stat").read_text().splitlines()
            anonymous = int(dict(line.split() for line in lines)["rss"]) / mmap.PAGESIZE
            held = int(memory.root["physpages.held"])
            assert abs(held - anonymous) < 4 * PER_MEBIBYTE
            assert it.do("e0")[0] == 0
    finally:
        eventually(lambda: not (cgroup / "cgroup.procs").read_text(), "the cgroup is empty")
        cgroup.rmdir()
