"""Where memory lies: the policy of jobs, the pages of processes that move, and offline nodes."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

import governor
from governor.api import Governor
from governor.errors import GovernorError
from governor.subsystem.machine import Machine
from governor.units import format_cpus, parse_cpus
from tests.capabilities import need
from tests.process.helpers import eventually, run_job
from tests.process.helpers import runtime as runtime
from workers import memory
from workers.syscalls import table

NODES = Machine().usable("mems")
NODE = min(NODES)
BIND, DEFAULT = 2, 0


def policy() -> tuple[int, list[int]]:
    """The policy of this thread as the kernel has it (get_mempolicy(2))."""
    number = {"x86_64": 239, "aarch64": 236}[os.uname().machine]
    mode, mask = ctypes.c_int(), (ctypes.c_ulong * 16)()
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(number, ctypes.byref(mode), mask, ctypes.c_long(1025), 0, 0)
    assert result == 0, os.strerror(ctypes.get_errno())
    nodes = [n for n in range(1024) if mask[n // 64] >> n % 64 & 1]
    return mode.value, nodes


def in_child(body: Callable[[], object]) -> str:
    """What ``body`` returns in a process of its own, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(body()).encode())
        except OSError as error:
            os.write(write, errno.errorcode[error.errno or 0].encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


@pytest.fixture(autouse=True)
def numa() -> None:
    need(Path("/proc/self/numa_maps").exists(), "a kernel without CONFIG_NUMA")
    works = in_child(lambda: memory.bind([NODE]))
    need(works == "None", f"set_mempolicy is refused here: {works}")


# -- the facility -------------------------------------------------------------------------


def test_a_bound_thread_hands_its_policy_down() -> None:
    def bind() -> object:
        memory.bind([NODE])
        return policy(), in_child(policy)

    bound = (BIND, [NODE])
    assert in_child(bind) == str((bound, str(bound)))
    assert policy()[0] == DEFAULT


def test_it_is_kept_over_exec() -> None:
    def bind() -> object:
        memory.bind([NODE])
        return os.popen("cat /proc/self/numa_maps").read()

    maps = in_child(bind).splitlines()
    assert maps
    assert {line.split()[1] for line in maps} == {f"bind:{NODE}"}


def test_nodes_that_are_not_there() -> None:
    absent = min(set(range(1024)) - Machine().present("mems"))
    assert in_child(lambda: memory.bind([absent])) == "EINVAL"
    assert in_child(lambda: memory.bind([])) == "EINVAL"


def test_migrating_what_is_there_already() -> None:
    assert memory.migrate(os.getpid(), NODES, NODES) == 0
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(ProcessLookupError):
        memory.migrate(child, NODES, NODES)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_of_calls(machine: str) -> None:
    calls = table(machine)
    assert calls.migrate_pages not in (calls.set_mempolicy, calls.kcmp)


class Orders:
    """Stands in for migrate_pages: what was to be moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seen: SimpleQueue[tuple[int, list[int], list[int]]] = SimpleQueue()

        def note(pid: int, source: frozenset[int], target: frozenset[int]) -> int:
            self._seen.put((pid, sorted(source), sorted(target)))
            if pid == 13:
                raise ProcessLookupError
            return 0

        monkeypatch.setattr(memory, "migrate", note)

    def next(self) -> tuple[int, list[int], list[int]]:
        return self._seen.get(timeout=60)

    @property
    def over(self) -> bool:
        return self._seen.empty()


class Paper(Machine):
    """Four nodes."""

    def usable(self, resource: str) -> frozenset[int]:
        return frozenset(range(4))


def test_pages_follow_plans_and_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = Orders(monkeypatch)
    mover = memory.Mover({1: [13, 14], 2: [20]}.__getitem__, Paper())
    mover.set_plan(1, {"mems": [0, 1]})
    mover.set_plan(1, {"mems": [1, 2], "pages": [1, 2]})
    assert [orders.next(), orders.next()] == [(13, [0, 1], [1, 2]), (14, [0, 1], [1, 2])]
    mover.set_plan(1, {"mems": [1, 2], "pages": [1, 2]})
    mover.set_plan(1, {"mems": [1, 2, 3], "pages": [1, 2, 3]})
    mover.set_plan(2, {"mems": [3]})
    mover.moved(5, 1, 2)  # pages need not follow there
    mover.moved(6, 2, 1)  # nothing of it lies elsewhere
    mover.moved(7, None, 1)
    assert orders.next() == (7, [0, 1, 2, 3], [1, 2, 3])
    mover.drop_plan(1)
    mover.set_plan(2, {"mems": [0], "pages": [0]})
    assert orders.next() == (20, [3], [0])
    mover.moved(8, 1, 2)
    assert orders.next() == (8, [0, 1, 2, 3], [0])
    assert orders.over


# -- governed jobs ------------------------------------------------------------------------

PACKAGE = '''
from governor.subsystem.machine import Machine
from governor.subsystem import ControlFile, Subsystem
from subsystems.cpuset import CpuSet


class Pinned(Subsystem):
    """A set of one node that counts as a confinement on any machine."""

    name = "pinned"

    def create(self, container):
        return None

    def destroy(self, container, state):
        pass

    def contribute(self, plan, container):
        plan.confine("mems", frozenset({NODE}))
        plan.confine("pages", frozenset({NODE}))


class Paper(Machine):
    """A machine of paper: what is online is in files that the test writes."""

    def usable(self, resource):
        return self.present(resource)


class SimSet(CpuSet):
    name = "simset"

    def __init__(self):
        super().__init__(Paper(MACHINE, MACHINE + "/status"))
'''


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that describes a machine; a package with two subsystems is installed."""
    place = tmp_path / "machine"
    for name, text in (
        ("cpu/online", format_cpus(os.sched_getaffinity(0))),
        ("node/has_memory", "0-1"),
    ):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(text)
    site = tmp_path / "site"
    metadata = site / "paper-1.0.dist-info"
    metadata.mkdir(parents=True)
    text = PACKAGE.replace("NODE", str(NODE)).replace("MACHINE", repr(str(place)))
    (site / "paper.py").write_text(text)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: paper\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[governor.subsystems]\npinned = paper:Pinned\nsimset = paper:SimSet\n"
    )
    monkeypatch.syspath_prepend(str(site))
    return place


