"""cpuset: every thread of every member runs within cpuset.cpus, whenever it came to be."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from governor.api import Container
from governor.errors import GovernorError
from governor.units import format_cpus, parse_cpus
from tests.capabilities import need
from tests.process.running import Started, World, eventually, plain, program
from tests.process.running import world as make_world

USABLE = sorted(os.sched_getaffinity(0))
FIRST, SECOND = USABLE[0], USABLE[-1]
ALL = ",".join(map(str, USABLE))


@pytest.fixture(autouse=True)
def two_cpus() -> None:
    need(len(USABLE) > 1, "this host lets us use one CPU only")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture
def container(world: World) -> Container:
    return world.new(world.cpu)


def python(text: str) -> list[str]:
    head = "import ctypes, errno, os, sys, threading\n"
    return [sys.executable, "-S", "-E", "-u", "-c", head + text]


def allowed(tid: int) -> frozenset[int] | None:
    """The CPUs a thread may run on as /proc has it; None when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{tid}/status").read_text().splitlines():
            if line.startswith("Cpus_allowed_list:"):
                return parse_cpus(line.split()[1])
    return None


def threads(container: Container) -> list[int]:
    found = []
    for pid in container.tasks:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return found


def outside(container: Container, cpus: set[int]) -> list[int]:
    """The threads that may run elsewhere."""
    return [tid for tid in threads(container) if not (allowed(tid) or frozenset()) <= cpus]


def is_within(container: Container, cpus: set[int]) -> bool:
    return not outside(container, cpus)


def has_members_within(container: Container, cpus: set[int]) -> bool:
    return bool(container.tasks) and is_within(container, cpus)


class TestPlacement:
    def test_the_program_itself_sees_it(self, world: World, container: Container) -> None:
        container["cpuset.cpus"] = SECOND
        ran = world.run(python("print(os.sched_getaffinity(0))"), [container])
        assert ran.out == f"{{{SECOND}}}\n"

    def test_children_and_threads(self, world: World, container: Container) -> None:
        container["cpuset.cpus"] = str(FIRST)
        with self.storm(world, container, 5, 5):
            assert len(threads(container)) == 1 + 5 * 6
            assert outside(container, {FIRST}) == []

    def test_a_running_job_follows_a_change(self, world: World, container: Container) -> None:
        with self.storm(world, container, 5, 5):
            for cpu in (FIRST, SECOND):
                container["cpuset.cpus"] = cpu
                eventually(partial(is_within, container, {cpu}), "all to have moved")
            container["cpuset.cpus"] = ALL
            full = frozenset(USABLE)
            eventually(
                lambda: all(allowed(tid) == full for tid in threads(container)), "all to be free"
            )

    @pytest.mark.once
    def test_a_change_while_a_job_starts(self, world: World) -> None:
        """It may come between the wish to start a job and its placement."""
        for cpu in [FIRST, SECOND] * 10:
            container = world.new(world.cpu)
            read, write = os.pipe()
            started = world.start(["cat"], [container], stdin=read)
            container["cpuset.cpus"] = cpu
            os.close(read)
            eventually(partial(has_members_within, container, {cpu}), "it to be confined")
            os.close(write)
            assert started.finish().exit_code == 0

    @pytest.mark.once
    def test_forks_and_threads_during_changes(self, world: World, container: Container) -> None:
        """A child takes the set of its creator early in a fork, perhaps the old one."""
        changes = 0
        with self.storm(world, container, 60, 5, megabytes=100) as started:
            while "ready" not in started.said():
                for cpu in (FIRST, SECOND):
                    container["cpuset.cpus"] = ALL
                    container["cpuset.cpus"] = cpu
                    eventually(partial(has_members_within, container, {cpu}), "all to be confined")
                    changes += 1
            assert changes > 1, "the storm was over before it was disturbed"
            assert len(threads(container)) == 1 + 60 * 6
            assert outside(container, {SECOND}) == []

    def test_a_process_moved_in(self, world: World, container: Container) -> None:
        container["cpuset.cpus"] = FIRST
        other = world.new(world.cpu, cpuset_cpus=SECOND)
        with self.storm(world, container, 1, 5):
            for pid in container.tasks:
                other.attach(pid)
            assert container.tasks == []
            assert outside(other, {SECOND}) == []
            assert len(threads(other)) == 7

    @staticmethod
    @contextlib.contextmanager
    def storm(
        world: World, container: Container, processes: int, threads: int, megabytes: int = 0
    ) -> Iterator[Started]:
        """Processes with threads; with ``megabytes`` they are still being made."""
        read, write = os.pipe()
        numbers = map(str, (processes, threads, megabytes))
        command = [program("cpu_storm", "-pthread"), *numbers]
        started = world.start(command, [container], stdin=read)
        os.close(read)
        try:
            if not megabytes:
                eventually(lambda: "ready" in started.said(), "the storm")
            yield started
        finally:
            os.close(write)
            started.finish()


