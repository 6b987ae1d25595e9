"""The benchmark's kernel cgroups: apart from its other tests, for only root can make them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from governor.bench import helpers, kernel
from governor.bench.shape import SOME, Shape
from governor.errors import GovernorError
from tests.capabilities import need


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
