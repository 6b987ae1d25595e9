"""The benchmark from its command to its JSON: that it runs, not what it finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from governor.bench import helpers, variants
from governor.errors import GovernorError
from tests.capabilities import need

pytestmark = pytest.mark.once

ENTRY = "from governor.cli import entry; entry()"


def bench(*options: str, cache: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, XDG_CACHE_HOME=str(cache))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [sys.executable, "-c", ENTRY, "bench", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture
def compiler() -> None:
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")


@pytest.mark.usefixtures("compiler")
def test_everything_is_measured_once(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    done = bench("--quick", "--repeat", "1", "--json", str(output), cache=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["failed"] == {}
    needed = {"ungoverned", "floor", "governed-1", "governed-4", "governed-8"}
    loops = {name: row for name, row in found["operations"].items() if name != "startup"}
    assert loops.keys() == {"fork", "thread", "open", "getppid"}
    for row in loops.values():
        assert needed <= row.keys()
        assert all(figures["ns"]["median"] > 0 for figures in row.values())
    assert found["operations"]["startup"].keys() == {
        "true",
        "python3 -c pass",
        "governor run -- true",
    }
    # One round is no basis for a verdict.
    assert {target["verdict"] for target in found["targets"]} == {"noise"}


@pytest.mark.usefixtures("compiler")
def test_only_what_is_asked_for(tmp_path: Path) -> None:
    done = bench("--quick", "--repeat", "1", "--only", "getppid", cache=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "untrapped getppid" in done.stdout
    assert "fork+wait" not in done.stdout


def test_without_a_compiler_it_says_what_is_missing(tmp_path: Path) -> None:
    done = bench("--quick", "--only", "getppid", cache=tmp_path, path=str(tmp_path))
    assert done.returncode == 125
    assert "no C compiler" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--only", "oven"], 2, 'no operation "oven": allowed are fork, thread'),
        (["--json", "/nowhere/result.json"], 125, "cannot write /nowhere/result.json"),
        (["--repeat", "0"], 2, "allowed are 1 to 10000"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    tmp_path: Path, options: list[str], status: int, said: str
) -> None:
    done = bench(*options, cache=tmp_path)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("compiler")
def test_the_floor_answers_every_trap_and_passes_the_status_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with helpers.compiled_helpers() as programs:
        variant = variants.floor_variant(programs.floor, programs.loop)
        for operation in ("fork", "thread", "open", "getppid"):
            assert variant.run(operation, 50) > 0
        with pytest.raises(GovernorError, match="no operation nothing"):
            variant.run("nothing", 1)
    kept = sorted(path.name.partition("-")[0] for path in (tmp_path / "governor/bench").iterdir())
    assert kept == ["floor", "loop"]


@pytest.mark.usefixtures("compiler")
def test_a_user_without_a_cache_directory_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    assert helpers.cache_directory() is None
    with helpers.compiled_helpers() as programs:
        assert os.access(programs.loop, os.X_OK)
    assert not os.path.exists(programs.loop)


@pytest.mark.usefixtures("compiler")
@pytest.mark.skipif(os.geteuid() != 0, reason="making a cgroup takes root")
def test_a_cgroup_is_removed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with helpers.compiled_helpers() as programs:
        try:
            with variants.cgroup_v1_variant(programs.loop) as variant:
                assert variant.run("fork", 20) > 0
        except GovernorError as refusal:
            need(False, str(refusal))
    mine = f"governor-bench-{os.getpid()}"
    assert not any(mine in names for _, names, _ in os.walk("/sys/fs/cgroup"))
