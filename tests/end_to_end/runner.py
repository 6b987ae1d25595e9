"""``governor run`` started as a user starts it, and nothing of it left afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.leftovers import Mark
from tests.process.helpers import PYTHONPATH

DEADLINE = 60


class Ended(NamedTuple):
    exit_code: int
    output: str
    errors: str


class Runner:
    """``governor run`` in an empty directory and a session of its own, marked to be found again."""

    def __init__(self, directory: Path, scratch: str, mark: Mark) -> None:
        self.directory = directory
        self.scratch = scratch
        self.mark = mark
        self._environment = {
            **os.environ,
            **mark.environment,
            "PYTHONPATH": PYTHONPATH,
            "XDG_RUNTIME_DIR": scratch,
        }

    def command(self, command: list[str], **keys: Any) -> subprocess.Popen[str]:
        """Start a program in the directory, in a session of its own."""
        environment = {**self._environment, **keys.pop("env", {})}
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        options = {"cwd": self.directory, "text": True, "start_new_session": True, **streams}
        return subprocess.Popen(command, **{**options, **keys}, env=environment)

    def start(self, *arguments: str, **keys: Any) -> subprocess.Popen[str]:
        """Start ``governor run`` with these arguments."""
        return self.command([sys.executable, "-m", "governor", "run", *arguments], **keys)

    def run(self, *arguments: str, input: str = "", **keys: Any) -> Ended:
        """Run it to its end."""
        with self.start(*arguments, **keys) as process:
            return end(process, None if "stdin" in keys else input)

    def through(self, script: str) -> Ended:
        """Run it by a shell script, in which ``governor`` stands for it."""
        command = f'governor() {{ {sys.executable} -m governor "$@"; }}; {script}'
        process = self.command(["sh", "-c", command, "sh"], stdin=subprocess.DEVNULL)
        with process:
            return end(process, None)

    def report(self, *arguments: str) -> tuple[Ended, dict[str, Any]]:
        """Run it with a report, and read that."""
        file = self.directory / "report.json"
        ended = self.run("--report", str(file), *arguments)
        report = json.loads(file.read_text())
        assert isinstance(report, dict)
        return ended, report


def end(process: subprocess.Popen[str], input: str | None) -> Ended:
    try:
        output, errors = process.communicate(input, timeout=DEADLINE)
    except BaseException:
        process.kill()
        raise
    return Ended(process.returncode, output, errors)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    mark = Mark()
    # Not in pytest's directory: sockets lie in it, and their paths have to be short.
    with tempfile.TemporaryDirectory(prefix="gov") as scratch:
        try:
            yield Runner(tmp_path, scratch, mark)
            assert mark.processes() == []
            assert os.listdir(scratch) == []
        finally:
            mark.kill()


def heard(process: subprocess.Popen[str]) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")
