"""``governor up --state``: the same command again, whatever has happened."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from governor.api import Governor
from tests.end_to_end.running import Shell
from tests.process.helpers import eventually, exists, kill_and_see

LAYOUT = ("--hierarchy", "load=numtasks", "--set", "load:/builds:numtasks.limit=64")


@pytest.fixture
def state(shell: Shell, tmp_path: Path) -> tuple[str, str]:
    return "--state", str(tmp_path / "state")


def test_killed_and_started_by_the_same_command(shell: Shell, state: tuple[str, str]) -> None:
    pid = shell.up(*state, *LAYOUT)
    assert ["state", f"{state[1]}:", "recorded"] in map(str.split, shell.say("status").split("\n"))
    shell.say("mkdir", "load:/builds/kernel")
    kill_and_see([pid])
    assert shell.up(*state, *LAYOUT) != pid
    assert shell.say("get", "load:/builds:numtasks.limit").strip().endswith("64")
    shell.say("rmdir", "load:/builds/kernel")
    shell.say("down")
    shell.up(*state)
    assert "kernel" not in shell.say("tree")
    assert shell.say("get", "load:/builds:numtasks.limit").strip().endswith("64")


def test_what_contradicts_the_state_is_refused(shell: Shell, state: tuple[str, str]) -> None:
    shell.up(*state, *LAYOUT)
    shell.say("down")
    for other, words in (
        ("load=numtasks,numfiles", "hierarchy 'load' is in the state with numtasks"),
        ("load=numtasks", "numtasks.limit of load:/builds is 64 in the state, and is to be 65"),
    ):
        layout = ("--hierarchy", other, "--set", "load:/builds:numtasks.limit=65")
        ended = shell.governor("up", "--detach", *state, *layout)
        assert ended.exit_code == 1
        assert words in ended.errors
    shell.up(*state)
    assert shell.say("get", "load:/builds:numtasks.limit").strip().endswith("64")


def test_a_directory_that_is_not_ours_alone(shell: Shell, state: tuple[str, str]) -> None:
    os.mkdir(state[1])
    os.chmod(state[1], 0o755)
    ended = shell.governor("up", *state)
    assert ended.exit_code == 1
    assert "must have mode 700" in ended.errors
    assert os.listdir(state[1]) == []


def sleeper(shell: Shell) -> int:
    """A job that runs; its pid."""
    with Governor.connect(shell.directory) as gov:
        return gov.spawn(["sleep", "1000"], name="sleeper").pid


def codes(shell: Shell) -> dict[str, int | None]:
    with Governor.connect(shell.directory) as gov:
        return {report.name: report.exit_code for report in gov.jobs()}


def test_a_start_that_is_refused_costs_no_job(shell: Shell, state: tuple[str, str]) -> None:
    """Whatever it is that the command line asks for and cannot have."""
    pid = shell.up(*state, *LAYOUT)
    job = sleeper(shell)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for wrong in (
            ("--set", "load:/builds:numtasks.limit=65"),
            ("--hierarchy", "load=numfiles"),
            ("--metrics", port),
        ):
            kill_and_see([pid])
            assert shell.governor("up", "--detach", *state, *wrong).exit_code == 1, wrong
            pid = shell.up(*state, *LAYOUT)
            assert (exists(job), codes(shell)) == (True, {"sleeper": None}), wrong


def test_up_is_killed(shell: Shell, state: tuple[str, str]) -> None:
    """The governor goes on, is there for all, and is ended by ``down`` as ever."""
    with shell.start("up", *state, *LAYOUT) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline().split()[-1])
        job = sleeper(shell)
        owner.kill()
    ended = shell.governor("up", *state)
    assert (ended.exit_code, exists(pid)) == (1, True)
    assert f"a governor runs at {shell.directory} already: process {pid}" in ended.errors
    assert codes(shell) == {"sleeper": None}
    shell.say("down")
    eventually(lambda: not exists(job), "the job is ended")
    assert not shell.directory.exists()
    shell.up(*state, *LAYOUT)
    assert codes(shell) == {"sleeper": 128 + signal.SIGTERM}


def test_up_and_supervisor_are_killed(shell: Shell, state: tuple[str, str]) -> None:
    with shell.start("up", *state, *LAYOUT) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline().split()[-1])
        job = sleeper(shell)
        owner.kill()
        kill_and_see([pid])
    down = shell.governor("down")
    assert (down.exit_code, exists(job)) == (3, True)
    assert f"goes on: so does 'governor up --state {state[1]}' with it" in down.errors
    other = shell.governor("up", "--detach")
    assert (other.exit_code, exists(job)) == (1, True)
    shell.up(*state, *LAYOUT)
    assert codes(shell) == {"sleeper": None}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whose", ["up", "supervisor"])
def test_up_is_told_to_end(
    shell: Shell, state: tuple[str, str], number: signal.Signals, whose: str
) -> None:
    """Jobs end; trees and limits are there the next time."""
    with shell.start("up", *state, *LAYOUT) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline().split()[-1])
        job = sleeper(shell)
        os.kill(owner.pid if whose == "up" else pid, number)
        assert owner.wait(30) == 0
    assert (exists(job), shell.directory.exists()) == (False, False)
    shell.up(*state)
    assert codes(shell) == {"sleeper": 128 + signal.SIGTERM}
    assert shell.say("get", "load:/builds:numtasks.limit").strip().endswith("64")


@pytest.mark.parametrize("inside", ["", "state", "a/b"])
def test_the_state_is_not_kept_among_the_sockets(shell: Shell, inside: str) -> None:
    """It would go with them, or be taken for something else the next time."""
    ended = shell.governor("up", "--detach", "--state", str(shell.directory / inside))
    assert ended.exit_code == 1
    assert "keep the state elsewhere" in ended.errors
    assert not shell.directory.exists()
