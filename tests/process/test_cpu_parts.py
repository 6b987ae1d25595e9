"""cpuacct: user and system time, parents and their children, and the load of running processes."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
import time
from collections.abc import Iterator

import pytest

from governor.api import Container
from governor.errors import GovernorError
from tests.process.running import World, eventually, program
from tests.process.running import world as make_world
from tests.process.test_cpuacct import cgroup, usage

PARTS = ("usage", "usage_user", "usage_sys", "usage_own")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


# -- user and system ----------------------------------------------------------------------

USER_HEAVY = "while time.process_time() < {seconds}: sum(range(10_000))"
SYSTEM_HEAVY = "\n".join(
    [
        "with open('/dev/zero', 'rb', buffering=0) as zero:",
        "    buffer = bytearray(1 << 20)",
        "    while time.process_time() < {seconds}: zero.readinto(buffer)",
    ]
)
LOADS = {"user": USER_HEAVY, "system": SYSTEM_HEAVY}
"""What a program does for so many seconds of its own CPU time."""

MANY_CHILDREN = """
for _ in range(150):
    pid = os.fork()
    if not pid:
        os._exit(0 * sum(range(100_000)))
    os.waitpid(pid, 0)
"""
FORKING = """
import select
while not select.select([0], [], [], 0)[0]:
    pid = os.fork()
    if not pid:
        os._exit(0 * sum(range(100_000)))
    os.waitpid(pid, 0)
"""
"""Goes on until standard input ends."""
TELL = """
uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(use.ru_utime for use in uses), sum(use.ru_stime for use in uses))
"""


def python(text: str, seconds: float = 0.4) -> list[str]:
    """A program that tells at its end how much user and system time the kernel says it has had."""
    head = "import os, resource, sys, time\n"
    return [sys.executable, "-S", "-c", head + text.format(seconds=seconds) + TELL]


def figures(world: World, container: Container) -> dict[str, dict[str, int]]:
    """The figures in ns of every container of a tree, by path, from one snapshot."""
    here = container.path.rstrip("/")
    return {
        report.path: {name: int(report.files[f"cpuacct.{name}"]) for name in PARTS}
        for report in world.gov.containers()
        if report.hierarchy == container.hierarchy.name
        and (report.path == container.path or report.path.startswith(f"{here}/"))
    }


def is_in(path: str, parent: str) -> bool:
    """Whether one path is directly below another."""
    return path != "/" and (path.rpartition("/")[0] or "/") == parent


def check_sums(tree: dict[str, dict[str, int]]) -> None:
    """Each container is its own and its children's time, each whole is user and system time."""
    for path, container in tree.items():
        below = [it for other, it in tree.items() if is_in(other, path)]
        assert container["usage"] == container["usage_user"] + container["usage_sys"]
        assert container["usage"] == container["usage_own"] + sum(it["usage"] for it in below)
        for part in ("usage_user", "usage_sys"):
            assert container[part] >= sum(it[part] for it in below)


def removed(container: Container) -> bool:
    """Remove a container, unless it has processes yet."""
    try:
        container.rmdir()
    except GovernorError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


