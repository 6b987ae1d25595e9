"""Batch files, and ``governor batch`` started on them as a user starts it."""

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


class Bench:
    """A directory with a batch file, a scratch directory, and governor started on them."""

    def __init__(self, directory: Path, scratch: str, mark: Mark) -> None:
        self.directory = directory
        self.scratch = scratch
        self.report_file = directory / "report.json"
        self.mark = mark
        self.ready = directory / "ready"
        os.mkfifo(self.ready)
        self._environment = {
            **os.environ,
            **mark.environment,
            "PYTHONPATH": PYTHONPATH,
            "TMPDIR": scratch,
            "TERM": "xterm",
        }

    def start(self, text: str, *options: str, **streams: Any) -> subprocess.Popen[str]:
        """Start ``governor batch`` on ``text`` in a process group of its own."""
        (self.directory / "batch.toml").write_text(text)
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "governor",
                "batch",
                str(self.directory / "batch.toml"),
                f"--report={self.report_file}",
                *options,
            ],
            env=self._environment,
            text=True,
            process_group=0,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **streams,
            },
        )

    def run(self, text: str, *options: str) -> Ended:
        """Run ``governor batch`` on ``text`` to its end."""
        return self.end(self.start(text, *options))

    def end(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for the end of ``process``."""
        with process:
            try:
                output, errors = process.communicate(timeout=DEADLINE)
            except BaseException:
                process.kill()
                raise
        return Ended(process.returncode, output, errors)

    def until_ready(self) -> None:
        """Wait until a job has written to the FIFO ``ready``."""
        assert self.ready.read_text() == "ready\n"

    def report(self) -> dict[str, Any]:
        value = json.loads(self.report_file.read_text())
        assert isinstance(value, dict)
        return value

    def statuses(self) -> dict[str, str]:
        return {job["name"]: job["status"] for job in self.report()["jobs"]}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    mark = Mark()
    # Not in pytest's directory: sockets may lie in it, and their paths have to be short.
    with tempfile.TemporaryDirectory(prefix="gov") as scratch:
        try:
            yield Bench(tmp_path, scratch, mark)
            assert mark.processes() == []
            assert os.listdir(scratch) == []
        finally:
            mark.kill()


def job(name: str, command: str, **keys: str) -> str:
    """A job that runs a shell command."""
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(["[[jobs]]", f'name = "{name}"', f"command = '''{command}'''", *lines, ""])


LOAD = """\
[hierarchies.load]
subsystems = ["numtasks", "numfiles"]
[hierarchies.load.containers."/small"]
"numtasks.limit" = 8
"""

HANGS = "echo ready > ready; exec sleep 1000"
