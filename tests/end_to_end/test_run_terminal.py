"""``governor run`` on a terminal: Ctrl-C, Ctrl-Z and job control are the command's."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from tests.capabilities import need
from tests.end_to_end.runner import DEADLINE, Runner
from tests.end_to_end.running import Shell
from tests.process.helpers import eventually

pytestmark = pytest.mark.once

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""

COUNTER = """
import os, signal, sys, threading
numbers = {2, 3}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
def count():
    while True:
        os.write(1, b"<got %d>" % signal.sigwait(numbers))
threading.Thread(target=count, daemon=True).start()
os.write(1, b"<ready>")
for line in sys.stdin:
    os.write(1, b"<line %s>" % line.strip().encode())
"""

CTRL_C, CTRL_D, CTRL_Z, CTRL_BACKSLASH = "\x03", "\x04", "\x1a", "\x1c"


class Terminal:
    """A terminal with a session on it, and somebody who types and reads."""

    def __init__(self, process: subprocess.Popen[str], master: int) -> None:
        self.process = process
        self._master = master
        self._seen = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def see(self, wanted: str) -> str:
        """Wait until this is on the screen; returns what came before it since the last time."""
        end = time.monotonic() + DEADLINE
        while wanted not in self._seen:
            assert self._read(end - time.monotonic()), f"no {wanted!r} in {self._seen!r}"
        before, _, self._seen = self._seen.partition(wanted)
        return before

    def finish(self) -> int:
        """Read to the end; the exit code of the session's first process."""
        end = time.monotonic() + DEADLINE
        while self._read(end - time.monotonic()):
            pass
        return self.process.wait(DEADLINE)

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self._master)
        self._master = -1

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0, seconds))
        if not ready:
            return False
        try:
            read = os.read(self._master, 65536)
        except OSError:  # how a terminal says that nobody has it open any more
            return False
        self._seen += read.decode(errors="replace")
        return bool(read)

    def close(self) -> None:
        if self._master >= 0:
            os.close(self._master)
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def terminal(runner: Runner, *command: str) -> Iterator[Terminal]:
    """Run a command as the leader of a session on a terminal of its own."""
    master, slave = pty.openpty()
    try:
        process = runner.command(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            **dict.fromkeys(("stdin", "stdout", "stderr"), slave),
            env={"TERM": "dumb", "PS1": "$ ", "HISTFILE": "", "INPUTRC": "/dev/null"},
        )
    finally:
        os.close(slave)
    session = Terminal(process, master)
    try:
        yield session
    finally:
        session.close()


def is_stopped(runner: Runner, name: str) -> bool:
    """Whether the processes of this name stand still, and there is one."""
    states = []
    for pid in runner.mark.processes():
        with contextlib.suppress(OSError):
            known, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
            states += [rest.split()[0]] * (known == name)
    return bool(states) and {*states} == {"T"}


def governed(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "governor", "run", *arguments]


@pytest.fixture
def bash() -> list[str]:
    """An interactive shell that reads nobody's settings."""
    need(which("bash") is not None, "no bash")
    return ["bash", "--norc", "--noprofile", "--noediting", "-i"]


def test_command_has_the_terminal(runner: Runner) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo '<all>' && stty size </dev/tty"
    with terminal(runner, *governed("--max-tasks", "9", "--", "sh", "-c", script)) as session:
        session.see("<all>")
        assert session.finish() == 0


@pytest.mark.parametrize(
    ("key", "number"), [(CTRL_C, signal.SIGINT), (CTRL_BACKSLASH, signal.SIGQUIT)]
)
def test_key_that_sends_a_signal_does_so_once(
    runner: Runner, key: str, number: signal.Signals
) -> None:
    with terminal(runner, *governed("--", sys.executable, "-c", COUNTER)) as session:
        session.see("<ready>")
        for _ in range(3):
            session.type(key)
            session.see(f"<got {number}>")
            session.type("fence\n")
            assert "got" not in session.see("<line fence>")
        session.type(CTRL_D)
        assert session.finish() == 0


def test_ctrl_c_is_not_lost_while_a_command_is_being_started(runner: Runner) -> None:
    for _ in range(5):  # wherever the worker is by then
        with terminal(runner, *governed("--", "sleep", "1000")) as session:
            eventually(lambda: any(Path(runner.scratch).glob("*/*")), "the supervisor is there")
            session.type(CTRL_C)
            assert session.finish() == 130


def test_ctrl_c_ends_a_command_that_does_not_mind(runner: Runner) -> None:
    command = ["sh", "-c", "echo '<ready>'; exec sleep 1000"]
    with terminal(runner, *governed("--max-tasks", "9", "--", *command)) as session:
        session.see("<ready>")
        session.type(CTRL_C)
        assert session.finish() == 128 + signal.SIGINT


