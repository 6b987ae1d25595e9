"""The kernel's own cpusets (cgroup v1) do the same as ours, refusals included; root only."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from governor.core.forest import Forest
from governor.errors import GovernorError
from governor.subsystem.machine import Machine
from governor.units import format_cpus, parse_cpus
from subsystems.cpuset import CpuSet
from tests.capabilities import need

KERNEL = Path("/sys/fs/cgroup/cpuset")
USABLE = {"cpus": Machine().usable("cpus"), "mems": Machine().usable("mems")}
FLAGS = ("cpu_exclusive", "mem_exclusive", "memory_migrate")
FILES = (*USABLE, *FLAGS)


@pytest.fixture
def kernel() -> Iterator[Path]:
    """A cpuset of the kernel's with all there is. An ordinary user's test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("only root makes a cgroup")
    need((KERNEL / "cpuset.cpus").exists(), f"no cpuset controller at {KERNEL}")
    need(os.access(KERNEL, os.W_OK), f"{KERNEL} is read-only")
    root = {kind: parse_cpus((KERNEL / f"cpuset.{kind}").read_text()) for kind in USABLE}
    need(root == USABLE, "this process may not use all that the kernel's root has")
    path = Path(tempfile.mkdtemp(prefix="governor-test-", dir=KERNEL))
    try:
        yield path
    finally:
        for directory, _, _ in os.walk(path, topdown=False):
            os.rmdir(directory)


class Both(RuleBasedStateMachine):
    """Every operation goes to the kernel and to our subsystem."""

    top: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.forest = Forest(lambda name: CpuSet())
        self.forest.mount("set", ["cpuset"])
        self.work = Path(tempfile.mkdtemp(dir=self.top))
        self.paths: list[str] = []
        self.sleepers: dict[str, int] = {}
        for path in ("/t", "/t/a", "/t/b", "/t/a/a"):
            self.make(path)
            for kind, all in USABLE.items():
                self.write(path, kind, format_cpus(all))

    def teardown(self) -> None:
        for path in list(self.sleepers):
            self.end(path)
        for path in reversed(self.paths):
            os.rmdir(self.kernels(path))
        os.rmdir(self.work)

    def kernels(self, path: str) -> Path:
        return self.work / path.removeprefix("/t").strip("/")

    def make(self, path: str) -> None:
        """The kernel's new ones are empty, ours have what their parent has."""
        self.forest.mkdir("set", path)
        if path != "/t":
            self.kernels(path).mkdir()
            self.paths.append(path)
        for kind in USABLE:
            self.forest.write(self.forest.lookup("set", path), f"cpuset.{kind}", "")

    def write(self, path: str, name: str, value: str) -> None:
        ours = theirs = 0
        try:
            self.forest.write(self.forest.lookup("set", path), f"cpuset.{name}", value)
        except GovernorError as error:
            ours = error.errno
        try:
            descriptor = os.open(self.kernels(path) / f"cpuset.{name}", os.O_WRONLY)
            with contextlib.closing(os.fdopen(descriptor, "wb", buffering=0)) as file:
                file.write(value.encode() or b"\n")
        except OSError as error:
            theirs = error.errno or -1
        assert ours == theirs, (path, name, value, os.strerror(theirs))

    def any_path(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(["/t", *self.paths]))

    @rule(data=st.data(), name=st.sampled_from("ab"))
    def mkdir(self, data: st.DataObject, name: str) -> None:
        path = f"{self.any_path(data)}/{name}"
        if path not in self.paths and path.count("/") < 4:
            self.make(path)

    @rule(data=st.data(), kind=st.sampled_from(sorted(USABLE)), end=st.sampled_from(["", "\n"]))
    def set_members(self, data: st.DataObject, kind: str, end: str) -> None:
        path = self.any_path(data)
        members = data.draw(st.frozensets(st.sampled_from(sorted(USABLE[kind]))))
        if members or not self.is_kept(path, kind):
            self.write(path, kind, format_cpus(members) + end)

    def is_kept(self, path: str, kind: str) -> bool:
        """Whether the kernel will not empty a set: it keeps room for deadline tasks (EBUSY)."""
        return kind == "cpus" and (self.kernels(path) / "cpuset.cpu_exclusive").read_text() == "1\n"

    @rule(data=st.data(), flag=st.sampled_from(FLAGS), value=st.sampled_from("01"))
    def set_flag(self, data: st.DataObject, flag: str, value: str) -> None:
        self.write(self.any_path(data), flag, value)

    @rule(data=st.data(), kind=st.sampled_from(sorted(USABLE)))
    def empty(self, data: st.DataObject, kind: str) -> None:
        """Mostly where somebody is."""
        path = data.draw(st.sampled_from([*self.sleepers] or ["/t/b"]))
        if not self.is_kept(path, kind):
            self.write(path, kind, "")

    @rule(data=st.data())
    def enter(self, data: st.DataObject) -> None:
        """A process moves in; or the one that is there ends."""
        path = self.any_path(data)
        if path in self.sleepers:
            self.end(path)
            return
        container = self.forest.lookup("set", path)
        pid = os.fork()
        if pid == 0:
            signal.pause()
        self.sleepers[path] = pid
        ours = theirs = 0
        try:
            container.hierarchy.subsystems["cpuset"].can_attach(container, container, pid)
        except GovernorError as error:
            ours = error.errno
        try:
            (self.kernels(path) / "tasks").write_text(str(pid))
        except OSError as error:
            theirs = error.errno or -1
        assert ours == theirs
        if theirs:
            self.end(path)
        self.count()

    def end(self, path: str) -> None:
        pid = self.sleepers.pop(path)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.count()

    def count(self) -> None:
        groups = [self.forest.group([self.forest.lookup("set", p)]).id for p in self.sleepers]
        self.forest.populate(dict.fromkeys(groups, 1))

    @invariant()
    def same(self) -> None:
        for path in ["/t", *self.paths]:
            container = self.forest.lookup("set", path)
            for name in FILES:
                file = self.forest.control_file(container, f"cpuset.{name}")
                theirs = (self.kernels(path) / f"cpuset.{name}").read_text().strip()
                assert str(file.read(container)) == theirs


