"""The job log beside the one GNU parallel writes for the same commands, and read by it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.batches import DEADLINE, Bench, job

pytestmark = [pytest.mark.stress, pytest.mark.once]

COMMANDS = [
    "true",
    "exit 3",
    "echo some output; exit 0",
    "kill -9 $$",
    "kill -TERM $$",
    "no-such-program-at-all",
    "exit 255",
    "echo 'a\tb'",
    "echo a\necho b",
]
TIMES = re.compile(r"\d{10}\.\d{1,3}"), re.compile(r" *\d+\.\d{3}")


@pytest.fixture(autouse=True)
def parallel_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = b""
    if program := shutil.which("parallel"):
        told = subprocess.run([program, "--version"], capture_output=True).stdout
    if not told.startswith(b"GNU parallel"):
        pytest.skip("GNU parallel is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".parallel").mkdir()
    (tmp_path / ".parallel" / "will-cite").touch()


def parallel(directory: Path, commands: list[str], *options: str) -> int:
    """Run GNU parallel in a directory on these commands, or on those of a log if there are none."""
    return subprocess.run(
        ["parallel", *["-0"] * bool(commands), "-j1", *options],
        input="".join(f"{command}\0" for command in commands).encode(),
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=DEADLINE,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "SHELL": "/bin/sh"},
    ).returncode


def batch(commands: list[str]) -> str:
    return "".join(job(f"job-{number}", command) for number, command in enumerate(commands))


def lines(log: Path) -> list[list[str]]:
    return [line.split("\t", 8) for line in log.read_bytes().decode().split("\n")[:-1]]


def test_the_same_commands_give_the_same_log(bench: Bench) -> None:
    theirs, ours = bench.directory / "theirs", bench.directory / "ours"
    parallel(bench.directory, COMMANDS, f"--joblog={theirs}")
    bench.run(batch(COMMANDS), "--jobs=1", f"--joblog={ours}")
    assert lines(ours)[0] == lines(theirs)[0]
    assert len(lines(ours)) == len(COMMANDS) + 1
    for mine, other in zip(lines(ours)[1:], lines(theirs)[1:], strict=True):
        for line in (mine, other):
            assert TIMES[0].fullmatch(line[2])
            assert TIMES[1].fullmatch(line[3])
            assert len(line[3]) == 10
        # All but times and bytes: ours include what goes to standard error.
        assert mine[:2] + mine[4:5] + mine[6:] == other[:2] + other[4:5] + other[6:]


def test_a_timeout_is_written_as_theirs_is(bench: Bench) -> None:
    theirs, ours = bench.directory / "theirs", bench.directory / "ours"
    parallel(bench.directory, ["exec sleep 9"], "--timeout", "1", f"--joblog={theirs}")
    bench.run(job("a", "exec sleep 9", timeout='"500ms"'), f"--joblog={ours}")
    assert lines(ours)[1][6:] == lines(theirs)[1][6:] == ["-1", "15", "exec sleep 9"]


@pytest.mark.parametrize("option", ["--retry-failed", "--resume-failed", "--resume"])
def test_parallel_goes_on_from_a_log_of_ours(bench: Bench, option: str) -> None:
    commands = [f"echo x >> ran-{number}; exit {number}" for number in range(4)]
    log = bench.directory / "log"
    bench.run(batch(commands[:3]), f"--joblog={log}")
    arguments = [] if option == "--retry-failed" else commands
    parallel(bench.directory, arguments, option, f"--joblog={log}")
    files = [bench.directory / f"ran-{number}" for number in range(4)]
    times = [len(file.read_text()) // 2 if file.exists() else 0 for file in files]
    expected = {
        "--retry-failed": [1, 2, 2, 0],
        "--resume-failed": [1, 2, 2, 1],
        "--resume": [1, 1, 1, 1],
    }
    assert times == expected[option]
