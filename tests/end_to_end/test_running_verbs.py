"""The commands on a running governor, what they print and with what they end."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.capabilities import need
from tests.end_to_end.runner import end, heard
from tests.end_to_end.running import Shell
from tests.process.helpers import eventually

pytestmark = pytest.mark.once

A, B = "load:/a", "load:/a/b"


@pytest.fixture
def load(shell: Shell) -> Shell:
    """A running governor with hierarchies load (containers /a, /a/b) and cpu."""
    shell.up("--hierarchy", "load=numtasks", "--hierarchy", "cpu=cpuacct")
    shell.say("mkdir", "-p", B)
    return shell


def told(shell: Shell, *arguments: str) -> Any:
    return json.loads(shell.say(*arguments, "--json"))


@contextmanager
def job(shell: Shell, *options: str, script: str = "exec sleep 1000") -> Iterator[tuple[Any, int]]:
    """A job that runs, and its pid."""
    command = ["run", "--at", *options, "--", "sh", "-c", f"echo $$; {script}"]
    with shell.start(*command) as client:
        try:
            yield client, int(heard(client))
        finally:
            client.terminate()
            end(client, "")


def test_hierarchies(shell: Shell) -> None:
    shell.up()
    shell.say("mount", "load", "numtasks")
    reused = shell.governor("mount", "other", "numtasks")
    assert reused.exit_code == 0
    assert "'load' has just these subsystems" in reused.errors
    shell.say("remount", "load", "numtasks,cpuacct")
    assert shell.say("ls") == "0\nload\n"
    table = shell.say("containers").splitlines()
    assert table[0].split() == ["hierarchy", "mounted", "containers", "groups", "subsystems"]
    assert table[2].split()[:3] == ["load", "yes", "1"]
    assert table[2].split()[-1] == "numtasks,cpuacct"
    assert [one["name"] for one in told(shell, "containers")] == ["0", "load"]
    shell.say("umount", "load")
    assert shell.say("ls") == "0\n"


def test_containers(load: Shell) -> None:
    assert load.say("tree", "load").split() == (
        "load:/ numtasks 0 └── a numtasks 0 └── b numtasks 0".split()
    )
    assert [(one["hierarchy"], one["path"]) for one in told(load, "tree", A)] == [
        ("load", "/a"),
        ("load", "/a/b"),
    ]
    assert load.say("ls", A).splitlines()[0] == "b/"
    assert told(load, "ls", A)["files"]["numtasks.limit"] == {"writable": True, "value": "max"}
    load.say("mv", B, "c")
    assert "drwx  c/" in load.say("ls", "-l", A).splitlines()
    assert load.governor("rmdir", A).errors.endswith("[EBUSY]\n")
    load.say("rmdir", "-r", A)
    assert load.say("tree", "load") == "load:/  numtasks 0\n"


def test_names_that_the_terminal_does_not_know(load: Shell) -> None:
    load.say("mkdir", "load:/\N{LATIN SMALL LETTER U WITH DIAERESIS}")
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    drawn = load.governor("tree", "load", env=env)
    assert drawn.exit_code == 0
    assert drawn.output.splitlines()[-1] == "`-- \\xfc  numtasks 0"


def test_control_files(load: Shell) -> None:
    load.say("set", f"{A}:numtasks.limit=9", f"{B}:numtasks.limit=3")
    assert load.say("get", f"{A}:numtasks.limit") == "9\n"
    assert "numtasks.limit=3" in load.say("get", B).splitlines()
    assert told(load, "get", f"{B}:numtasks.limit") in (3, "3")
    ended = load.governor("set", f"{A}:numtasks.limit=-1", f"{B}:numtasks.limit=4")
    assert ended.exit_code == 1
    assert ended.errors.endswith("[EINVAL]\n")
    assert load.say("get", f"{B}:numtasks.limit") == "3\n"


def test_processes(load: Shell) -> None:
    with job(load, "--in", B) as (client, pid):
        assert load.say("where", str(pid)) == "numtasks:/a/b\ncpuacct:/\n"
        (line,) = told(load, "ps", "-r", A)
        assert (line["pid"], line["containers"]) == (pid, [B])
        assert told(load, "ps", A) == []
        assert load.say("ps").splitlines()[1].split()[0] == str(pid)
        load.say("attach", A, str(pid))
        assert load.say("get", f"{A}:tasks") == f"{pid}\n"
        load.say("attach", "-r", B, A)
        assert load.say("get", f"{B}:tasks") == f"{pid}\n"
        load.say("set", f"{A}:numtasks.limit=1")
        assert load.governor("attach", B, str(pid), "--within-limits").exit_code == 0
        load.say("attach", A, B)
        load.say("kill", "-s", "USR1", A)
        assert client.wait() == 128 + signal.SIGUSR1


def test_rmdir_can_kill(load: Shell) -> None:
    with job(load, "--in", B) as (client, _):
        assert load.governor("rmdir", "-r", A).errors.endswith("[EBUSY]\n")
        load.say("rmdir", "-r", "--kill", A)
        assert client.wait() == 128 + signal.SIGTERM
    assert load.governor("ls", A).exit_code == 1


def test_run_has_streams_exit_code_and_limits(load: Shell) -> None:
    command = ["run", "--at", "--in", A, "--set", f"{A}:numtasks.limit=1", "--"]
    ended = load.governor(*command, "sh", "-c", "cat; echo err >&2; exit 7", input="through")
    assert ended.exit_code != 0
    assert "Cannot fork" in ended.errors
    load.say("set", f"{A}:numtasks.limit=max")
    ended = load.governor(*command[:4], "--", "sh", "-c", "cat; echo err >&2; exit 7", input="to")
    assert ended == (7, "to", "err\n")


def test_what_a_job_leaves_stays_in_its_container(load: Shell) -> None:
    script = "sleep 1000 >/dev/null 2>&1 & echo $!"
    pid = int(load.say("run", "--at", "--in", A, "--", "sh", "-c", script))
    assert [one["pid"] for one in told(load, "ps", A)] == [pid]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_passed_on(load: Shell, number: signal.Signals) -> None:
    with job(load, script="exec sleep 1000") as (client, _):
        client.send_signal(number)
        assert client.wait() == 128 + number


def test_a_timeout_ends_the_job(load: Shell) -> None:
    ended = load.governor("run", "--at", "--timeout", "50ms", "--", "sleep", "1000")
    assert (ended.exit_code, ended.errors) == (124, "governor: sleep timed out\n")


@pytest.mark.parametrize(
    "option",
    [["--max-tasks", "0"], ["--cpus", "0"], ["--hierarchy", "a=numtasks"], ["--report", "x"]],
)
def test_what_is_for_a_governor_of_its_own_is_refused(shell: Shell, option: list[str]) -> None:
    ended = shell.governor("run", "--at", *option, "--", "true")
    assert ended.exit_code == 125
    assert ended.errors.startswith(f"governor: {option[0]} is for a governor of the command's own")


def test_events_are_a_stream_until_ctrl_c(load: Shell) -> None:
    with load.start("events", "--json", "--after", "0", "--kind", "mkdir") as stream:
        assert [json.loads(heard(stream))["path"] for _ in range(2)] == ["/a", "/a/b"]
        load.say("mkdir", f"{B}/c")
        event = json.loads(heard(stream))
        assert (event["hierarchy"], event["path"], event["kind"]) == ("load", "/a/b/c", "mkdir")
        stream.send_signal(signal.SIGINT)
        assert end(stream, "") == (130, "", "")


def test_what_events_may_wait_for_in_vain_is_said(load: Shell) -> None:
    load.say("mkdir", "load:/gone")
    load.say("rmdir", "load:/gone")
    options = ["--in", "load:/gone", "--kind", "rmdri", "--kind", "rmdir"]
    with load.start("events", "--after", "0", *options) as stream:
        assert " rmdir load:/gone" in heard(stream)
        stream.send_signal(signal.SIGINT)
        assert end(stream, "").errors == (
            "governor: no event of governor's own is of kind 'rmdri' (did you mean rmdir?); "
            "waiting for one of a subsystem's\n"
            "governor: no container load:/gone: load:/ has no 'gone'; waiting for it\n"
        )


def test_events_end_when_nobody_reads_them(load: Shell) -> None:
    with load.start("events", "--after", "0") as stream:
        assert " mount load:/" in heard(stream)
        assert stream.stdout is not None
        stream.stdout.close()
        assert stream.wait() == 0, "nothing needs to happen for that"


def test_events_of_a_container_are_those_of_what_is_below_it(load: Shell) -> None:
    load.say("mkdir", "load:/other")
    load.say("run", "--at", "--in", "load:/other", "--", "true")
    load.say("run", "--at", "--in", B, "--", "true")
    with load.start("events", "--after", "0", "--in", "load:/a", "--kind", "job-end") as stream:
        line = heard(stream)
        assert " job-end load:/a/b cpu:/ job=2 name=true pid=" in line
        assert line.endswith(" exit_code=0")
        stream.send_signal(signal.SIGINT)
        assert end(stream, "").exit_code == 130


def test_events_end_with_the_governor(load: Shell) -> None:
    with load.start("events", "--after", "0") as stream:
        heard(stream)
        load.say("down")
        ended = end(stream, "")
    assert (ended.exit_code, ended.errors) == (1, "governor: the supervisor has ended [EIO]\n")


@pytest.mark.parametrize(
    "command",
    [
        ["mkdir"], ["mkdir", "a"], ["set", "a:/b"], ["get", "a"], ["kill", "-s", "NO", "a:/"],
        ["attach", "a:/", "x"], ["attach", "a:/", "1", "a:/b"], ["attach", "-r", "a:/", "1"],
        ["where", "-1"], ["mount", "a", ","], ["ls", "--nope"], ["up", "x"],
        ["completion", "tcsh"], ["down", "--grace", "x"], ["tree", "a", "b"],
        ["events", "--after", "x"],
    ],
)  # fmt: skip
def test_mistakes_are_one_line(shell: Shell, command: list[str]) -> None:
    ended = shell.governor(*command)
    assert (ended.exit_code, ended.output) == (2, "")
    assert ended.errors.startswith("governor")
    assert ended.errors.count("\n") == 1


@pytest.mark.parametrize(
    "command", ["tree", "ps", "containers", "ls -l", "get load:/", "status", "events --after 0"]
)
def test_closed_output_is_no_mistake(load: Shell, command: str) -> None:
    script = f"{sys.executable} -m governor {command} >&-"
    env = {"GOVERNOR_DIR": str(load.directory)}
    with load.runner.command(["sh", "-c", script], env=env) as process:
        assert end(process, "") == (0, "", "")


@pytest.mark.parametrize("command", ["tree", "ps", "containers", "get load:/", "events --after 0"])
def test_full_output_is_said_in_one_line(load: Shell, command: str) -> None:
    script = f"{sys.executable} -m governor {command} >/dev/full"
    env = {"GOVERNOR_DIR": str(load.directory)}
    with load.runner.command(["sh", "-c", script], env=env) as process:
        said = "governor: cannot print: No space left on device [ENOSPC]\n"
        assert end(process, "") == (1, "", said)


def typed(directory: Path) -> None:
    """A command ``governor`` in a directory, for somebody who is in no hurry."""
    patient = "from governor.cli import complete; complete.PATIENCE = 60"
    entry = "from governor.__main__ import entry; entry()"
    script = directory / "governor"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{patient}; {entry}' \"$@\"\n")
    script.chmod(0o755)


def test_bash_completes_from_the_running_governor(load: Shell, tmp_path: Path) -> None:
    typed(tmp_path)
    ask = (
        f"PATH={tmp_path}:$PATH; source <(governor completion bash) && complete -p governor && "
        'for COMP_LINE; do COMP_POINT=${#COMP_LINE}; _governor; echo "${COMPREPLY[*]}"; done'
    )
    lines = [
        "governor get lo",
        "governor get load:/",
        "governor set load:/a:numtasks.l",
        "governor m",
        "governor run -p Tasks",
        "governor run -p TasksMax=in",
        "governor exec -g numt",
        "governor exec -g numtasks:/",
        "governor exec -g numtasks:/a -g numt",
        "governor attach load:/ load:/",
    ]
    with load.runner.command(
        ["bash", "-c", ask, "bash", *lines],
        env={"GOVERNOR_DIR": str(load.directory)},
    ) as process:
        ended = end(process, "")
    assert ended.errors == ""
    assert [line.split() for line in ended.output.splitlines()] == [
        ["complete", "-o", "default", "-F", "_governor", "governor"],
        ["load:/"],
        ["/a"],
        ["numtasks.limit="],
        ["mount", "mkdir", "mv", "man"],
        ["TasksMax="],
        ["infinity"],
        ["numtasks"],
        ["/a"],
        ["numtasks"],
        ["/a"],
    ]


def test_fish_completes_from_the_running_governor(load: Shell, tmp_path: Path) -> None:
    need(which("fish") is not None, "no fish")
    typed(tmp_path)
    ask = "governor completion fish | source; complete -C 'governor get load:/'"
    env = {"GOVERNOR_DIR": str(load.directory), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with load.runner.command(["fish", "--no-config", "-c", ask], env=env) as process:
        assert end(process, "").output.split() == ["load:/a"]


def test_zsh_takes_the_script(shell: Shell, tmp_path: Path) -> None:
    need(which("zsh") is not None, "no zsh")
    script = tmp_path / "_governor"
    script.write_text(shell.say("completion", "zsh"))
    with shell.runner.command(["zsh", "-n", str(script)]) as process:
        assert end(process, "") == (0, "", "")


@pytest.mark.parametrize("detached", [[], ["--detach"]], ids=["here", "detached"])
def test_a_governor_keeps_a_file_of_events(shell: Shell, detached: list[str]) -> None:
    file = shell.runner.directory / "events.jsonl"
    with shell.start("up", "--events", file.name, "--hierarchy", "load=numtasks", *detached) as up:
        heard(up)
        shell.say("run", "--at", "--", "true")
        shell.say("down")
        assert end(up, "").exit_code == 0
    eventually(lambda: '"job-end"' in file.read_text(), "a detached one ends by itself")
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["number"] for event in told] == list(range(1, len(told) + 1))
    assert [event["kind"] for event in told] == ["mount", "job-start", "job-end"]


def test_the_file_of_events_is_said_to_be_wrong_before_anything_starts(shell: Shell) -> None:
    ended = shell.governor("up", "--events", "no/such/file")
    assert (ended.exit_code, ended.output) == (1, "")
    assert ended.errors.endswith("/no/such/file: No such file or directory [ENOENT]\n")
    assert shell.governor("up", "--events", "").exit_code == 2
