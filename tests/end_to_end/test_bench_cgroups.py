"""The benchmark's kernel cgroups: apart from its other tests, for only root can make them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from governor.bench import helpers, kernel
from governor.bench.shape import SOME, Shape
from governor.errors import GovernorError
from tests.capabilities import need
from tests.process.helpers import eventually


@pytest.mark.parametrize("version", [1, 2])
def test_cgroups_are_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    need(os.geteuid() == 0, "making a cgroup takes root", root=True)
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shape = Shape(hierarchies=2, depth=2, limits=SOME, groups=2, processes=2)
    mounts = Path("/proc/self/mounts").read_text()
    with contextlib.ExitStack() as stack:
        programs = stack.enter_context(helpers.compiled_helpers())
        try:
            found = stack.enter_context(kernel.cgroup("cgroup", version, programs, shape))
        except GovernorError as refusal:
            need(False, str(refusal), root=True)
        for operation in ("fork", "attach", "mkdir", "limit", "read"):
            if found.can(operation):
                assert found.run(operation, 1) > 0
    mine = f"governor-bench-{os.getpid()}"
    left = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    assert not [name for name in left if name.startswith(mine)]
    assert Path("/proc/self/mounts").read_text() == mounts


def test_a_benchmark_that_is_told_to_end_takes_its_cgroups_with_it(tmp_path: Path) -> None:
    need(os.geteuid() == 0, "making a cgroup takes root", root=True)
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")
    mounts = pids_hierarchies()
    need(bool(mounts), "the pids controller of cgroup v1 is not mounted", root=True)
    command = ["-c", "from governor.cli import entry; entry()", "bench", "--section=controls"]
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, *command], env=dict(os.environ, **environment)
    ) as process:
        mine = f"governor-bench-{process.pid}-*"
        try:
            eventually(lambda: any(mounts[0].glob(mine)), "there is a cgroup")
        finally:
            process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not [*mounts[0].glob(mine)]


def pids_hierarchies() -> list[Path]:
    """Where the pids controller of version 1 is mounted."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(w[1]) for w in lines if w[2] == "cgroup" and "pids" in w[3].split(",")]
