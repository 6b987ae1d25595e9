"""cpuacct: what a container used, beside what the kernel says about the same processes."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.api import Container
from tests.process.running import World, eventually, program
from tests.process.running import world as make_world

CPUACCT = Path("/sys/fs/cgroup/cpuacct")
SHAPES = {
    "2000 short-lived processes": ("flat", "2000", "100"),
    "a long threaded one": ("threads", "4", "300000"),
    "a deep tree": ("deep", "60", "5000"),
    "orphans": ("orphans", "6", "100000"),
}

BUSY = """
import os, select, time
while not select.select([0], [], [], 0)[0]: pass
os.write(1, b"%d" % time.process_time_ns())
os._exit(0)
"""
"""Uses CPU time until its standard input ends, and tells how much that was."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


def usage(container: Container) -> int:
    return int(container["cpuacct.usage"])


def is_close(ours: int, kernels: int, jobs: int = 1) -> bool:
    """Within 1 % or 20 ms for each job, which was told of its start before it joined as well."""
    return abs(ours - kernels) <= max(kernels / 100, 20e6 * jobs)


@contextlib.contextmanager
def cgroup() -> Iterator[Path]:
    """A cgroup of the kernel's own cpuacct; its members are gone when it is removed."""
    if os.geteuid() != 0:
        pytest.skip("only root makes a cgroup; the tests beside this one need none")
    if not (CPUACCT / "cpuacct.usage").exists():
        pytest.skip(f"no cpuacct controller of cgroup v1 at {CPUACCT}")
    path = Path(tempfile.mkdtemp(prefix="governor-test-", dir=CPUACCT))
    try:
        yield path
    finally:
        eventually(lambda: not (path / "cgroup.procs").read_text(), f"{path} is empty")
        path.rmdir()


class TestAgainstTheKernel:
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_a_cgroup_around_the_job(self, world: World, shape: tuple[str, ...]) -> None:
        container = world.new(world.cpu)
        with cgroup() as path:
            enter = f'echo $$ >"{path}/cgroup.procs" && exec "$@"'
            tree = program("cpu_tree", "-pthread")
            ran = world.run(["sh", "-c", enter, "-", tree, *shape], [container])
            assert ran.exit_code == 0, ran
            eventually(lambda: not container.tasks, "the last process ends")
            kernels = int((path / "cpuacct.usage").read_text())
            assert is_close(usage(container), kernels), (usage(container), kernels)

    @pytest.mark.once
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_what_the_job_itself_was_told(self, world: World, shape: tuple[str, ...]) -> None:
        container = world.new(world.cpu)
        ran = world.run([program("cpu_tree", "-pthread"), *shape], [container])
        eventually(lambda: not container.tasks, "the last process ends")
        ours, kernels = usage(container), int(ran.out)
        assert is_close(ours, kernels), (ours, kernels)

    @pytest.mark.once
    def test_the_result_of_a_job_says_the_same(self, world: World) -> None:
        container = world.new(world.cpu)
        started = world.start([program("cpu_tree", "-pthread"), "flat", "100", "1000"], [container])
        started.finish()
        result = started.job.wait()
        assert is_close(usage(container), round(result.cpu_seconds * 1e9))


