from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from governor.bench import remains
from governor.bench.marks import is_dead, mark


@pytest.fixture(scope="module")
def dead() -> str:
    """The mark of a process that has ended."""
    script = "from governor.bench.marks import mark; print(mark())"
    return subprocess.check_output([sys.executable, "-c", script], text=True).strip()


def test_a_name_tells_whether_its_maker_still_runs(dead: str) -> None:
    assert is_dead(f"{dead}abc")
    assert not is_dead(f"{mark()}abc")
    _, _, namespace, pid, started, _ = mark().split("-")
    assert is_dead(f"governor-bench-{namespace}-{pid}-{int(started) + 1}-abc"), "a later process"


@pytest.mark.parametrize(
    "name", ["", "governor-bench-abc", "governor-bench-1-2-3-abc", "other-1-2-3-4"]
)
def test_names_of_others_are_left_alone(name: str) -> None:
    assert not is_dead(name)


def test_only_directories_of_dead_benchmarks_are_removed(
    dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = [f"{mark()}x", "governor-bench-x"]
    for name in (*kept, f"{dead}x"):
        (tmp_path / name / "below").mkdir(parents=True)
    (tmp_path / f"{dead}link").symlink_to(tmp_path / kept[1])
    remains.remove()
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, f"{dead}link"])
    assert (tmp_path / kept[1] / "below").exists()
