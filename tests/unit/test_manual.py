"""Manual pages: whole, in the language of man(7), and made of nothing but the parsers."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from governor.cli import COMMANDS, HEADINGS, build_parser, main, manual, properties
from governor.cli.parsers import parser_of
from tests.capabilities import need

ROOT = Path(__file__).parents[2]
REQUESTS = {"TH", "SH", "SS", "TP", "PP", "B", "EX", "EE", "nh", "ad"}
ORDER = """
    NAME SYNOPSIS DESCRIPTION COMMANDS OPTIONS PROPERTIES ENVIRONMENT EXIT-STATUS EXAMPLES SEE-ALSO
"""


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return dict(manual.pages())


@pytest.fixture(scope="module")
def directory(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("man1")
    assert main(["man", "--output", str(directory)]) == 0
    assert {file.name for file in directory.iterdir()} == set(pages)
    return directory


def plain(source: str) -> str:
    """What a reader sees, all on one line."""
    text = re.sub(r"\\f[BIR]|\\&", "", source)
    text = re.sub(r"^\.\w+ ?", "", text, flags=re.M)
    for letters, letter in ((r"\-", "-"), (r"\(aq", "'"), (r"\(ti", "~"), (r"\ ", " ")):
        text = text.replace(letters, letter)
    return " ".join(text.replace(r"\e", "\\").split())


def test_there_is_a_page_for_every_command(pages: dict[str, str]) -> None:
    assert list(pages) == ["governor.1", *(f"governor-{name}.1" for name in COMMANDS)]
    overview = plain(pages["governor.1"])
    for name in COMMANDS:
        assert f"governor-{name}(1)" in overview
    assert HEADINGS.keys() <= COMMANDS.keys()


def test_sections_are_the_usual_ones_in_the_usual_order(pages: dict[str, str]) -> None:
    order = [title.replace("-", " ") for title in ORDER.split()]
    for name, source in pages.items():
        titles = re.findall(r"^\.SH (.*)$", source, re.M)
        assert titles == sorted(titles, key=order.index), name
        assert titles[:3] == order[:3], name
        if name != "governor.1":
            assert {"EXIT STATUS", "SEE ALSO"} <= set(titles), name


def test_only_requests_begin_with_a_dot(pages: dict[str, str]) -> None:
    for name, source in pages.items():
        for line in source.split("\n"):
            assert line[:1] != "'", (name, line)
            assert line[:1] != "." or line[1:].split(" ")[0] in REQUESTS, (name, line)
            assert re.search(r"(?<!\\)-", line) is None or line.startswith(".TH"), (name, line)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_there_with_its_help(pages: dict[str, str], command: str) -> None:
    text = plain(pages[f"governor-{command}.1"])
    for action in parser_of(build_parser([command]), command)._actions:
        if action.help and action.help != argparse.SUPPRESS and action.dest != "help":
            assert " ".join(action.help.split())[1:] in text
            for option in action.option_strings:
                assert option in text


def test_every_exit_status_of_run_is_an_item(pages: dict[str, str]) -> None:
    _, ends = pages["governor-run.1"].split(".SH EXIT STATUS\n")
    items = re.findall(r"^\.TP\n\\fB(\S+)\\fR$", ends.split(".SH")[0], re.M)
    assert items == ["124", "125", "126", "127", "128+n"]


def test_every_property_is_in_the_page_of_run(pages: dict[str, str]) -> None:
    text = plain(pages["governor-run.1"])
    for name in (*properties.PROPERTIES, *properties.REFUSED):
        assert f" {name}" in text


def test_examples_fit_on_a_terminal(pages: dict[str, str]) -> None:
    for name, source in pages.items():
        for example in re.findall(r"^\.EX\n(.*?)^\.EE", source, re.M | re.S):
            for line in example.splitlines():
                assert len(re.sub(r"\\(\(..|.)", "x", line)) <= 80 - 7, (name, line)


def test_they_are_made_without_anything_installed() -> None:
    """As pip makes them, which builds where governor's dependencies are not."""
    script = "from governor.cli import manual; print(len(dict(manual.pages())))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == len(COMMANDS) + 1


@pytest.mark.parametrize(
    "checker", [("mandoc", "-T", "lint"), ("groff", "-man", "-ww", "-z", "-T", "utf8")]
)
def test_formatters_find_nothing_wrong(directory: Path, checker: tuple[str, ...]) -> None:
    need(shutil.which(checker[0]) is not None, f"there is no {checker[0]}")
    files = sorted(map(str, directory.iterdir()))
    done = subprocess.run([*checker, *files], capture_output=True, text=True, check=False)
    # What is matter of taste, as the length of a line, is not wrong.
    said = [line for line in (done.stdout + done.stderr).splitlines() if " STYLE: " not in line]
    assert said == []


def test_the_date_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert "1970-01-02" in manual.page("run").partition("\n")[0]


def test_a_page_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man", "ls"]) == 0
    assert capsys.readouterr().out == manual.page("ls")


def test_a_directory_that_cannot_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man", "--output", "/proc/none"]) == 1
    assert capsys.readouterr().err.startswith("governor: /proc/none: cannot be written: ")