class TestItsOwnWish:
    def test_a_subset_is_granted(self, world: World, container: Container) -> None:
        text = f"os.sched_setaffinity(0, [{SECOND}]); print(os.sched_getaffinity(0))"
        assert world.run(python(text), [container]).out == f"{{{SECOND}}}\n"

    def test_more_is_cut_down(self, world: World, container: Container) -> None:
        """As the kernel does it: what is not allowed is left out."""
        container["cpuset.cpus"] = FIRST
        text = "os.sched_setaffinity(0, range(1024)); print(os.sched_getaffinity(0))"
        assert world.run(python(text), [container]).out == f"{{{FIRST}}}\n"

    def test_nothing_of_it_is_invalid(self, world: World, container: Container) -> None:
        container["cpuset.cpus"] = FIRST
        text = f"""
try:
    os.sched_setaffinity(0, [{SECOND}])
except OSError as error:
    print(errno.errorcode[error.errno], os.sched_getaffinity(0))
"""
        assert world.run(python(text), [container]).out == f"EINVAL {{{FIRST}}}\n"

    def test_of_another_thread(self, world: World, container: Container) -> None:
        container["cpuset.cpus"] = FIRST
        text = f"""
ready, over, tids = threading.Event(), threading.Event(), []
def wait():
    tids.append(threading.get_native_id()); ready.set(); over.wait()
threading.Thread(target=wait).start()
ready.wait()
os.sched_setaffinity(tids[0], [{FIRST}, {SECOND}])
print(os.sched_getaffinity(tids[0]))
over.set()
"""
        assert world.run(python(text), [container]) == (0, f"{{{FIRST}}}\n", "")

    def test_of_its_parent(self, world: World, container: Container) -> None:
        container["cpuset.cpus"] = SECOND
        text = f"""
if os.fork() == 0:
    os.sched_setaffinity(os.getppid(), [{FIRST}, {SECOND}])
    os._exit(0)
os.wait()
print(os.sched_getaffinity(0))
"""
        assert world.run(python(text), [container]) == (0, f"{{{SECOND}}}\n", "")

    def test_errors_are_the_kernels(self, world: World, container: Container) -> None:
        text = f"""
libc = ctypes.CDLL(None, use_errno=True)
def error(*arguments):
    result = libc.syscall(203, *arguments)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else result
mask = ctypes.c_ulong(1 << {FIRST} % 64)
print(error(0, 8, 0), error(0x7fffffff, 8, ctypes.byref(mask)), error(-1, 8, ctypes.byref(mask)),
    error(0, 0, ctypes.byref(mask)))
"""
        assert world.run(python(text), [container]) == plain(python(text))

    def test_taskset(self, world: World, container: Container) -> None:
        need(shutil.which("taskset") is not None, "no taskset")
        container["cpuset.cpus"] = FIRST
        show = ["sh", "-c", "taskset -cp $$"]
        confined = world.run(["taskset", "-c", ALL, *show], [container])
        assert confined.exit_code == 0
        assert confined.out.endswith(f"list: {FIRST}\n")
        refused = world.run(["taskset", "-c", str(SECOND), *show], [container])
        assert refused.exit_code != 0
        assert "Invalid argument" in refused.err


@pytest.mark.once
class TestRules:
    """Errors through the API; each names the file and what is allowed."""

    @pytest.mark.parametrize("value", ["x", "1-0", "-1", "0,", "0 1", "8191"])
    def test_invalid_lists(self, container: Container, value: str) -> None:
        with pytest.raises(GovernorError) as failure:
            container["cpuset.cpus"] = value
        assert failure.value.errno == errno.EINVAL
        assert container["cpuset.cpus"] == world_cpus()

    @pytest.mark.parametrize("value", ["8192", f"{FIRST}-99999"])
    def test_numbers_that_no_kernel_has(self, container: Container, value: str) -> None:
        with pytest.raises(GovernorError) as failure:
            container["cpuset.cpus"] = value
        assert failure.value.errno == errno.ERANGE
        assert container["cpuset.cpus"] == world_cpus()

    def test_exclusive_processors(self) -> None:
        with make_world() as other:
            mine, yours = other.new(other.cpu), other.new(other.cpu)
            with pytest.raises(GovernorError) as failure:
                mine["cpuset.cpu_exclusive"] = 1
            assert failure.value.errno == errno.EINVAL
            mine["cpuset.cpus"], yours["cpuset.cpus"] = FIRST, SECOND
            mine["cpuset.cpu_exclusive"] = "1\n"
            with pytest.raises(GovernorError, match="cpu_exclusive") as failure:
                yours["cpuset.cpus"] = ALL
            assert failure.value.errno == errno.EINVAL
            assert other.new(other.cpu)["cpuset.cpus"] == format_cpus(set(USABLE) - {FIRST})

    def test_a_child_lies_within_its_parent(self, container: Container) -> None:
        container["cpuset.cpus"] = FIRST
        child = container.mkdir("child")
        assert child["cpuset.cpus"] == str(FIRST)
        with pytest.raises(GovernorError) as failure:
            child["cpuset.cpus"] = SECOND
        assert failure.value.errno == errno.EACCES
        assert child["cpuset.cpus"] == str(FIRST)

    def test_a_parent_cannot_shrink_below_a_child(self, container: Container) -> None:
        container.mkdir("child")["cpuset.cpus"] = SECOND
        with pytest.raises(GovernorError) as failure:
            container["cpuset.cpus"] = FIRST
        assert failure.value.errno == errno.EBUSY
        assert container["cpuset.cpus"] == world_cpus()

    def test_the_root_is_fixed(self, world: World) -> None:
        with pytest.raises(GovernorError) as failure:
            world.cpu.root["cpuset.cpus"] = FIRST
        assert failure.value.errno == errno.EACCES

    def test_a_change_reaches_jobs_in_children(self, world: World, container: Container) -> None:
        child = container.mkdir("child")
        with TestPlacement.storm(world, child, 2, 2):
            child["cpuset.cpus"] = FIRST
            eventually(lambda: not outside(child, {FIRST}), "all to be confined")
            container["cpuset.cpus"] = FIRST
            assert outside(child, {FIRST}) == []


def world_cpus() -> str:
    return format_cpus(frozenset(USABLE))