@pytest.mark.once
class TestWhileItRuns:
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_never_falls(self, world: World, shape: tuple[str, ...]) -> None:
        """Sampled as fast as we can, in the container, its parent and the root."""
        parent = world.new(world.cpu)
        containers = [parent.mkdir("child"), parent, world.cpu.root]
        seen = [[usage(container)] for container in containers]
        while len(set(seen[0])) < 4:  # on a busy machine it may be over before it was looked at
            started = world.start([program("cpu_tree", "-pthread"), *shape], containers[:1])
            while not world.gov.wait([started.job], timeout=0):
                for values, container in zip(seen, containers, strict=True):
                    values.append(usage(container))
        for values in seen:
            assert values == sorted(values)

    def test_a_running_process_is_up_to_date(self, world: World) -> None:
        """Not only at its end: its own clock is read."""
        container = world.new(world.cpu)
        started = world.start(
            [program("cpu_tree", "-pthread"), "threads", "1", "300000"], [container]
        )
        eventually(lambda: usage(container) > 150e6, "half of its time")
        assert started.job.result is None
        assert started.finish().exit_code == 0

    def test_what_children_have_used_stays(self, world: World) -> None:
        """A child that was waited for is in its parent's figure, while that runs on."""
        container = world.new(world.cpu)
        read, write = os.pipe()
        text = f"{program('cpu_tree', '-pthread')} threads 1 200000; read line"
        started = world.start(["sh", "-c", text], [container], stdin=read)
        os.close(read)
        eventually(lambda: started.said() != "", "the child's report")
        eventually(lambda: len(container.tasks) == 1, "the child's end")
        # In whole clock ticks, rounded down, for user and for system time.
        assert usage(container) >= 200e6 - 20e6
        os.close(write)
        assert started.finish().exit_code == 1

    def test_a_parent_includes_its_children_exactly(self, world: World) -> None:
        parent = world.new(world.cpu)
        children = [parent.mkdir(name) for name in ("one", "two", "three")]
        tree = program("cpu_tree", "-pthread")
        jobs = [world.start([tree, "flat", "150", "500"], [child]) for child in children]
        waiting = [job.job for job in jobs]
        while waiting:
            done = world.gov.wait(waiting, timeout=0)
            waiting = [job for job in waiting if job not in done]
            self.check(world, parent, len(children))
        self.check(world, parent, len(children))
        assert all(usage(child) > 0 for child in children)

    @staticmethod
    def check(world: World, parent: Container, number: int) -> None:
        """In one snapshot."""
        figures = {
            report.path: int(report.files["cpuacct.usage"])
            for report in world.gov.containers()
            if report.hierarchy == "cpu"
        }
        below = [n for path, n in figures.items() if path.startswith(f"{parent.path}/")]
        assert len(below) == number
        assert figures[parent.path] == sum(below)


@pytest.mark.once
class TestComingsAndGoings:
    def test_rmdir_takes_nothing_away(self, world: World) -> None:
        parent = world.new(world.cpu)
        child = parent.mkdir("child")
        world.run([program("cpu_tree", "-pthread"), "flat", "20", "2000"], [child])
        used = usage(child)
        assert used > 30e6
        child.rmdir()
        assert usage(parent) == used
        again = parent.mkdir("child")
        assert usage(again) == 0
        world.run(["true"], [again])
        assert usage(parent) == used + usage(again)

    def test_a_moved_process(self, world: World) -> None:
        """What it used before stays where it was, what it uses afterwards goes along."""
        parent = world.new(world.cpu)
        first, second = parent.mkdir("first"), parent.mkdir("second")
        read, write = os.pipe()
        started = world.start([sys.executable, "-S", "-E", "-c", BUSY], [first], stdin=read)
        os.close(read)
        eventually(lambda: usage(first) > 100e6, "it has used some time")
        second.attach(started.job.pid)
        before = usage(first)
        eventually(lambda: usage(second) > 100e6, "it goes on there")
        os.close(write)
        total = int(started.finish().out)
        assert usage(first) - before < 20e6, "it went on where it no longer was"
        assert is_close(usage(first) + usage(second), total)
        assert usage(parent) == usage(first) + usage(second)

    def test_a_daemon_outlives_its_job(self, world: World) -> None:
        container = world.new(world.cpu)
        tree = program("cpu_tree", "-pthread")
        ran = world.run(["sh", "-c", f"setsid {tree} threads 1 200000 & exit 0"], [container])
        assert ran.exit_code == 0
        eventually(lambda: not container.tasks, "the daemon ends")
        assert usage(container) >= 200e6

    def test_several_jobs(self, world: World) -> None:
        container = world.new(world.cpu)
        tree = program("cpu_tree", "-pthread")
        jobs = [world.start([tree, "flat", "100", "500"], [container]) for _ in range(4)]
        total = sum(int(job.finish().out) for job in jobs)
        assert is_close(usage(container), total, len(jobs))
