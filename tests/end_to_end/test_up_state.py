"""``governor up --state``: the same command again, whatever has happened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.end_to_end.running import Shell
from tests.process.helpers import kill_and_see

LAYOUT = ("--hierarchy", "load=numtasks", "--set", "load:/builds:numtasks.limit=64")


@pytest.fixture
def state(shell: Shell, tmp_path: Path) -> tuple[str, str]:
    return "--state", str(tmp_path / "state")


def test_killed_and_started_by_the_same_command(shell: Shell, state: tuple[str, str]) -> None:
    pid = shell.up(*state, *LAYOUT)
    assert f"state           {state[1]}: recorded\n" in shell.say("status")
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