@pytest.fixture
def gov(machine: Path, runtime: Path) -> Iterator[Governor]:
    with governor.Governor() as gov:
        yield gov


def test_a_job_starts_with_its_nodes(gov: Governor) -> None:
    """numa_maps is the kernel's word for it; so is that of a grandchild."""
    gov.mount("one", ["pinned"])
    for command in (["cat", "/proc/self/numa_maps"], ["sh", "-c", "(cat /proc/self/numa_maps)"]):
        result, said = run_job(gov, command)
        assert result.exit_code == 0
        assert {line.split()[1] for line in said.splitlines()} == {f"bind:{NODE}"}


def test_without_a_confinement_there_is_no_policy(gov: Governor) -> None:
    gov.mount("one", ["cpuset"])
    gov.mount("two", ["memset"])
    _, said = run_job(gov, ["cat", "/proc/self/numa_maps"])
    assert {line.split()[1] for line in said.splitlines()} == {"default"}


def test_nodes_that_are_gone_end_a_job_before_it_runs(gov: Governor) -> None:
    """The machine of paper has a node 1 that this one lacks."""
    need(1 not in Machine().present("mems"), "this machine has a node 1")
    container = gov.mount("one", ["simset"]).mkdir("/a")
    container["simset.mems"] = "1"
    result, said = run_job(gov, ["echo", "ran"], [container])
    assert (result.exit_code, said) == (125, "")
    assert "bind its memory to nodes" in (result.error or "")