def test_signal_from_elsewhere_is_forwarded_on_a_terminal_as_well(runner: Runner) -> None:
    with terminal(runner, *governed("--", sys.executable, "-c", COUNTER)) as session:
        session.see("<ready>")
        session.process.send_signal(signal.SIGINT)
        session.see("<got 2>")
        session.type("fence\n")
        assert "got" not in session.see("<line fence>")
        session.type(CTRL_D)
        assert session.finish() == 0


def test_stop_and_go_on_under_a_shell(runner: Runner, bash: list[str]) -> None:
    with terminal(runner, *bash) as session:
        session.see("$ ")
        session.type(" ".join(governed("--max-files", "50", "--", "cat")) + "\n")
        session.type("one\n")
        session.see("one\r\none\r\n")
        session.type(CTRL_Z)
        session.see("Stopped")
        session.see("$ ")
        # The shell has only waited for governor; until the command stands still, it reads, too.
        eventually(lambda: is_stopped(runner, "cat"), "the command has stopped")
        session.type("echo '<'in between'>'\n")
        session.see("<in between>")
        session.type("fg\n")
        session.see("-- cat\r\n")
        session.type("two\n")
        session.see("two\r\ntwo\r\n")
        session.type(CTRL_D)
        session.see("$ ")
        session.type("echo '<'$?'>'; exit 5\n")
        session.see("<0>")
        assert session.finish() == 5


def test_job_control_of_a_shell_inside(runner: Runner, bash: list[str]) -> None:
    with terminal(runner, *governed("--max-tasks", "20", "--", *bash)) as session:
        session.see("$ ")
        session.type("cat\n")
        session.type("one\n")
        session.see("one\r\none\r\n")
        session.type(CTRL_Z)
        session.see("Stopped")
        session.see("$ ")
        session.type("sleep 1000 & jobs; kill %2\n")
        session.see("Running")
        session.see("$ ")
        session.type("fg %1\n")
        session.see("cat\r\n")
        session.type("two\n")
        session.see("two\r\ntwo\r\n")
        session.type(CTRL_C)
        session.see("$ ")
        session.type("echo '<'$?'>'\n")
        session.see("<130>")
        session.type("(exit 3) | cat; echo '<'${PIPESTATUS[0]}'>'\n")
        session.see("<3>")
        session.type("exit 7\n")
        assert session.finish() == 7


def test_shell_has_its_terminal_back(runner: Runner, bash: list[str]) -> None:
    with terminal(runner, *bash) as session:
        session.see("$ ")
        session.type(" ".join(governed("--", *bash)) + "\n")
        session.see("$ ")
        session.type("exit 4\n")
        session.see("exit\r\n")
        session.see("$ ")
        session.type("echo '<'$?'>'; cat\n")
        session.see("<4>")
        session.type("typed\n")
        session.see("typed\r\ntyped\r\n")
        session.type(CTRL_C)
        session.see("$ ")
        session.type("exit 6\n")
        assert session.finish() == 6


def test_terminal_that_goes_away_ends_the_command(runner: Runner) -> None:
    command = ["sh", "-c", "echo '<ready>'; exec sleep 1000"]
    with terminal(runner, *governed("--", *command)) as session:
        session.see("<ready>")
        session.hang_up()
        assert session.process.wait(DEADLINE) in (128 + signal.SIGHUP, -signal.SIGHUP)


def test_timeout_on_a_terminal(runner: Runner) -> None:
    command = ["sh", "-c", "trap '' TERM INT; sleep 1000 & sleep 1000"]
    options = ["--timeout", "0.2", "--grace", "0.1"]
    with terminal(runner, *governed(*options, "--", *command)) as session:
        session.see("timed out")
        assert session.finish() == 124


def test_background_job_of_a_shell_does_not_take_the_terminal(
    runner: Runner, bash: list[str]
) -> None:
    directory = Path(runner.directory)
    with terminal(runner, *bash) as session:
        session.see("$ ")
        line = " ".join(governed("--", "sh", "-c", "'echo done >result'"))
        session.type(f"{line} & wait $!; echo '<'$?'>'\n")
        session.see("<0>")
        assert (directory / "result").read_text() == "done\n"
        session.type("exit\n")
        assert session.finish() == 0


def test_what_is_typed_reaches_a_job_of_a_running_governor(shell: Shell) -> None:
    shell.up()
    # Ready is what the inner shell is: a key before it is there would be kept for its end.
    script = "trap 'echo \"<told>\"; exit 5' INT; sh -c \"echo '<ready>'; exec sleep 1000\""
    command = governed("--at", str(shell.directory), "--", "sh", "-c", script)
    with terminal(shell.runner, *command) as session:
        session.see("<ready>")
        session.type(CTRL_C)
        # The outer shell is only told when the inner one has been ended as well, by the same key.
        session.see("<told>")
        assert session.finish() == 5
