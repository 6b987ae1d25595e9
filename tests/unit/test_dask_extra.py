"""Without its extra, governor.dask says what to install; and nobody else needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WITHOUT = "import sys; sys.modules.update(dask=None, distributed=None); "


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ["install", "report", "GovernorPlugin", "Report"])
def test_what_is_missing_is_named(name: str) -> None:
    ended = run(f"{_WITHOUT}from governor.dask import {name}")
    last = ended.stderr.splitlines()[-1]
    expected = f"governor.dask.{name} needs dask.distributed: pip install 'governor[dask]'"
    assert last == f"ModuleNotFoundError: {expected}"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    ended = run(f"{_WITHOUT}import governor.dask; governor.dask.nothing")
    assert "AttributeError: module 'governor.dask' has no attribute 'nothing'" in ended.stderr


def test_a_job_imports_no_dask_by_itself() -> None:
    ended = run(f"{_WITHOUT}import governor.dask.inside, governor")
    assert ended.returncode == 0, ended.stderr