class TestUserAndSystem:
    @pytest.mark.once
    @pytest.mark.parametrize("text", [*LOADS.values(), MANY_CHILDREN], ids=[*LOADS, "children"])
    def test_what_the_job_itself_was_told(self, world: World, text: str) -> None:
        container = world.new(world.cpu)
        user, system = map(float, world.run(python(text), [container]).out.split())
        ours = figures(world, container)[container.path]
        margin = max(0.1 * ours["usage"], 30e6)
        assert ours["usage_user"] == pytest.approx(user * 1e9, abs=margin)
        assert ours["usage_sys"] == pytest.approx(system * 1e9, abs=margin)

    @pytest.mark.parametrize("heavy", LOADS)
    def test_a_cgroup_around_the_job(self, world: World, heavy: str) -> None:
        """The kernel's own are whole ticks, whose sum is not the exact one: shares are compared."""
        container = world.new(world.cpu)
        with cgroup() as path:
            enter = f'echo $$ >"{path}/cgroup.procs" && exec "$@"'
            argv = ["sh", "-c", enter, "-", *python(LOADS[heavy])]
            assert world.run(argv, [container]).exit_code == 0
            ours = figures(world, container)[container.path]
            kernels = {
                part: int((path / f"cpuacct.{part}").read_text())
                for part in ("usage_user", "usage_sys")
            }
            share = kernels["usage_user"] / sum(kernels.values())
            assert ours["usage_user"] / ours["usage"] == pytest.approx(share, abs=0.2)

    @pytest.mark.once
    @pytest.mark.parametrize("heavy", LOADS)
    def test_while_it_runs(self, world: World, heavy: str) -> None:
        """The kind of time that a program uses is seen before its end."""
        container = world.new(world.cpu)
        read, write = os.pipe()
        text = LOADS[heavy] + "\nprint(flush=True); sys.stdin.read()"
        started = world.start(python(text), [container], stdin=read)
        os.close(read)
        eventually(lambda: started.said() != "", "its time is used")
        ours = figures(world, container)[container.path]
        assert started.job.result is None
        os.close(write)
        user, system = map(float, started.finish().out.split())
        margin = max(0.1 * ours["usage"], 30e6)
        assert ours["usage_user"] == pytest.approx(user * 1e9, abs=margin)
        assert ours["usage_sys"] == pytest.approx(system * 1e9, abs=margin)

    @pytest.mark.once
    def test_stat_is_the_same_in_ticks(self, world: World) -> None:
        container = world.new(world.cpu)
        world.run(python(USER_HEAVY, 0.1), [container])
        lines = [line.split() for line in str(container["cpuacct.stat"]).splitlines()]
        ours = figures(world, container)[container.path]
        tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        parts = {"user": ours["usage_user"], "system": ours["usage_sys"]}
        assert lines == [[name, str(ns // tick)] for name, ns in parts.items()]


@pytest.mark.once
class TestTheWholeAndItsParts:
    def test_at_every_reading_while_processes_fork_exit_and_move(self, world: World) -> None:
        top = world.new(world.cpu)
        one, two = top.mkdir("one"), top.mkdir("two")
        places = [top, one, one.mkdir("below"), two]
        tree = program("cpu_tree", "-pthread")
        shapes = [["flat", "60", "2000"], ["threads", "2", "80000"], ["deep", "20", "3000"]]
        jobs = [world.start([tree, *shape], [place]) for shape in shapes for place in places]
        read, write = os.pipe()
        jobs.append(world.start(python(FORKING), [top], stdin=read))
        os.close(read)
        running = [started.job for started in jobs]
        before: dict[str, dict[str, int]] = {}
        readings = 0
        while running:
            done = world.gov.wait(running, timeout=0)
            running = [job for job in running if job not in done]
            for job in running[readings % 3 :: 3]:
                with contextlib.suppress(GovernorError):  # it may have ended by now
                    places[readings % len(places)].attach(job.pid)
            now = figures(world, top)
            check_sums(now)
            for path, parts in before.items():
                assert all(parts[name] <= now[path][name] for name in parts), path
            before = now
            readings += 1
            if readings == 4:
                os.close(write)
        assert len({path for path, parts in before.items() if parts["usage_own"]}) == len(places)

    def test_what_was_used_in_a_removed_container_is_its_parents_own(self, world: World) -> None:
        """Removed at once when its last process is gone: its end may not have been reported."""
        parent = world.new(world.cpu)
        tree = program("cpu_tree", "-pthread")
        total = 0
        for number in range(5):
            child = parent.mkdir(f"child{number}")
            started = world.start([tree, "flat", "10", "2000"], [child])
            eventually(lambda child=child: removed(child), "nobody is left")  # type: ignore[misc]
            total += round(started.job.wait().cpu_seconds * 1e9)
            ours = figures(world, parent)
            check_sums(ours)
            assert list(ours) == [parent.path]
        assert ours[parent.path]["usage_own"] == pytest.approx(total, abs=100)


@pytest.mark.once
def test_a_second_instance_measures_the_same_processes_by_other_groups(world: World) -> None:
    """In each of both hierarchies the parts are the whole."""
    kinds = world.gov.mount("kinds", ["cpuacct@kinds"])
    person, kind = world.new(world.cpu), world.new(kinds)
    argv = [program("cpu_tree", "-pthread"), "flat", "20", "2000"]
    jobs = [world.start(argv, [person, kind]), world.start(argv, [kind])]
    used = [round(started.job.wait().cpu_seconds * 1e9) for started in jobs]
    by_person, by_kind = figures(world, person), figures(world, kinds.root)
    check_sums(by_kind)
    assert by_person[person.path]["usage_own"] == pytest.approx(used[0], abs=100)
    assert by_kind[kind.path]["usage_own"] == pytest.approx(sum(used), abs=100)


@pytest.mark.once
class TestLoad:
    def test_of_a_busy_and_of_an_idle_process(self, world: World) -> None:
        """In percent of the wall time: what it has had, measured from outside."""
        root = world.cpu.root
        root["cpuacct.interval"] = 1
        busy, idle = world.new(world.cpu), world.new(world.cpu)
        jobs = [
            world.start([program("cpu_tree", "-pthread"), "threads", "1", "60000000"], [busy]),
            world.start(["sleep", "1000"], [idle]),
        ]
        seen: list[tuple[float, int]] = []

        def loads() -> dict[str, int]:
            seen.append((time.monotonic(), usage(busy)))
            return {
                report.path: int(report.files["cpuacct.load"])
                for report in world.gov.containers()
                if report.hierarchy == "cpu"
            }

        eventually(lambda: loads()[busy.path] > 0, "an interval ends, which may have begun before")
        next_by = time.monotonic() + 1
        eventually(lambda: bool(loads()) and seen[-1][0] > next_by, "another one does")
        found = loads()
        value = found[busy.path]
        rates = [
            100 * (total - before) / (end - then) / 1e9
            for (then, before), (end, total) in itertools.combinations(
                seen[:: 1 + len(seen) // 200], 2
            )
            if end - then > 0.9
        ]
        assert 0.8 * min(rates) <= value <= 1.2 * max(rates)
        assert found[idle.path] <= 10
        assert found["/"] >= value
        world.gov.stop([started.job for started in jobs], grace=0)
