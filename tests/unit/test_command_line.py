"""The command line as a whole: help, and mistakes that name what was probably meant."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from governor.cli import COMMANDS, HEADINGS, main

ROOT = Path(__file__).parents[2]


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and the one line of a command line that argparse, or we, refuse."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert isinstance(ended.value.code, int)
    return ended.value.code, errors.rstrip("\n")


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("rnu", 2, "no command 'rnu' (did you mean run?); see 'governor --help'"),
        ("bacth x", 2, "(did you mean batch?)"),
        ("frobnicate", 2, "no command 'frobnicate'; see 'governor --help'"),
        ("--frobnicate", 2, "required: COMMAND"),
        ("run --max-task 3 true", 125, "no option --max-task (did you mean --max-tasks?)"),
        ("ls --jsn", 2, "no option --jsn (did you mean --json?)"),
        ("ls --zz=3", 2, "no option --zz; see 'governor ls --help'"),
        ("ls a b", 2, "no place for 'b'"),
        ("top --sort task", 2, "'task' is none (did you mean tasks?); allowed are name, tasks"),
        ("man rnu", 2, "(did you mean run?)"),
        ("man run --output x", 2, "name no command"),
        ("batch --rep x f", 2, "no option --rep (did you mean --report?)"),
        ("completion csh", 2, "bash, zsh or fish"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], line: str, code: int, words: str) -> None:
    status, said = mistake(capsys, *line.split())
    assert status == code
    assert said.startswith("governor")
    assert words in said


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (2, "")
    assert errors.startswith("usage: governor COMMAND")
    for heading in HEADINGS.values():
        assert f"\n{heading}:\n" in errors


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    output, errors = capsys.readouterr()
    assert (ended.value.code, errors) == (0, "")
    assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize("line", ["--help", "run --help", "man run", "completion bash"])
def test_help_is_the_same_on_every_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """That of Python 3.14 would paint it, and its manual pages, at the price of every start."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with contextlib.suppress(SystemExit):
        main(line.split())
    output, errors = capsys.readouterr()
    assert "governor" in output
    assert "\x1b" not in output + errors


@pytest.mark.parametrize("line", ["--help", "--version", "run --help", "man run"])
def test_what_cannot_be_printed_is_no_success(line: str) -> None:
    command = [sys.executable, "-m", "governor", *line.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "governor: cannot print: No space left on device [ENOSPC]\n"


def test_help_to_somebody_who_reads_no_more_is_fine() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "governor", "run", "--help"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_documents_have_every_command() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    table = text.split("\n`governor --help`")[0]
    assert [name for name in COMMANDS if not re.search(rf"`(governor )?{name}\b", table)] == []
    _, tools = text.split("\n### cgroup-tools beside governor\n")
    named = re.findall(r"`governor (\w+)", tools.split("\n#")[0])
    assert set(named) <= set(COMMANDS)
    assert len(named) > 6
