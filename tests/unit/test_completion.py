"""What is offered at the end of a command line, without any governor to ask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governor.cli import COMMANDS, build_parser, properties
from governor.cli.complete import complete
from governor.cli.completion import SCRIPTS
from governor.units import parse_cpus


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOVERNOR_DIR", str(tmp_path / "none"))


def test_every_command_is_offered_and_there() -> None:
    assert complete([""]) == list(COMMANDS)
    for command in COMMANDS:
        assert "--help" in complete([command, "--"])
    assert build_parser([]).format_help().count("\n  ") == len(COMMANDS)


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("m", ["mount", "mkdir", "mv", "man"]),
        ("--v", ["--version"]),
        ("nonsense ", []),
        ("run --gr", ["--grace"]),
        ("batch --log", ["--logs", "--logs-keep", "--logs-max"]),
        ("check --s", ["--schema"]),
        ("run -- --gr", []),
        ("run --grace 1s --at --ti", ["--timeout"]),
        ("kill -s US", ["USR1", "USR2"]),
        ("events --kind job", ["job-start", "job-end"]),
        ("kill --signal=US", ["--signal=USR1", "--signal=USR2"]),
        ("mount x numt", ["numtasks"]),
        ("mount x cpuset,numt", ["cpuset,numtasks"]),
        ("mount x a", ["all"]),
        ("mount x all more", []),
        ("completion ", ["bash", "zsh", "fish"]),
        ("man wh", ["where"]),
        ("man --out", ["--output"]),
        ("ex", ["exec"]),
        ("exec --st", ["--sticky"]),
        ("exec -g numt", []),
        ("run --prop", ["--property"]),
        ("run -p Tasks", ["TasksMax="]),
        ("run -p LimitNO", ["LimitNOFILE="]),
        ("run --property=AllowedM", ["--property=AllowedMemoryNodes="]),
        ("run -p TasksMax=in", ["TasksMax=infinity"]),
        ("run -p WorkingDirectory=", []),
        ("run -p numsock.lim", ["numsock.limit="]),
        ("run -p TasksMax=3 -p MemoryM", ["MemoryMax="]),
        ("run --limits ", []),
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


def test_every_process_that_is_to_move_is_offered() -> None:
    own = str(os.getpid())
    for before in ([], ["1"], ["1", "2"], ["--within-limits", "1"]):
        assert own in complete(["attach", "load:/a", *before, own])
    assert complete(["where", own, own]) == []


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_ask_for_answers(shell: str) -> None:
    assert "completion answer -- " in SCRIPTS[shell]


def test_the_cpus_that_may_be_used_are_offered() -> None:
    (offer,) = complete(["run", "-p", "AllowedCPUs="])
    assert parse_cpus(offer.removeprefix("AllowedCPUs=")) == os.sched_getaffinity(0)


def test_every_property_is_offered() -> None:
    offers = complete(["run", "-p", ""])
    assert offers == [f"{name}=" for name in properties.PROPERTIES]
