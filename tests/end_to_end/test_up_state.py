"""``governor up --state``: the same command again, whatever has happened."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from governor.api import Governor
from governor.journal.file import JOURNAL
from tests.end_to_end.running import Shell
from tests.process.helpers import DEADLINE, eventually, exists, kill_and_see

pytestmark = pytest.mark.once

LAYOUT = ("--hierarchy", "load=numtasks", "--set", "load:/builds:numtasks.limit=64")


@pytest.fixture
def state(shell: Shell, tmp_path: Path) -> tuple[str, str]:
    return "--state", str(tmp_path / "state")


@contextmanager
def waiting(shell: Shell, gate: Path) -> Iterator[Callable[[], object]]:
    """A job of the governor's that waits and then ends with 7, when what is yielded is called.

    Its supervisor is to be killed in here. A job that is only about to start is lost with that.
    """
    os.mkfifo(gate)
    with shell.start("run", "--at", "--", "sh", "-c", f"echo; read _ <{gate}; exit 7") as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "\n"
        yield lambda: gate.write_text("\n")
        assert job.wait() == 125  # who waited has not seen the end


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
    assert f"the jobs of the last one go on: 'governor up --state {state[1]}'" in down.errors
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
def test_the_directory_that_goes_with_the_governor(shell: Shell, inside: str) -> None:
    """A journal there would go with it, or keep the next one out."""
    ended = shell.governor("up", "--state", str(shell.directory / inside))
    assert ended.exit_code == 1
    assert "choose another for --state [EINVAL]" in ended.errors
    assert not shell.directory.exists()


def test_a_variable_that_is_not_set(shell: Shell) -> None:
    """Everything would be lost one day if that meant to keep nothing."""
    ended = shell.governor("up", "--detach", "--state", "")
    assert (ended.exit_code, ended.output) == (2, "")
    assert "an empty name is no directory" in ended.errors


def test_who_finds_jobs_without_a_supervisor_is_told(shell: Shell, state: tuple[str, str]) -> None:
    pid = shell.up(*state)
    with waiting(shell, Path(state[1]).parent / "gate") as end_it:
        kill_and_see([pid])
    here, command = str(shell.directory), f"governor up --state {state[1]}"
    for elsewhere, words in (({}, command), ({"GOVERNOR_DIR": ""}, f"{command} --dir {here}")):
        ended = shell.governor("status", "--dir", here, env=elsewhere)
        assert ended.exit_code == 3
        assert f"the jobs of the last one go on: '{words}' takes them over" in ended.errors
    shell.up(*state)
    end_it()
    with shell.start("events", "--after", "0", "--kind", "job-end") as events:
        assert events.stdout is not None
        assert events.stdout.readline().endswith(" exit_code=7\n")
        events.terminate()


def test_an_upgrade_in_place(shell: Shell, state: tuple[str, str]) -> None:
    """As in docs/operations.md: the spawner, then the supervisor, then the same command."""
    pid = shell.up(*state)
    with waiting(shell, Path(state[1]).parent / "gate") as end_it:
        before = json.loads(shell.say("status", "--json"))
        kill_and_see([before["spawner"]])
        eventually(lambda: "replaced once" in shell.say("status"), "another spawner is there")
        kill_and_see([pid])
    shell.up(*state)
    after = json.loads(shell.say("status", "--json"))
    names = ("pid", "agent", "spawner")
    assert not {before[name] for name in names} & {after[name] for name in names}
    assert (after["jobs"], after["agent_restarts"], after["spawner_restarts"]) == (1, 0, 0)
    shell.say("run", "--at", "--", "true")
    end_it()
    eventually(lambda: "jobs         0\n" in shell.say("status"), "it has ended")


def test_what_was_lost_is_told_with_a_reason(shell: Shell, state: tuple[str, str]) -> None:
    shell.up(*state)
    script = ["sh", "-c", "echo; exec sleep 600"]
    with shell.start("run", "--at", "--", *script) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "\n"
        status = json.loads(shell.say("status", "--json"))
        assert (status["agent_restarts"], status["spawner_restarts"]) == (0, 0)
        kill_and_see([status["pid"], status["spawner"]])
        assert job.wait() == 125
    shell.up(*state)
    with shell.start("events", "--after", "0", "--kind", "job-end") as events:
        assert events.stdout is not None
        assert "exit_code=125 reason=job sh was lost: its governor died" in (
            events.stdout.readline()
        )
        events.terminate()


def test_damage_is_told_to_who_starts_it(shell: Shell, state: tuple[str, str]) -> None:
    shell.up(*state, *LAYOUT)
    shell.say("down")
    journal = Path(state[1], JOURNAL)
    data = bytearray(journal.read_bytes())
    data[50] ^= 1
    journal.write_bytes(data)
    ended = shell.governor("up", "--detach", *state)
    assert ended.exit_code == 0
    assert "damaged at byte 0: nothing is used, it is in journal.bad-1" in ended.errors
    assert Path(state[1], "journal.bad-1").read_bytes() == data


def test_interrupted_while_it_starts(shell: Shell, state: tuple[str, str]) -> None:
    """Whenever that is, nobody is left behind: it has not begun, or it ends as by 'down'."""
    with shell.start("up", *state, *LAYOUT) as process:
        eventually(lambda: Path(state[1], JOURNAL).exists(), "it starts")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert errors == "governor: ended by SIGINT\n"
    assert shell.governor("status").exit_code == 3
    shell.up(*state, *LAYOUT)
