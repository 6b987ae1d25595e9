"""``governor run``: every mistake is one line, with exit code 125 and nothing started."""

from __future__ import annotations

import socket

import pytest

from tests.end_to_end.runner import Runner

pytestmark = pytest.mark.once

MISTAKES = {
    "negative limit": (["--max-tasks", "-1"], "-1"),
    "limit in words": (["--max-tasks", "many"], "many"),
    "limit with a fraction": (["--max-files", "1.5"], "1.5"),
    "limit beyond all counts": (["--max-files", "9" * 30], "not a count"),
    "CPU that is not there": (["--cpus", "4000"], "4000"),
    "CPU that no machine has": (["--cpus", "99999999"], "99999999"),
    "CPUs in words": (["--cpus", "some"], "some"),
    "no CPUs": (["--cpus", ""], "CPU"),
    "negative time": (["--timeout", "-1"], "-1"),
    "time in words": (["--timeout", "soon"], "soon"),
    "grace in words": (["--grace", "soon"], "soon"),
    "unknown option": (["--max-task", "1"], "--max-task"),
    "option without its value": (["--max-tasks"], "--max-tasks"),
    "hierarchy without subsystems": (["--hierarchy", "load"], "NAME=SUBSYS"),
    "hierarchy with an empty subsystem": (["--hierarchy", "load=numtasks,"], "NAME=SUBSYS"),
    "unknown subsystem": (["--hierarchy", "load=memory"], "memory"),
    "subsystem that is a path": (["--hierarchy", "load=../x"], "../x"),
    "name that is a path": (["--hierarchy", "a/b=numtasks"], "a/b"),
    "subsystem bound twice": (
        ["--hierarchy", "a=numtasks", "--hierarchy", "b=numtasks"],
        "numtasks",
    ),
    "hierarchy given twice": (["--hierarchy", "a=numtasks", "--hierarchy", "a=numfiles"], "'a'"),
    "container of no hierarchy": (["--in", "users:/a"], "users"),
    "container without a hierarchy": (["--in", "/a"], "NAME:/PATH"),
    "container without a path": (["--in", "cpu:a"], "NAME:/PATH"),
    "container called dot dot": (["--in", "cpu:/a/../b"], ".."),
    "two containers of a hierarchy": (["--in", "cpu:/a", "--in", "cpu:/b"], "cpu:/b"),
    "setting without a value": (["--set", "cpu:/a:cpuacct.usage"], "FILE=VALUE"),
    "setting of no hierarchy": (["--set", "users:/a:numtasks.limit=3"], "users"),
    "unknown control file": (["--set", "cpu:/a:cpuacct.limit=3"], "cpuacct.limit"),
    "control file of another hierarchy": (["--set", "cpu:/a:numtasks.limit=3"], "numtasks.limit"),
    "read-only control file": (["--set", "cpu:/a:cpuacct.usage=3"], "cpuacct.usage"),
    "bad value of a control file": (
        ["--hierarchy", "load=numtasks", "--set", "load:/a:numtasks.limit=-3"],
        "numtasks.limit",
    ),
    "report in no directory": (["--report", "/no/such/directory/report"], "/no/such/directory"),
    "report that is a directory": (["--report", "/"], "/"),
    "patience with the agent that is none": (["--agent-timeout", "10ms"], "100ms to 24h"),
    "patience with the agent without end": (["--agent-timeout", "25h"], "100ms to 24h"),
    "port in words": (["--metrics", "http"], "http"),
    "port beyond all ports": (["--metrics", "65536"], "65536"),
}


@pytest.mark.parametrize(("options", "named"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_one_line_and_nothing_is_started(
    runner: Runner, options: list[str], named: str
) -> None:
    ended = runner.run(*options, "--", "touch", "started")
    assert (ended.exit_code, ended.output) == (125, "")
    (line,) = ended.errors.splitlines()
    assert line.startswith("governor")
    assert named in line
    assert not (runner.directory / "started").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["--"], ["--max-tasks", "3"], ["--max-tasks", "3", "--"]]
)
def test_no_command(runner: Runner, arguments: list[str]) -> None:
    ended = runner.run(*arguments)
    assert (ended.exit_code, ended.output) == (125, "")
    (line,) = ended.errors.splitlines()
    assert "command" in line


def test_port_in_use(runner: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        ended = runner.run("--metrics", port, "--", "touch", "started")
    assert (ended.exit_code, ended.output) == (125, "")
    (line,) = ended.errors.splitlines()
    assert port in line
    assert not (runner.directory / "started").exists()


def test_too_few_descriptors(runner: Runner) -> None:
    ended = runner.through("ulimit -n 300; governor run -- touch started")
    assert (ended.exit_code, ended.output) == (125, "")
    (line,) = ended.errors.splitlines()
    assert "512 descriptors" in line
    assert "limit here is 300 (ulimit -Hn)" in line
    assert not (runner.directory / "started").exists()
