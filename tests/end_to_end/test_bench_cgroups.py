"""The benchmark's kernel cgroups: apart from its other tests, for only root can make them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from governor.bench import helpers, kernel, remains, trees
from governor.bench.marks import mark
from governor.bench.shape import SOME, Shape
from governor.errors import GovernorError
from tests.capabilities import need
from tests.process.helpers import eventually


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the kernel takes seconds to free a group."""
    monkeypatch.setattr(trees, "_PATIENCE", 60.0)


@pytest.mark.parametrize("version", [1, 2])
def test_cgroups_are_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    need(os.geteuid() == 0, "making a cgroup takes root", root=True)
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shape = Shape(hierarchies=2, depth=2, limits=SOME, groups=2, processes=2)
    with remains.removed(), contextlib.ExitStack() as stack:
        programs = stack.enter_context(helpers.compiled_helpers())
        try:
            found = stack.enter_context(kernel.cgroup("cgroup", version, programs, shape))
        except GovernorError as refusal:
            need(False, str(refusal), root=True)
        for operation in ("fork", "attach", "mkdir", "limit", "read"):
            if found.can(operation):
                assert found.run(operation, 1) > 0
    left = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    assert not [name for name in left if name.startswith(mark())]
    assert mark() not in Path("/proc/self/mounts").read_text()
    assert not left_hierarchies(mark())


def test_a_benchmark_that_is_told_to_end_takes_its_cgroups_with_it(tmp_path: Path) -> None:
    need(os.geteuid() == 0, "making a cgroup takes root", root=True)
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")
    mount = pids_hierarchy()
    command = ["-c", "from governor.cli import entry; entry()", "bench", "--section=controls"]
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, *command], env=dict(os.environ, **environment)
    ) as process:
        mine = f"governor-bench-*-{process.pid}-*"
        try:
            eventually(lambda: any(mount.glob(mine)), "there is a cgroup")
        finally:
            process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not [*mount.glob(mine)]


def test_what_a_killed_benchmark_left_is_removed_by_the_next_one() -> None:
    need(os.geteuid() == 0, "making a cgroup takes root", root=True)
    mount = pids_hierarchy()
    script = """if True:
        import contextlib, os, signal
        from governor.bench import trees
        from governor.bench.marks import mark
        (trees.version_1(2, contextlib.ExitStack())[1].mount / "level").mkdir()
        os.makedirs(f"{os.sys.argv[1]}/{mark()}1/level/level")
        print(mark(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", script, str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    need("Operation not permitted" not in done.stderr, "cgroups cannot be mounted", root=True)
    left, own = done.stdout.strip(), mount / f"{mark()}1"
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert left in Path("/proc/self/mounts").read_text()
    own.mkdir()
    try:
        remains.remove()
        assert own.exists(), "who made it still runs"
    finally:
        own.rmdir()
    assert left not in Path("/proc/self/mounts").read_text()
    assert not [*mount.glob(f"{left}*")]
    assert not left_hierarchies(left)
    assert not [*Path(tempfile.gettempdir()).glob(f"{left}*")]


def left_hierarchies(begin: str) -> list[str]:
    """Those that the kernel still has, mounted or not."""
    return [line for line in Path("/proc/self/cgroup").read_text().splitlines() if begin in line]


def pids_hierarchy() -> Path:
    """Where the pids controller of version 1 is mounted."""
    try:
        return trees.version_1(1, contextlib.ExitStack())[0].mount
    except GovernorError as error:
        need(False, error.message, root=True)
        raise
