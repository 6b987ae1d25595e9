"""Trees and events as text."""

from __future__ import annotations

import re

import pytest

from governor.cli.events import to_text
from governor.cli.listing import draw
from governor.results import ContainerReport, Event


def report(path: str, **files: int | str) -> ContainerReport:
    return ContainerReport("load", path, {}, {k.replace("_", "."): v for k, v in files.items()})


TREE = [
    report("/", x_held=4, x_limit="max"),
    report("/a", x_held=3, x_limit=9),
    report("/a/c"),
    report("/b"),
    report("/b/d"),
]


@pytest.mark.parametrize(
    ("lines", "drawn"),
    [
        (True, ["├── a  x 3/9", "│   └── c", "└── b", "    └── d"]),
        (False, ["|-- a  x 3/9", "|   `-- c", "`-- b", "    `-- d"]),
    ],
)
def test_tree(lines: bool, drawn: list[str]) -> None:
    assert list(draw(TREE, lines)) == ["load:/  x 4", *drawn]


def test_a_branch_begins_with_its_own_path() -> None:
    assert list(draw(TREE[3:])) == ["load:/b", "└── d"]


def test_nothing_is_nothing() -> None:
    assert list(draw([])) == []


def test_events() -> None:
    happened = Event(7, 1234567890.25, "move", "load", "/a", {"pid": 3, "source": "/b"})
    assert re.fullmatch(
        r"2009-02-1[34]T\d\d:\d\d:30\.250 7 move load:/a pid=3 source=/b", to_text(happened)
    )
    assert to_text(Event(8, 0.0, "lost", "", "", {"times": 2})).endswith(" 8 lost - times=2")
