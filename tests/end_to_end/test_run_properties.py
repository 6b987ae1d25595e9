"""``governor run -p`` and ``--limits``: what systemd calls a limit holds, seen from the job."""

from __future__ import annotations

import json
import os
import resource
import shutil

import pytest

from tests.capabilities import need
from tests.end_to_end.runner import Runner

pytestmark = pytest.mark.once

SHOW = """
import json, os, resource, sys
print(json.dumps({
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "cpus": sorted(os.sched_getaffinity(0)),
    "cwd": os.getcwd(),
    "colour": os.environ.get("COLOUR"),
    "home": os.environ.get("HOME"),
}))
"""
FORKS = "n=0; for i in 1 2 3 4 5 6; do sleep 5 & n=$((n+1)); echo $n; done 2>/dev/null"


@pytest.fixture(autouse=True)
def prlimit() -> None:
    need(shutil.which("prlimit") is not None, "there is no prlimit, of util-linux")


def test_properties_hold(runner: Runner) -> None:
    cpu = min(os.sched_getaffinity(0))
    ended = runner.run(
        "-p", "LimitNOFILE=50:60", "-p", "LimitCORE=0", "-p", f"AllowedCPUs={cpu} {cpu}",
        "-p", "WorkingDirectory=/", "-p", "Environment=COLOUR='dark red'",
        "--", "python3", "-c", SHOW,
    )  # fmt: skip
    assert (ended.exit_code, ended.errors) == (0, "")
    seen = json.loads(ended.output)
    assert (seen["files"], seen["core"], seen["cpus"]) == ([50, 60], [0, 0], [cpu])
    assert (seen["cwd"], seen["colour"]) == ("/", "dark red")
    assert seen["home"] == os.environ.get("HOME")


def test_a_file_of_limits_holds_and_the_report_names_the_command(runner: Runner) -> None:
    (runner.directory / "limits").write_text(
        "[Service]\nTasksMax=3\nLimitNOFILE=64\nnumfiles.limit=1k\nMemoryMax=1G\n"
    )
    ended, report = runner.report("--limits", "limits", "--", "sh", "-c", FORKS)
    # dash ends at the first fork that is refused, bash tries for some seconds.
    assert ended.output.split() == ["1", "2"]
    (job,) = report["jobs"]
    assert (job["name"], job["command"][0]) == ("sh", "sh")
    (files,) = (
        one["files"]
        for one in report["containers"]
        if (one["hierarchy"], one["path"]) == ("load", "/job")
    )
    assert files["numtasks.failcnt"] > 0
    assert (files["numtasks.limit"], files["numfiles.limit"]) == (3, 1000)
    assert files["physpages.limit"] == (1 << 30) // resource.getpagesize()
    assert files["physpages.action"] == "kill"


def test_mistakes_in_a_file_start_nothing(runner: Runner) -> None:
    (runner.directory / "limits").write_text("TaskMax=3\n\nCPUQuota=20%\nSlcie=x\n")
    ended = runner.run("--limits", "limits", "--", "touch", "started")
    assert (ended.exit_code, ended.output) == (125, "")
    first, second, third = ended.errors.splitlines()
    assert first.startswith("governor: limits:1: no property 'TaskMax' (did you mean TasksMax?)")
    assert second.startswith("governor: limits:3: governor has no CPUQuota: ")
    assert third == "governor: limits:4: no property 'Slcie' (did you mean Slice?)"
    assert not (runner.directory / "started").exists()


def test_what_may_not_be_had_starts_nothing(runner: Runner) -> None:
    ended = runner.run("-p", f"LimitNOFILE={2**40}", "--", "touch", "started")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert (ended.exit_code, ended.output) == (125, "")
    assert f"LimitNOFILE may be {most} at most here" in ended.errors
    assert not (runner.directory / "started").exists()


def test_a_command_that_is_not_there(runner: Runner) -> None:
    assert runner.run("-p", "LimitNOFILE=64", "--", "/no/such").exit_code == 127
    assert runner.run("-p", "LimitNOFILE=64", "--", "/").exit_code == 126
