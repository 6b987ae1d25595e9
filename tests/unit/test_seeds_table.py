"""docs/seeds.md: every feature of the seed documents has a row, and every test it names exists."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "seeds.md"
COLUMNS = ("feature", "where", "how governor does it", "what differs and why", "test")
SEEDS = {"000", "001", "002", "003", "004"}
NAMED = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
UNFINISHED = re.compile(r"\b(todo|tbd|fixme|unclear|not yet|row is open)\b|^(open|\?+|-|…)$", re.I)


class Row(NamedTuple):
    """A line of one of the tables."""

    line: int
    cells: list[str]

    @property
    def label(self) -> str:
        return f"line {self.line}: {self.cells[0]}"


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def table_rows() -> list[Row]:
    """All rows but those that head a table or underline its head; the list of seeds apart."""
    lines = enumerate(DOCUMENT.read_text().splitlines(), 1)
    rows = [Row(number, cells_of(line)) for number, line in lines if line.startswith("|")]
    return [
        row
        for row in rows
        if row.cells != list(COLUMNS)
        and not set("".join(row.cells)) <= {"-"}
        and row.cells[0].strip("`") not in {*SEEDS, "seed"}
    ]


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """What a test file defines: functions, classes with their methods, and state machines."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{m.name}" for m in node.body if isinstance(m, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(name for name in found if name.startswith(("test_", "Test")))


def test_there_is_a_row_for_everything() -> None:
    assert len(table_rows()) >= 150
    assert {seed for row in table_rows() for seed in SEEDS if seed in row.cells[1]} == SEEDS


def test_every_row_is_whole() -> None:
    for row in table_rows():
        assert len(row.cells) == len(COLUMNS), row.label
        assert all(row.cells), row.label
        assert not any(UNFINISHED.search(cell) for cell in row.cells), row.label


def test_no_feature_is_told_twice() -> None:
    twice = [name for name, n in Counter(row.cells[0] for row in table_rows()).items() if n > 1]
    assert twice == []


def test_every_row_says_where_it_is_from() -> None:
    for row in table_rows():
        places = re.findall(r"(?<!@)\b(\d{3}) @\d+", row.cells[1])
        assert places, row.label
        assert set(places) <= SEEDS, row.label


def test_every_test_that_is_named_exists() -> None:
    for row in table_rows():
        rest = NAMED.sub("", row.cells[-1])
        assert rest.strip(" ,") == "", f"{row.label}: {rest}"
        named = NAMED.findall(row.cells[-1])
        assert named, row.label
        for path, name in named:
            assert (ROOT / path).is_file(), f"{row.label}: no file {path}"
            assert name in names_in(path), f"{row.label}: no {name} in {path}"


def test_every_page_that_is_named_exists() -> None:
    for page in re.findall(r"\]\(([^)#]+)", DOCUMENT.read_text()):
        assert (DOCUMENT.parent / page).is_file(), page


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("tests/unit/test_forest.py", "TestForest"),
        ("tests/unit/test_seeds_table.py", "test_every_row_is_whole"),
        ("tests/process/test_cpuset.py", "TestRules::test_invalid_lists"),
    ],
)
def test_names_are_found(path: str, name: str) -> None:
    assert name in names_in(path)
    assert name + "x" not in names_in(path)
