"""Properties of a command line: names, the file, what wins, and the table of the documents."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from governor.cli import build_parser, limits, properties
from governor.errors import GovernorError

ROOT = Path(__file__).parents[2]


def applied(*arguments: str) -> argparse.Namespace:
    """A command line of ``governor run`` with its properties put where its options are."""
    line = ["run", *arguments, "--", "true"]
    args = build_parser(line).parse_args(line)
    limits.apply(args)
    return args


def settings(args: argparse.Namespace) -> dict[str, object]:
    return {setting.file: setting.value for setting in args.settings}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "limits"


def test_options_take_what_properties_say() -> None:
    args = applied(
        "-pTasksMax=64", "-p", "AllowedCPUs=0-1,3 5", "--property=RuntimeMaxSec=5min 20s",
        "-p", "TimeoutStopSec=500ms", "-p", "numfiles.limit=4k",
    )  # fmt: skip
    assert (args.max_tasks, args.cpus, args.timeout, args.grace) == (64, "0-1,3,5", 320, 0.5)
    assert (args.max_files, args.prefix, args.env, args.cwd) == ("4k", [], None, None)


def test_memory_is_in_pages_and_kills() -> None:
    page = 4096
    memory = settings(applied("-p", f"MemoryMax={page * 1000}"))
    assert set(memory) == {"physpages.limit", "physpages.action"}
    assert memory["physpages.action"] == "kill"
    own = settings(applied("-p", "MemoryMax=1G", "-p", "physpages.action=stop"))
    assert own["physpages.action"] == "stop"
    assert settings(applied("-p", "physpages.limit=5")) == {"physpages.limit": "5"}


def test_variables_gather_and_are_forgotten() -> None:
    args = applied("-p", "Environment=A=1 'B=x y'", "-p", "Environment=C==")
    assert {name: args.env[name] for name in "ABC"} == {"A": "1", "B": "x y", "C": "="}
    args = applied("-p", "Environment=QQ=1", "-p", "Environment=", "-p", "Environment=RR=2")
    assert ("QQ" in args.env, args.env["RR"]) == (False, "2")


def test_limits_of_each_process_are_set_by_a_program() -> None:
    program, *options = applied("-p", "LimitNOFILE=64:128", "-p", "LimitCORE=0").prefix
    assert program.endswith("/prlimit")
    assert options == ["--nofile=64:128", "--core=0:0", "--"]


def test_the_last_assignment_counts_and_an_empty_one_takes_back() -> None:
    assert applied("-p", "TasksMax=3", "-p", "TasksMax=4").max_tasks == 4
    assert applied("-p", "TasksMax=3", "-p", "TasksMax=").max_tasks is None


def test_the_file_gives_way_to_the_command_line(file: Path) -> None:
    file.write_text(
        "# of all\n[Unit]\nDescription=nothing\n\n[Service]\nTasksMax=3\nRuntimeMaxSec=9\n"
        "; of some\n  LimitNOFILE = 64\nEnvironment=A=1 B=1\nAllowedCPUs=0\n"
    )
    args = applied(
        "--limits", str(file), "--max-tasks", "5", "-p", "RuntimeMaxSec=infinity",
        "-p", "Environment=B=2",
    )  # fmt: skip
    assert (args.max_tasks, args.timeout, args.cpus) == (5, None, "0")
    assert (args.env["A"], args.env["B"]) == ("1", "2")
    assert "--nofile=64:64" in args.prefix


def test_every_mistake_of_the_file_is_told_with_its_line(file: Path) -> None:
    file.write_text("TasksMax=4k\nAllowedCPUs=0\n[Socket]\nCPUQuota=5%\nTaskMax=1\nwords\n")
    with pytest.raises(GovernorError) as caught:
        applied("--limits", str(file))
    lines = caught.value.message.split("\n")
    places = [line.removeprefix("governor: ").partition(": ")[0] for line in lines]
    assert places == [f"{file}:{number}" for number in (1, 3, 4, 5, 6)]
    assert "did you mean TasksMax?" in caught.value.message


@pytest.mark.parametrize("content", [None, b"\xff\n"])
def test_a_file_that_cannot_be_read(file: Path, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(GovernorError, match=str(file)):
        applied("--limits", str(file))


def test_one_limit_given_twice_is_refused() -> None:
    with pytest.raises(GovernorError, match=r"TasksMax and --max-tasks"):
        applied("--max-tasks", "3", "-p", "TasksMax=4")
    assert applied("--max-tasks", "3", "-p", "TasksMax=3").max_tasks == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TasksMax", "NAME=VALUE"),
        ("=3", "NAME=VALUE"),
        ("tasksmax=3", "did you mean TasksMax"),
        ("CPUQuota=20%", "AllowedCPUs"),
        ("Nice=5", "nice -n"),
        ("numtask.limit=3", "no subsystem 'numtask'"),
        ("numtasks.limits=3", "did you mean numtasks.limit"),
        ("numtasks.held=3", "read-only"),
        ("numtasks.limit=x", "numtasks.limit"),
        ("WorkingDirectory=sub", "absolute"),
        ("WorkingDirectory=/no/such", "/no/such"),
        ("TimeoutStopSec=infinity", "infinity"),
        ("MemoryMax=1", "page"),
        ('Environment="A', "quotation"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        properties.parse(text)


def rows(heading: str) -> list[tuple[str, ...]]:
    """The rows of the table below a heading of the page on the command line."""
    _, text = (ROOT / "docs/cli.md").read_text().split(f"\n{heading}\n")
    table = text.split("\n#", 1)[0]
    found = [
        tuple(re.split(r" *(?<!\\)\| *", line.strip().strip("|").strip()))
        for line in table.split("\n")
        if line.startswith("| `")
    ]
    return found


def test_the_documents_have_every_property_as_it_is() -> None:
    documented = [row for row in rows("### Properties") if len(row) == 4]
    assert documented == [
        (f"`{one.name}`", one.meaning, one.does, one.difference)
        for one in properties.PROPERTIES.values()
    ]


def test_the_documents_have_every_property_that_is_refused() -> None:
    documented = [row for row in rows("### Properties") if len(row) == 2]
    reasons: dict[str, list[str]] = {}
    for name, why in properties.REFUSED.items():
        reasons.setdefault(why, []).append(f"`{name}`")
    assert documented == [(", ".join(names), why) for why, names in reasons.items()]
