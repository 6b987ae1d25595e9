"""A governor of ``governor up`` and commands on it, as a user gives them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.runner import Ended, Runner, end
from tests.process.helpers import eventually


class Shell:
    """Where commands are given, none of which knows of the others but by the directory."""

    def __init__(self, runner: Runner, directory: Path) -> None:
        self.runner = runner
        self.directory = directory

    def start(self, *arguments: str, **keys: Any) -> subprocess.Popen[str]:
        """Start ``governor`` with these arguments."""
        command = [sys.executable, "-m", "governor", *arguments]
        env = {"GOVERNOR_DIR": str(self.directory), **keys.pop("env", {})}
        return self.runner.command(command, env=env, **keys)

    def governor(self, *arguments: str, input: str = "", **keys: Any) -> Ended:
        """Give a command and wait for its end."""
        with self.start(*arguments, **keys) as process:
            return end(process, input)

    def say(self, *arguments: str) -> str:
        """Give a command that works; what it prints."""
        ended = self.governor(*arguments)
        assert (ended.exit_code, ended.errors) == (0, ""), ended
        return ended.output

    def up(self, *arguments: str) -> int:
        """Start a governor in the background; its supervisor's pid."""
        self.say("up", "--detach", *arguments)
        return int((self.directory / "pid").read_text())


@pytest.fixture
def shell(runner: Runner) -> Iterator[Shell]:
    shell = Shell(runner, Path(runner.scratch) / "g")
    try:
        yield shell
    finally:
        shell.governor("down")
        (shell.directory / "log").unlink(missing_ok=True)
        if shell.directory.is_dir():
            os.rmdir(shell.directory)
        eventually(lambda: not runner.mark.processes(), "nothing of it runs any more")
