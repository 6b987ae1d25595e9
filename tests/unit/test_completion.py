"""What is offered at the end of a command line, without any governor to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from governor.cli import COMMANDS, build_parser
from governor.cli.complete import complete
from governor.cli.completion import SCRIPTS


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOVERNOR_DIR", str(tmp_path / "none"))


def test_every_command_is_offered_and_there() -> None:
    assert complete([""]) == list(COMMANDS)
    for command in COMMANDS:
        assert "--help" in complete([command, "--"])
    assert build_parser([]).format_help().count("\n    ") >= len(COMMANDS)


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("m", ["mount", "mkdir", "mv"]),
        ("--v", ["--version"]),
        ("nonsense ", []),
        ("run --gr", ["--grace"]),
        ("batch --log", ["--logs", "--logs-keep", "--logs-max"]),
        ("check --s", ["--schema"]),
        ("run -- --gr", []),
        ("run --grace 1s --at --ti", ["--timeout"]),
        ("kill -s US", ["USR1", "USR2"]),
        ("kill --signal=US", ["--signal=USR1", "--signal=USR2"]),
        ("mount x numt", ["numtasks"]),
        ("mount x cpuset,numt", ["cpuset,numtasks"]),
        ("mount x a", ["all"]),
        ("mount x all more", []),
        ("completion ", ["bash", "zsh", "fish"]),
        ("get ", []),
        ("get load:/", []),
        ("get load:/a:num", []),
        ("set load:/a:num", []),
        ("umount ", []),
        ("get --dir /nowhere load:/", []),
    ],
)
def test_offers(line: str, offers: list[str]) -> None:
    assert complete(line.split(" ")) == offers


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_ask_for_answers(shell: str) -> None:
    assert "completion answer -- " in SCRIPTS[shell]
