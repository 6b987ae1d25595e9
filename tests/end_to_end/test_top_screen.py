"""``governor top`` on a real terminal of 80 by 24, which tmux keeps."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from shutil import which

import pytest

from tests.capabilities import need
from tests.end_to_end.runner import DEADLINE
from tests.end_to_end.running import Shell
from tests.process.helpers import eventually

pytestmark = pytest.mark.once

COLUMNS, LINES = 80, 24


class Screen:
    """A terminal with a shell that runs ``governor top`` and says how that ended."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._shell = shell
        self._tmux = ["tmux", "-S", os.path.join(shell.runner.scratch, "tmux"), "-f", "/dev/null"]
        top = shlex.join([sys.executable, "-m", "governor", "top", *arguments])
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        self._do("new-session", "-d", *size, f'{top}; echo "<ended $?>"; exec cat')

    def _do(self, *command: str) -> str:
        env = {"GOVERNOR_DIR": str(self._shell.directory), "LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"}
        with self._shell.runner.command([*self._tmux, *command], env=env) as process:
            output, errors = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, errors
        return output

    def press(self, *keys: str) -> None:
        self._do("send-keys", *keys)

    def text(self) -> str:
        return self._do("capture-pane", "-p")

    def see(self, *wanted: str) -> str:
        """The screen, as soon as all of these are on it."""
        end = time.monotonic() + DEADLINE
        while not all(words in (text := self.text()) for words in wanted):
            assert time.monotonic() < end, f"no {wanted} on\n{text}"
        return text

    def pid(self) -> int:
        """The process of ``governor top``."""
        shell = self._do("list-panes", "-F", "#{pane_pid}").strip()
        command = ["ps", "--ppid", shell, "-o", "pid="]
        return int(subprocess.run(command, capture_output=True, text=True).stdout)

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)
        with suppress(FileNotFoundError):  # the server may be removing it just now
            os.unlink(self._tmux[2])


@pytest.fixture
def screen(shell: Shell) -> Iterator[Screen]:
    need(which("tmux") is not None, "tmux is not installed")
    need(which("ps") is not None, "ps is not installed")
    need(importlib.util.find_spec("textual") is not None, "textual is not installed")
    shell.up("--hierarchy", "load=numtasks,numfiles", "--hierarchy", "cpu=cpuacct")
    shell.say("mkdir", "-p", "load:/builds/kernel", "cpu:/alice")
    shell.say("set", "load:/builds/kernel:numtasks.limit=12")
    screen = Screen(shell, "--interval", "200ms")
    try:
        yield screen
    finally:
        screen.close()


def test_it_fits_and_a_limit_is_changed(screen: Screen, shell: Shell) -> None:
    lines = screen.see("kernel", "0/12", "q Quit").split("\n")
    assert lines[1].split()[:3] == ["CONTAINER", "TASKS", "FILES"]
    assert "Kill" in lines[LINES - 1]
    screen.press("Down", "Down")
    screen.press("l")
    screen.see("Set a control file of load:/builds/kernel", "numfiles.limit=max")
    screen.press("C-u")
    screen.press("-l", "numtasks.limit=65")
    screen.press("BSpace", "4", "Enter")
    screen.see("0/64", "q Quit")
    assert shell.say("get", "load:/builds/kernel:numtasks.limit") == "64\n"
    screen.press("q")
    screen.see("<ended 0>")


def test_the_end_of_the_governor_gives_the_terminal_back(screen: Screen, shell: Shell) -> None:
    screen.see("kernel")
    shell.say("down")
    text = screen.see("<ended 1>", "governor: the supervisor has ended [EIO]")
    assert "kernel" not in text
    screen.press("-l", "typed")
    screen.press("Enter")
    eventually(lambda: screen.text().count("typed") == 2, "what is typed is echoed, and repeated")


def test_a_signal_gives_the_terminal_back(screen: Screen) -> None:
    screen.see("kernel")
    os.kill(screen.pid(), 15)
    text = screen.see("<ended 143>")
    assert "kernel" not in text