def test_a_process_that_moves_keeps_its_policy_and_that_is_said(gov: Governor) -> None:
    hierarchy = gov.mount("one", ["simset"])
    here, there = hierarchy.mkdir("/here"), hierarchy.mkdir("/there")
    there["simset.mems"] = "0"
    there["simset.memory_migrate"] = "1\n"
    read, write = os.pipe()
    job = gov.spawn(["cat"], containers=[here], stdin=read)
    os.close(read)
    there.attach(job.pid)
    levels = {r.path: r.level["simset"] for r in gov.containers()}
    os.close(write)
    assert job.wait(60).exit_code == 0
    assert levels["/there"] == "partial"
    assert levels["/here"] != "partial"


def bring_online(machine: Path, cpus: Iterable[int]) -> None:
    """These CPUs only, at once: whoever reads meanwhile never finds an empty file."""
    (machine / "new").write_text(format_cpus(cpus))
    (machine / "new").replace(machine / "cpu/online")


def test_a_processor_goes_and_comes_back(gov: Governor, machine: Path) -> None:
    usable = sorted(os.sched_getaffinity(0))
    need(len(usable) > 1, "this host lets us use one CPU only")
    container = gov.mount("one", ["simset"]).mkdir("/a")
    container["simset.cpus"] = str(usable[-1])
    read, write = os.pipe()
    job = gov.spawn(["cat"], containers=[container], stdin=read)
    os.close(read)

    def allowed() -> frozenset[int]:
        lines = Path(f"/proc/{job.pid}/status").read_text().splitlines()
        row = next(line for line in lines if line.startswith("Cpus_allowed_list:"))
        return parse_cpus(row.split()[1])

    eventually(lambda: allowed() == {usable[-1]}, "the job to be confined")
    bring_online(machine, usable[:1])
    eventually(lambda: allowed() == {usable[0]}, "the job to be where its parent's CPUs are")
    figures = [container[f"simset.{name}"] for name in ("cpus", "effective_cpus")]
    assert figures == [str(usable[-1]), str(usable[0])]
    bring_online(machine, usable)
    eventually(lambda: allowed() == {usable[-1]}, "the job to be back")
    os.close(write)
    assert job.wait(60).exit_code == 0


def test_nothing_runs_in_an_empty_set(gov: Governor) -> None:
    hierarchy = gov.mount("one", ["cpuset", "memset"])
    container = hierarchy.mkdir("/a")
    for name in ("cpuset.cpus", "cpuset.mems", "memset.mems"):
        before = container[name]
        run_job(gov, ["true"], [container])  # leaves a group behind
        container[name] = "\n"
        assert container[name] == ""
        for enter in (
            lambda: gov.spawn(["true"], containers=[container]),
            lambda: container.attach(os.getpid()),
        ):
            with pytest.raises(GovernorError, match="one:/a") as caught:
                enter()
            assert caught.value.errno == errno.ENOSPC
        container[name] = before
    assert run_job(gov, [sys.executable, "-c", "print(1)"], [container])[1] == "1\n"


def test_a_set_with_processes_is_not_emptied(gov: Governor) -> None:
    container = gov.mount("one", ["cpuset"]).mkdir("/a")
    read, write = os.pipe()
    job = gov.spawn(["cat"], containers=[container], stdin=read)
    os.close(read)
    for name in ("cpuset.cpus", "cpuset.mems"):
        before = container[name]
        with pytest.raises(GovernorError) as caught:
            container[name] = ""
        assert caught.value.errno == errno.ENOSPC
        assert container[name] == before
    os.close(write)
    assert job.wait(60).exit_code == 0


def test_the_kernel_agrees_on_nodes(gov: Governor) -> None:
    container = gov.mount("one", ["memset"]).mkdir("/a")
    container["memset.mems"] = str(NODE)
    _, said = run_job(gov, ["grep", "^Mems_allowed_list", "/proc/self/status"], [container])
    assert parse_cpus(said.split()[1]) >= {NODE}
    assert container["memset.effective_mems"] == str(NODE)
