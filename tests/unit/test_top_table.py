"""Rows of governor top as lines: exactly as wide as the screen, figures that are not wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.results import ContainerReport
from governor.top.model import Figures, Held, Look, Row, View, arrange, measure, nouns
from governor.top.table import (
    bar,
    cell_width,
    cells,
    columns,
    fitted,
    headline,
    percent,
    printable,
    rate,
    short,
    titles,
    to_text,
)

WIDTHS = st.integers(1, 240)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def figures(
    path: str = "/", held: Held | None = None, cpu: float | None = 12.5, cpus: str | None = "0-1"
) -> Figures:
    holds = {"tasks": held or Held(3, 12), "files": Held(2_345_678, None)}
    return Figures("load", path, holds, cpu, 5, 0.5, 5, 0.5, cpus, "enforced", True)


def row(name: str = "load:/", depth: int = 0, hidden: int = 0, **more: object) -> Row:
    return Row(figures(**more), depth, name, True, hidden)  # type: ignore[arg-type]


@given(st.lists(st.tuples(NAMES, st.integers(0, 60)), min_size=1, max_size=4), WIDTHS)
def test_every_line_is_as_wide_as_its_titles(places: list[tuple[str, int]], width: int) -> None:
    rows = [row(name, depth) for name, depth in places]
    table = columns(rows, ["tasks", "files", "terminals"], width)
    widths = {cell_width("".join(cell.text for cell in cells(one, table))) for one in rows}
    widths.add(cell_width("".join(cell.text for cell in titles(table, "name"))))
    assert len(widths) == 1
    assert widths.pop() <= width


def test_at_80_columns_everything_asked_for_is_there() -> None:
    table = columns([row()], ["tasks", "files", "sockets"], 80)
    words = to_text(titles(table, "cpu"))
    assert words.split() == ["CONTAINER", "TASKS", "FILES", "CPU%", "REF/S", "CPUS", "LEVEL"]


def test_narrow_screens_keep_what_matters_most() -> None:
    assert [c.kind for c in columns([row()], ["tasks", "files"], 50)] == [
        "container", "tasks", "files"
    ]  # fmt: skip
    assert [c.kind for c in columns([row()], ["tasks", "files"], 10)] == ["container"]


def test_wide_screens_show_other_resources_and_longer_bars() -> None:
    table = columns([row()], ["tasks", "files", "sockets"], 200)
    assert [c.kind for c in table][:4] == ["container", "tasks", "files", "sockets"]
    assert table[1].bar == 16


def test_in_a_pipe_nothing_is_cut_off() -> None:
    one = row("x" * 300, cpus="0-3,8-11,16-19")
    table = columns([one], ["tasks", "files"], None)
    text = to_text(cells(one, table))
    assert "x" * 300 in text
    assert "0-3,8-11,16-19" in text


def test_without_the_subsystem_there_is_no_column() -> None:
    look = Look(0.0, [ContainerReport("load", "/", {}, {"numtasks.held": 1})])
    rows = arrange(measure(look, None), View())
    table = columns(rows, nouns(one.figures for one in rows), 80)
    assert [c.kind for c in table] == ["container", "tasks", "ref/s", "level"]


def test_a_row_tells_figures() -> None:
    one = row("kernel", 1)
    text = to_text(cells(one, columns([one], ["tasks", "files"], 80), drawn=False))
    assert text.split() == ["-", "kernel", "#...", "3/12", "2.3M", "12.5", "0.5", "0-1", "enforced"]


def test_a_folded_row_says_so() -> None:
    one = row("kernel", hidden=17)
    assert to_text(cells(one, columns([one], [], 60))).startswith("▸ kernel (17)")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (9999, "9999"), (10_000, "10k"), (999_499, "999k"), (999_500, "1.0M"),
        (1_234_567, "1.2M"), (9_949_999, "9.9M"), (9_950_000, "10M"), (2**63 - 1, "9.2E"),
    ],
)  # fmt: skip
def test_short_counts(count: int, text: str) -> None:
    assert short(count) == text


@given(st.integers(0, 2**63))
def test_short_counts_are_short_and_near(count: int) -> None:
    text = short(count)
    assert len(text) <= 4
    factor = 1000 ** " kMGTPE".index(text[-1]) if text[-1].isalpha() else 1
    assert float(text.rstrip("kMGTPE")) * factor == pytest.approx(count, rel=0.051)


@given(st.floats(0, 2), st.integers(1, 30), st.booleans())
def test_bars_are_full_at_the_limit_only(share: float, width: int, drawn: bool) -> None:
    text = bar(share, width, drawn)
    assert len(text) == width
    full = "█" if drawn else "#"
    if drawn or width > 1:
        assert (text == full * width) == (share >= 1)
        assert (text.strip(" .") == "") == (share == 0)


@given(NAMES, WIDTHS, st.booleans())
def test_texts_fit(text: str, width: int, is_right: bool) -> None:
    assert cell_width(fitted(printable(text), width, is_right)) == width


def test_names_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\u202ec\n") == "a�[2Jb�c�"
    assert fitted("日本語", 5) == "日本~"


def test_rates_and_percentages_are_short() -> None:
    assert [rate(0), rate(0.25), rate(12_345)] == ["0", "0.2", "12k"]
    assert [percent(0), percent(99.96), percent(1600)] == ["0.0", "100.0", "1600"]


def test_the_headline_counts() -> None:
    other = figures("/a")._replace(hierarchy="cpu", cpu=None)
    words = headline([figures(cpu=150.0), other], "governor 17")
    assert words == "governor 17  2 containers in load, cpu  cpu 150.0%  refused 10 (1.0/s)"