def prepare(kernel: Path) -> None:
    Both.top = kernel
    # The parent of all of them has to have what its children are to have.
    for kind, all in USABLE.items():
        (kernel / f"cpuset.{kind}").write_text(format_cpus(all))
    for flag in ("cpu_exclusive", "mem_exclusive"):
        with contextlib.suppress(OSError):
            (kernel / f"cpuset.{flag}").write_text("1")


@pytest.mark.parametrize("kind", USABLE)
@pytest.mark.parametrize("value", ["x", "1-0", "99999999", "-1", "0-", "0,1-"])
def test_nonsense(kernel: Path, kind: str, value: str) -> None:
    prepare(kernel)
    both = Both()
    try:
        both.write("/t/b", kind, value)
    finally:
        both.teardown()


def test_exclusive_siblings(kernel: Path) -> None:
    """What random writes rarely come to: an overlap with what a sibling has for itself."""
    need(len(USABLE["cpus"]) > 1, "this host lets us use one CPU only")
    first, *_, last = sorted(USABLE["cpus"])
    prepare(kernel)
    both = Both()
    try:
        both.write("/t", "cpu_exclusive", "1")
        for path, name, value in (
            ("/t/a/a", "cpus", str(first)),
            ("/t/a", "cpus", str(first)),
            ("/t/a", "cpu_exclusive", "1"),
            ("/t/b", "cpus", str(last)),
            ("/t/a", "cpu_exclusive", "1"),
            ("/t/b", "cpus", f"{first},{last}"),
            ("/t/a", "cpus", f"{first},{last}"),
            ("/t/a/a", "cpu_exclusive", "1"),
            ("/t/a", "cpu_exclusive", "0"),
            ("/t", "cpu_exclusive", "0"),
            ("/t/b", "cpu_exclusive", "1"),
            ("/t/b", "cpus", str(first)),
        ):
            both.write(path, name, value)
            both.same()
    finally:
        both.teardown()


def test_the_kernel_does_the_same(kernel: Path) -> None:
    prepare(kernel)
    run_state_machine_as_test(
        Both, settings=settings(max_examples=30, stateful_step_count=30, deadline=None)
    )
