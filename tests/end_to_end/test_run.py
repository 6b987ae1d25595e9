"""``governor run`` as a user meets it: exit codes, time, streams and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.runner import DEADLINE, Runner, end, heard
from tests.process.helpers import children, end_agents, eventually, program

WITNESS = """
import os, signal
numbers = {1, 2, 3, 10, 12, 15}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
os.write(1, b"%d\\n" % os.getpid())
while True:
    os.write(1, b"got %d\\n" % signal.sigwait(numbers))
"""
"""Says which signals it gets; only KILL ends it."""

TIDY = """
import signal, sys
signal.sigwait({signal.SIGTERM})
print("tidy")
sys.exit(3)
"""
"""Has to be started with TERM blocked: then it does not matter when that comes."""


# -- exit codes ---------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2, 42, 123, 124, 125, 126, 127, 128, 137, 200, 255])
def test_exit_code_is_the_commands(runner: Runner, code: int) -> None:
    assert runner.run("--", "sh", "-c", f"exit {code}") == (code, "", "")


@pytest.mark.parametrize("name", ["HUP", "INT", "ABRT", "KILL", "SEGV", "PIPE", "TERM", "XFSZ"])
def test_end_by_a_signal_is_128_and_its_number(runner: Runner, name: str) -> None:
    expected = 128 + signal.Signals[f"SIG{name}"]
    assert runner.run("--", "sh", "-c", f"ulimit -c 0; kill -{name} $$") == (expected, "", "")


@pytest.mark.parametrize("command", ["no-such-command", "./none", "/none/at/all", ""])
def test_command_that_is_not_found(runner: Runner, command: str) -> None:
    ended = runner.run("--", command, env={"PATH": os.defpath})
    assert (ended.exit_code, ended.output) == (127, "")
    assert ended.errors == f"governor: cannot run {command}: No such file or directory\n"


def test_command_that_cannot_be_executed(runner: Runner) -> None:
    (runner.directory / "text").write_text("#!/bin/sh\n")
    for command in ("./text", str(runner.directory)):
        ended = runner.run("--", command)
        assert (ended.exit_code, ended.output) == (126, "")
        assert ended.errors == f"governor: cannot run {command}: Permission denied\n"


def test_script_whose_interpreter_is_missing(runner: Runner) -> None:
    script = runner.directory / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert runner.run("--", "./script").exit_code == 127


def test_script_without_an_interpreter_is_the_shells_as_for_env(runner: Runner) -> None:
    script = runner.directory / "script"
    script.write_text("echo $1 $0; exit 3\n")
    script.chmod(0o755)
    assert runner.run("--", "./script", "one") == (3, "one ./script\n", "")


# -- time ---------------------------------------------------------------------------------


def test_timeout_ends_the_job_with_all_its_processes(runner: Runner) -> None:
    ended = runner.run("--timeout", "300ms", "--", "sh", "-c", "setsid sleep 1000 & sleep 1000")
    assert (ended.exit_code, ended.output) == (124, "")
    assert ended.errors.endswith("governor: sh timed out\n")


def test_timeout_ends_a_job_that_ignores_term(runner: Runner) -> None:
    command = ["sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000; sleep 1000"]
    ended = runner.run("--timeout", "0.2s", "--grace", "0.1s", "--", *command)
    assert ended == (124, "", "governor: sh timed out\n")


def test_timeout_ends_a_stopped_job(runner: Runner) -> None:
    ended = runner.run("--timeout", "0.2s", "--", "sh", "-c", "kill -STOP $$")
    assert ended.exit_code == 124


def test_job_may_tidy_up_after_its_timeout(runner: Runner) -> None:
    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    command = ["--timeout", "0.2s", "--grace", "30s", "--", sys.executable, "-c", TIDY]
    ended = runner.run(*command, preexec_fn=block)
    assert (ended.exit_code, ended.output) == (124, "tidy\n")


def test_timeout_that_is_not_met_changes_nothing(runner: Runner) -> None:
    assert runner.run("--timeout", "1d", "--", "sh", "-c", "exit 3") == (3, "", "")


# -- what passes through ------------------------------------------------------------------


def test_streams_pass_through_byte_by_byte(runner: Runner) -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    ended = runner.run("--max-files", "100", "--", "sh", "-c", "tee /dev/stderr", input=text)
    assert ended == (0, text, text)


def test_directory_environment_and_umask_pass_through(runner: Runner) -> None:
    command = ["sh", "-c", "pwd; umask; echo $COLOUR"]
    directory = runner.directory / "a directory"
    directory.mkdir()
    ended = runner.run("--", *command, cwd=directory, env={"COLOUR": "bleu pâle"}, umask=0o027)
    assert ended == (0, f"{directory}\n0027\nbleu pâle\n", "")


def test_directory_may_have_been_removed(runner: Runner) -> None:
    script = "mkdir gone && cd gone && rmdir ../gone && governor run -- echo started"
    assert runner.through(script) == (0, "started\n", "")


def test_arguments_pass_through_untouched(runner: Runner) -> None:
    arguments = ["--report", "", " ", "*", "$HOME", "--", "é", "\udcff", "a\nb", "--max-tasks=3"]
    ended = runner.run("--", "printf", "%s|", *arguments, errors="surrogateescape")
    assert ended.output == "".join(f"{argument}|" for argument in arguments)


def test_options_end_where_the_command_begins(runner: Runner) -> None:
    assert runner.run("--max-tasks", "5", "echo", "--max-tasks", "-1").output == "--max-tasks -1\n"


def test_job_has_the_callers_descriptors_and_none_of_governors(runner: Runner) -> None:
    script = "governor run --max-files 50 -- sh -c 'ls /proc/self/fd; cat <&7' 7<extra"
    (runner.directory / "extra").write_text("extra\n")
    ended = runner.through(script)
    # ls has its streams, the descriptor that was handed on, and the directory itself.
    assert ended == (0, "0\n1\n2\n3\n7\nextra\n", "")


def test_reader_of_the_output_sees_its_end_with_the_job(runner: Runner) -> None:
    assert runner.through("governor run -- echo done | cat") == (0, "done\n", "")


def test_reader_that_goes_away(runner: Runner) -> None:
    script = "{ governor run -- yes; echo $? >&2; } | head -n 1"
    assert runner.through(script) == (0, "y\n", f"{128 + signal.SIGPIPE}\n")


def test_full_disk_is_the_jobs_own_affair(runner: Runner) -> None:
    ended = runner.through("governor run -- sh -c 'echo text || exit 9' >/dev/full")
    assert (ended.exit_code, ended.output) == (9, "")
    assert "governor" not in ended.errors


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(runner: Runner, closed: str) -> None:
    assert runner.through(f"governor run -- sh -c 'exit 6' {closed}") == (6, "", "")


# -- signals ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM"])
def test_signal_reaches_the_job_exactly_once(runner: Runner, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    fence = signal.SIGUSR2 if number == signal.SIGUSR1 else signal.SIGUSR1
    with runner.start("--", sys.executable, "-c", WITNESS) as process:
        job = int(heard(process))
        for _ in range(3):
            process.send_signal(number)
            assert heard(process) == f"got {number}"
            process.send_signal(fence)
            assert heard(process) == f"got {fence}"
        os.kill(job, signal.SIGKILL)
        assert end(process, None) == (128 + signal.SIGKILL, "", "")


def test_signal_that_ends_the_job_gives_its_code(runner: Runner) -> None:
    with runner.start("--", "sh", "-c", "echo ready; exec sleep 1000") as process:
        assert heard(process) == "ready"
        process.send_signal(signal.SIGTERM)
        assert end(process, None) == (128 + signal.SIGTERM, "", "")


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT"])
def test_what_the_caller_ignores_the_job_ignores(runner: Runner, name: str) -> None:
    # As under nohup, or in the background of a script.
    script = f"trap '' {name}; governor run -- sh -c 'kill -{name} $$; echo alive'"
    assert runner.through(script) == (0, "alive\n", "")


def test_kill_of_governor_is_the_end_of_the_job(runner: Runner) -> None:
    with runner.start("--", sys.executable, "-c", WITNESS) as process:
        heard(process)
        process.kill()
        # The end of the job closes its output.
        assert end(process, None).exit_code == -signal.SIGKILL


def test_what_the_job_left_running_ends_with_it(runner: Runner) -> None:
    command = "trap '' TERM; setsid sh -c 'sleep 1000 & sleep 1000' & exit 5"
    ended = runner.run("--", "sh", "-c", command, stdin=subprocess.DEVNULL)
    assert ended.exit_code == 5


def test_death_of_agent_after_agent_is_said_and_ends_the_job(runner: Runner) -> None:
    with runner.start("--max-tasks", "9", "--", program("tasks_puppet")) as process:
        job = int(heard(process).split()[1])
        (supervisor,) = children(process.pid)
        (spawner,) = children(supervisor)
        end_agents(spawner, job)
        process.wait(DEADLINE)
        ended = end(process, None)
    assert ended.exit_code == 125
    reason = "governor: the agent was ended by signal 15, again and again; nothing is enforced any"
    assert reason in ended.errors
    assert all(line.startswith("governor: ") for line in ended.errors.splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_it_starts(runner: Runner, number: signal.Signals) -> None:
    sockets = Path(runner.scratch)
    for _ in range(3):  # wherever the supervisor is by then
        with runner.start("--", "sleep", "1000") as process:
            eventually(lambda: any(sockets.glob("*/*")), "the supervisor is there")
            process.send_signal(number)
            ended = end(process, "")
        assert ended in ((128 + number, "", ""), (-number, "", ""))
        eventually(lambda: not any(sockets.iterdir()), "its directory is gone")
