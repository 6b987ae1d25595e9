"""The showcase, from its command to its report: good jobs finish, bad ones meet their limits.

It takes about a minute, so it runs once for all the tests of this file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.capabilities import need
from tests.process.helpers import PYTHONPATH

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "university.toml"
MARK = "GOVERNOR_TEST_UNIVERSITY"
DEADLINE = 270

pytestmark = [pytest.mark.once, pytest.mark.timeout(DEADLINE + 30)]

Files = dict[str, int | str]


class Outcome(NamedTuple):
    """What a run left: its exit code, output and report, and what it should not have left."""

    exit_code: int
    output: str
    report: dict[str, Any]
    processes: list[int]
    scratch: list[str]

    def containers(self, hierarchy: str) -> dict[str, Files]:
        return {
            container["path"]: container["files"]
            for container in self.report["containers"]
            if container["hierarchy"] == hierarchy
        }


def marked(mark: str) -> list[int]:
    """Return the processes that were started with ``mark`` in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def governor(report: Path, scratch: str, mark: str) -> tuple[int, str]:
    """Run the whole showcase; return its exit code and what it printed."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "governor", "batch", str(FILE), "--jobs=4"),
            *(f"--report={report}", f"--record={report}.record"),
        ],
        env=os.environ | {"PYTHONPATH": PYTHONPATH, "TMPDIR": scratch, MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=DEADLINE)
        except BaseException:
            process.kill()
            raise
    return process.returncode, output


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    mark = uuid.uuid4().hex
    report = tmp_path_factory.mktemp("university") / "report.json"
    # Not pytest's directory: sockets may lie in it, and their paths have to be short.
    with tempfile.TemporaryDirectory(prefix="gov") as scratch:
        try:
            exit_code, output = governor(report, scratch, mark)
            assert report.exists(), output
            found = json.loads(report.read_text())
            yield Outcome(exit_code, output, found, marked(mark), os.listdir(scratch))
        finally:
            for pid in marked(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def enforced(outcome: Outcome, subsystem: str) -> None:
    """Go on only where the host can enforce ``subsystem``."""
    level = outcome.report["enforcement"][subsystem]
    need(level == "enforced", f"{subsystem} is only {level} on this host")


def test_every_job_succeeds(outcome: Outcome) -> None:
    # The bad students' jobs, too: theirs succeed only when they are refused something.
    enforced(outcome, "numtasks")
    enforced(outcome, "numfiles")
    ended = {job["name"]: (job["exit_code"], job["status"]) for job in outcome.report["jobs"]}
    wanted = tomllib.loads(FILE.read_text())["jobs"]
    assert ended == {job["name"]: (0, "ok") for job in wanted}, outcome.output
    assert (outcome.exit_code, outcome.report["exit_code"]) == (0, 0)


def test_fork_bomb_is_held_at_its_limit(outcome: Outcome) -> None:
    enforced(outcome, "numtasks")
    load = outcome.containers("load")
    bob, playground = load["/playground/bob"], load["/playground"]
    assert bob["numtasks.limit"] == bob["numtasks.maxheld"] == 24
    assert int(bob["numtasks.failcnt"]) > 0
    # What bob holds counts above him as well, but it was not there that he was refused.
    assert 24 <= int(playground["numtasks.maxheld"]) <= 32
    assert playground["numtasks.failcnt"] == 0


def test_file_hog_is_held_at_its_limit(outcome: Outcome) -> None:
    enforced(outcome, "numfiles")
    load = outcome.containers("load")
    mallory, playground = load["/playground/mallory"], load["/playground"]
    # A pair of files does not fit where one is left, so the last one may stay unused.
    assert mallory["numfiles.limit"] == 96
    assert 95 <= int(mallory["numfiles.maxheld"]) <= 96
    assert int(mallory["numfiles.failcnt"]) > 0
    assert int(playground["numfiles.maxheld"]) <= 128
    assert playground["numfiles.failcnt"] == 0


@pytest.mark.parametrize("path", ["/builds", "/crunching", "/browsing", "/housekeeping"])
@pytest.mark.parametrize("resource", ["numtasks", "numfiles"])
def test_good_work_is_counted_and_never_refused(outcome: Outcome, path: str, resource: str) -> None:
    files = outcome.containers("load")[path]
    assert files[f"{resource}.failcnt"] == 0
    assert 0 < int(files[f"{resource}.maxheld"]) <= int(files[f"{resource}.limit"])


def test_nothing_is_held_at_the_end(outcome: Outcome) -> None:
    held = {
        (path, name): value
        for path, files in outcome.containers("load").items()
        for name, value in files.items()
        if name.endswith(".held")
    }
    assert held
    assert set(held.values()) == {0}, held


@pytest.mark.parametrize("person", ["/professors/ada", "/professors/grace", "/students/carol"])
def test_cpu_time_of_a_person_is_that_of_the_jobs(outcome: Outcome, person: str) -> None:
    used = sum(
        job["cpu_seconds"] for job in outcome.report["jobs"] if f"cpu:{person}" in job["containers"]
    )
    usage = int(outcome.containers("cpu")[person]["cpuacct.usage"]) / 1e9
    assert used > 0
    assert usage == pytest.approx(used, rel=0.01, abs=0.04)


def test_cpu_time_adds_up_along_the_tree(outcome: Outcome) -> None:
    usage = {path: int(files["cpuacct.usage"]) for path, files in outcome.containers("cpu").items()}
    for group in ("/professors", "/students"):
        members = sum(ns for path, ns in usage.items() if path.startswith(f"{group}/"))
        assert usage[group] == pytest.approx(members, rel=1e-6)


def test_students_compute_on_their_cpu(outcome: Outcome) -> None:
    cpu = outcome.containers("cpu")
    students = [path for path in cpu if path.startswith("/students")]
    assert {cpu[path]["cpuset.cpus"] for path in students} == {"0"}
    assert len(students) == 6


def test_the_table_tells_who_was_refused(outcome: Outcome) -> None:
    for told in ("load:/playground/bob refused", "load:/playground/mallory refused"):
        assert told in outcome.output
    for job in outcome.report["jobs"]:
        assert job["name"] in outcome.output


def test_nothing_is_left_behind(outcome: Outcome) -> None:
    assert outcome.processes == []
    assert outcome.scratch == []
