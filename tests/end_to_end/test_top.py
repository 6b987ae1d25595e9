"""``governor top`` without a screen: printed once, again and again, as JSON, into a pipe."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from governor.api import Governor
from governor.top.model import ENDINGS
from tests.end_to_end.runner import Ended, end, heard
from tests.end_to_end.running import Shell
from tests.end_to_end.test_run_terminal import terminal

pytestmark = pytest.mark.once

CROWD = 5000


@pytest.fixture
def busy(shell: Shell) -> Shell:
    """A governor with two hierarchies and a job in both."""
    shell.up("--hierarchy", "load=numtasks,numfiles", "--hierarchy", "cpu=cpuacct")
    shell.say("mkdir", "-p", "load:/builds/kernel", "load:/web", "cpu:/alice")
    shell.say("set", "load:/builds/kernel:numtasks.limit=12")
    with Governor.connect(shell.directory) as governor:
        kernel = governor.hierarchy("load")["/builds/kernel"]
        alice = governor.hierarchy("cpu")["/alice"]
        governor.spawn(["sleep", "1000"], containers=[kernel, alice])
    return shell


def looked(shell: Shell, *arguments: str) -> dict[str, Any]:
    value = json.loads(shell.say("top", "--once", "--json", "--interval", "100ms", *arguments))
    assert isinstance(value, dict)
    return value


def test_once_prints_one_table(busy: Shell) -> None:
    head, titles, *rows = busy.say("top", "--once", "--interval", "0.1").splitlines()
    assert "6 containers in load, cpu" in head
    assert titles.split()[:3] == ["CONTAINER", "TASKS", "FILES"]
    names = [row.replace("▾", "").split()[0] for row in rows]
    assert names == ["load:/", "builds", "kernel", "web", "cpu:/", "alice"]
    assert " 1/12 " in rows[2]


def test_json_has_figures_and_rates(busy: Shell) -> None:
    value = looked(busy)
    found = {(one["hierarchy"], one["path"]): one for one in value["containers"]}
    kernel = found["load", "/builds/kernel"]
    assert kernel["held"]["tasks"] == {"held": 1, "limit": 12}
    assert kernel["held"]["files"]["limit"] is None
    assert (kernel["cpu_percent"], kernel["refused_per_second"]) == (None, 0)
    assert kernel["level"] in ("enforced", "partial", "observed")
    assert found["cpu", "/alice"]["cpu_percent"] >= 0


def test_rows_are_chosen_and_sorted(busy: Shell) -> None:
    paths = [one["path"] for one in looked(busy, "--filter", "kern")["containers"]]
    assert paths == ["/", "/builds", "/builds/kernel"]
    paths = [one["path"] for one in looked(busy, "load", "--flat", "--sort", "tasks")["containers"]]
    assert paths == ["/", "/builds", "/builds/kernel", "/web"]
    assert [one["path"] for one in looked(busy, "cpu")["containers"]] == ["/", "/alice"]


def test_refusals_are_told(busy: Shell) -> None:
    busy.say("set", "load:/web:numtasks.limit=1")
    busy.governor("run", "--at", "--in", "load:/web", "--", "sh", "-c", "(exit 0); exit 0")
    found = {one["path"]: one for one in looked(busy, "load")["containers"]}
    level = found["/web"]["level"]
    assert found["/web"]["refused"] >= 1 or level != "enforced"


def test_in_a_pipe_it_goes_on_until_nobody_reads(busy: Shell) -> None:
    with busy.start("top", "--interval", "100ms") as process:
        heads = 0
        while heads < 2:  # a table, and another
            heads += heard(process).startswith("governor ")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_json_goes_on_as_lines(busy: Shell) -> None:
    with busy.start("top", "--json", "--interval", "100ms") as process:
        first, second = json.loads(heard(process)), json.loads(heard(process))
        assert first["containers"][0]["refused_per_second"] is None
        assert second["containers"][0]["refused_per_second"] == 0
        process.send_signal(signal.SIGINT)
        ended = end(process, None)
    assert (ended.exit_code, ended.errors) == (130, "")


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--sort", "size"], ["--interval", "0"], ["load", "cpu"], ["--filter"]],
)
def test_mistakes_are_one_line(shell: Shell, arguments: list[str]) -> None:
    ended = shell.governor("top", *arguments)
    assert (ended.exit_code, ended.output) == (2, "")
    assert ended.errors.startswith("governor top: ")
    assert ended.errors.count("\n") == 1


def test_no_governor_is_said(shell: Shell) -> None:
    ended = shell.governor("top", "--once")
    assert (ended.exit_code, ended.output) == (3, "")
    assert ended.errors.count("\n") == 1


def test_a_hierarchy_that_is_not_there_is_refused(busy: Shell) -> None:
    ended = busy.governor("top", "--once", "none")
    assert ended == Ended(1, "", "governor: no hierarchy 'none' [ENOENT]\n")


def test_a_governor_that_goes_away_is_the_end(busy: Shell) -> None:
    with busy.start("top", "--interval", "100ms") as process:
        assert heard(process).startswith("governor ")
        busy.say("down")
        ended = end(process, None)
    assert (ended.exit_code, ended.errors) == (1, "governor: the supervisor has ended [EIO]\n")


def test_five_thousand_containers(shell: Shell) -> None:
    shell.up("--hierarchy", "load=numtasks,numfiles")
    with Governor.connect(shell.directory) as governor:
        hierarchy = governor.hierarchy("load")
        for number in range(50):
            top = hierarchy.mkdir(f"/c{number}")
            for below in range(CROWD // 50 - 1):
                top.mkdir(f"d{below}")
        reports = governor.containers(ENDINGS)
    assert {file.rpartition(".")[2] for report in reports for file in report.files} == {
        "held", "limit", "failcnt"
    }  # fmt: skip
    lines = shell.say("top", "--once", "--interval", "100ms").splitlines()
    assert len(lines) == CROWD + 3
    assert lines[0].count("5,001 containers in load") == 1
    assert [line.split()[0] for line in lines[-2:]] == ["d97", "d98"]


def on_terminal(shell: Shell, *command: str) -> Any:
    directory = {"GOVERNOR_DIR": str(shell.directory)}
    assignments = [f"{name}={value}" for name, value in directory.items()]
    return terminal(shell.runner, "env", *assignments, "TERM=xterm", *command)


def test_plain_on_a_terminal_is_cut_to_it(busy: Shell) -> None:
    command = [sys.executable, "-m", "governor", "top", "--plain", "--interval", "100ms"]
    small = ["sh", "-c", 'stty cols 40 rows 6; exec "$@"', "sh"]
    with on_terminal(busy, *small, *command) as screen:
        screen.see("\x1b[H\x1b[J")
        frame = screen.see("\x1b[H\x1b[J").replace("\r\n", "\n").rstrip("\n")
    assert "... and 4 more" in frame
    assert len(frame.splitlines()) <= 6
    assert max(map(len, frame.splitlines())) <= 40


def test_without_the_extra_it_is_plain_and_says_so(busy: Shell) -> None:
    script = (
        "import sys; sys.modules['textual'] = None; "
        "from governor.cli import main; sys.exit(main(['top', '--interval', '100ms']))"
    )
    with on_terminal(busy, sys.executable, "-c", script) as screen:
        screen.see("pip install 'governor[top]'")
        screen.see("load:/")


def test_nothing_of_it_is_imported_by_a_run(shell: Shell) -> None:
    script = (
        "import sys; from governor.cli import build_parser; build_parser(['run']); "
        "import governor.api; print([m for m in sys.modules if 'textual' in m or '.top' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n"
