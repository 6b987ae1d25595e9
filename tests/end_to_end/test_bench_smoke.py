"""The benchmark from its command to its JSON: that it runs, not what it finds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from governor.bench import (
    companion,
    crew,
    governed,
    helpers,
    operations,
    project,
    spawners,
    surroundings,
)
from governor.bench.controls import Controls
from governor.bench.helpers import Programs
from governor.bench.shape import SOME, Shape
from governor.bench.site import GovernorSite
from governor.errors import GovernorError
from tests.capabilities import need

pytestmark = pytest.mark.once

ENTRY = "from governor.cli import entry; entry()"
LOOPS = tuple(operation.name for operation in operations.LOOPS)
ELSEWHERE = {"vfork", "thread", "socket"}
"""Loops that are tried in every surrounding but not measured, to save time."""


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


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests of this module keep the compiled programs."""
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def programs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    with helpers.compiled_helpers() as compiled:
        return compiled


@pytest.fixture(scope="module")
def stored(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of one round of everything but most sweeps and what other tests do as well."""
    output = tmp_path_factory.mktemp("result") / "result.json"
    chosen = [name for name in operations.NAMES if name not in ELSEWHERE]
    done = bench(
        "--quick",
        "--repeat=1",
        "--section=calls,controls,spawn,limits",
        f"--only={','.join(chosen)}",
        f"--json={output}",
        cache=cache,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def test_everything_is_measured_once(stored: Path) -> None:
    found = json.loads(stored.read_text())
    assert found["failed"] == {}
    sections = found["sections"]
    measured = {name: section["operations"] for name, section in sections.items()}
    assert measured["calls"].keys() == {*LOOPS} - ELSEWHERE
    for row in measured["calls"].values():
        assert {"ungoverned", "floor", "governed"} <= row["surroundings"].keys()
        assert all(figures["ns"]["median"] > 0 for figures in row["surroundings"].values())
    for row in measured["controls"].values():
        assert "governed" in row["surroundings"]
    spawned = measured["spawn"]["spawn"]["surroundings"]
    assert {"ungoverned", "governed", "governor run", "subprocess"} <= spawned.keys()
    named = spawned.keys() | found["skipped"].keys()
    assert {"cgexec", "systemd-run", "runexec", "parallel"} <= named
    assert {place["point"] for place in sections["limits"]["sweep"].values()} == {"none", "all"}
    latencies = sections["calls"]["latencies_ns"]["open"]["governed"]
    assert len(latencies) == len(sections["calls"]["shares"])
    reason = found["machine"]["instructions"]
    assert reason, "counted, or why not"
    assert (reason == "counted") == bool(sections["calls"]["instructions"])
    # One round is no basis for a verdict.
    assert {target["verdict"] for target in found["targets"]} == {"noise"}


def test_a_stored_result_is_shown_and_compared_without_measuring(
    stored: Path, tmp_path: Path
) -> None:
    nowhere = str(tmp_path)
    shown = bench("--from", str(stored), cache=tmp_path, path=nowhere)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "untrapped getppid" in shown.stdout
    full = bench("--from", str(stored), "--json", "/dev/full", cache=tmp_path, path=nowhere)
    assert (full.returncode, full.stdout) == (125, "")
    assert full.stderr == "governor: cannot write the result /dev/full: No space left on device\n"
    compared = bench("--compare", str(stored), str(stored), cache=tmp_path, path=nowhere)
    assert (compared.returncode, compared.stderr) == (0, "")
    assert "0 SLOWER, 0 faster, 0 same" in compared.stdout, "one round compares nothing"


def test_a_governor_that_became_slower_is_an_exit_status(tmp_path: Path) -> None:
    from governor.bench import store
    from tests.unit.bench_results import sample_result

    names = []
    for cost in (4.0, 4.4):
        names.append(str(tmp_path / f"{cost}.json"))
        Path(names[-1]).write_text(json.dumps(store.to_json(sample_result(cost))))
    assert bench("--compare", *names, cache=tmp_path).returncode == 1
    assert bench("--compare", *reversed(names), cache=tmp_path).returncode == 0


def test_without_a_compiler_it_says_what_is_missing(tmp_path: Path) -> None:
    done = bench("--quick", "--only", "getppid", cache=tmp_path, path=str(tmp_path))
    assert done.returncode == 125
    assert "no C compiler" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--only", "oven"], 2, 'no operation "oven": allowed are fork, vfork'),
        (["--section", "oven"], 2, 'no section "oven": allowed are calls, controls'),
        (["--only", "scrape", "--section", "calls"], 125, "no section has any of the operations"),
        (["--json", "/nowhere/result.json"], 125, "cannot write the result /nowhere/result.json"),
        (["--figures", "/dev/null/figures"], 125, "into /dev/null/figures: Not a directory"),
        (["--figures", "/proc"], 125, "cannot write figures into /proc: "),
        (["--from", "/nowhere/result.json"], 125, "cannot read /nowhere/result.json"),
        (["--compare", "/nowhere/old", "/nowhere/new"], 125, "cannot read /nowhere/old"),
        (["--compare", "a", "b", "--quick"], 2, "--compare measures nothing, so --quick means"),
        (["--from", "a", "--repeat", "3"], 2, "--from measures nothing, so --repeat means"),
        (["--from", "a", "--compare", "a", "b"], 2, "not allowed with argument"),
        (["--repeat", "0"], 2, "allowed are 1 to 10000"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    tmp_path: Path, options: list[str], status: int, said: str
) -> None:
    if "--figures" in options:
        pytest.importorskip("matplotlib")
    done = bench(*options, cache=tmp_path)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_answerer_and_tracer_stop_every_loop_and_pass_the_status_on(programs: Programs) -> None:
    for surrounding in (surroundings.floor(programs), surroundings.tracer(programs)):
        for operation in LOOPS:
            assert surrounding.run(operation, 20) > 0
        with pytest.raises(GovernorError, match="no operation nothing"):
            surrounding.run("nothing", 1)


def test_the_tracer_lets_signals_and_statuses_through(programs: Programs) -> None:
    command = surroundings.tracer(programs)._command[:2]
    for script, status in (("exit 7", 7), ("kill -TERM $$", 128 + 15), ("(exit 3); exit $?", 3)):
        assert subprocess.run([*command, "sh", "-c", script], check=False).returncode == status


def test_the_loop_tells_every_single_operation(programs: Programs) -> None:
    found = surroundings.ungoverned(programs).tell("each", "open", 50)
    assert len(found) == 50
    assert min(found) > 0


def test_all_that_a_sweep_varies_can_be_had_at_once(programs: Programs) -> None:
    shape = Shape(hierarchies=16, depth=2, limits=SOME, groups=3, processes=3)
    with governed.governed(programs, shape) as surrounding:
        for operation in operations.OPERATIONS:
            if surrounding.can(operation.name) and operation is not operations.BUILD:
                assert surrounding.run(operation.name, 1) > 0
        assert len(surrounding.tell("each", "open", 5)) == 5


def test_jobs_of_several_agents_run_at_once(programs: Programs) -> None:
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(governed.governed(programs, Shape())) for _ in range(2)]
        assert crew.Together(sides, 4).run("jobs", 20) > 0
        with pytest.raises(GovernorError, match="ended or does not answer"):
            sides[0].gather("nothing", 1, 1)
        assert sides[0].run("open", 1) > 0


class Record:
    """A site that only writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    start = staticmethod(companion.local)

    def attach(self, pid: int, aside: bool) -> None:
        assert os.path.exists(f"/proc/{pid}")
        self.told.append(aside)

    def assemble(self, pids: Sequence[int]) -> None:
        assert len({*pids}) == operations.CROWD
        self.told.append("assemble")

    def migrate(self) -> None:
        self.told.append("migrate")

    def spawn(self, command: list[str]) -> None:
        self.told.append(command)

    make = read = scrape = migrate


def test_what_is_moved_is_always_moved_somewhere_else(programs: Programs) -> None:
    site = Record()
    with contextlib.closing(Controls(site, programs)) as controls:  # type: ignore[arg-type]
        for operation in ("attach", "migrate", "attach", "migrate"):
            controls.run(operation, 1)
    assert site.told == [True, "assemble", "migrate", False, "migrate"]


def test_a_crowd_is_moved_as_a_whole(programs: Programs) -> None:
    from governor.api import Governor

    with Governor() as governor:
        site = GovernorSite(governor, Shape(depth=1))
        with contextlib.closing(Controls(site, programs)) as controls:
            for crowd in (1, 0):
                controls.run("migrate", 1)
                container = governor.hierarchy("bench1")[f"/crowd{crowd}"]
                assert len(container.tasks) == operations.CROWD


def test_a_build_compiles_all_files_every_time(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(shutil.which("make") is not None, "a build needs make")
    monkeypatch.setattr(project, "FILES", 2)
    site = Record()
    with contextlib.closing(Controls(site, programs)) as controls:  # type: ignore[arg-type]
        controls.run("build", 2)
        (command, again) = site.told
        assert command == again
        for _ in range(2):
            done = subprocess.run([*command, "--no-silent"], capture_output=True, check=True)
            assert done.stdout.count(b" -c ") == 2
    assert not os.path.exists(command[-1])


def test_without_make_only_the_build_is_skipped(cache: Path, tmp_path: Path) -> None:
    for name in ("cc", "true"):
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    options = ("--quick", "--repeat=1", "--only=build,lookup", "--section=build,lookup")
    done = bench(*options, cache=cache, path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "build skipped: make is not installed" in done.stdout
    assert "lookup 10" in done.stdout


def test_a_governor_that_cannot_have_the_shape_says_why(programs: Programs) -> None:
    with (
        governed.governed(programs, Shape(hierarchies=17)) as surrounding,
        pytest.raises(GovernorError, match="bench17"),
    ):
        surrounding.run("open", 1)


def test_a_tool_that_is_not_there_or_does_not_work_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "parallel"
    broken.write_text("#!/bin/sh\necho no bus >&2; exit 9\n")
    broken.chmod(0o755)
    silent = tmp_path / "runexec"
    silent.write_text("#!/bin/sh\necho terminationreason=failed\n")
    silent.chmod(0o755)
    true = shutil.which("true")
    assert true
    (tmp_path / "true").symlink_to(true)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GovernorError, match="cgexec is not installed"):
        spawners.cgexec()
    with pytest.raises(GovernorError, match="parallel ended with 9: no bus"):
        spawners.parallel()
    with pytest.raises(GovernorError, match="runexec ended with 0"):
        spawners.runexec()


def test_a_user_without_a_cache_directory_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    assert helpers.cache_directory() is None
    with helpers.compiled_helpers() as programs:
        assert os.access(programs.loop, os.X_OK)
    assert not os.path.exists(programs.loop)
