"""What a batch shows on a terminal: a block that fits, goes away, and promises nothing."""

from __future__ import annotations

import re

import pytest

from governor.api import ContainerReport
from governor.batch import progress as shown_by
from governor.batch.bars import BarProgress
from governor.batch.forecast import Forecast
from governor.batch.listener import Now, Running
from governor.batch.progress import LiveProgress
from governor.report import JobReport

FILES: dict[str, int | str] = {
    "numtasks.held": 24,
    "numtasks.maxheld": 24,
    "numtasks.limit": 24,
    "numtasks.failcnt": 2316,
    "numfiles.held": 3,
    "numfiles.limit": "max",
    "numfiles.failcnt": 0,
}
BOB = ContainerReport("load", "/bob", {}, FILES)
KINDS = pytest.mark.parametrize("kind", [LiveProgress, BarProgress])


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(shown_by, "_SHARE", 0)  # a tick draws always


def progress(
    kind: type[LiveProgress],
    written: list[str],
    names: list[str],
    known: dict[str, float] | None = None,
    title: str = "University",
) -> LiveProgress:
    forecast = Forecast(known or {}, 2, {})
    return kind(written.append, len(names), title, lambda: [BOB], names, forecast)


def screen(written: str) -> list[str]:
    """What a terminal shows after ``written``, for the few sequences that the block uses."""
    lines = [""]
    for part in written.replace("\x1b[?25l", "").replace("\x1b[?25h", "").split("\x1b["):
        text = part
        if up := re.match(r"(\d*)A\r?", part):
            text = part[up.end() :]
            lines[-1 - int(up[1] or 1) :] = [""]
        elif part[:1] in ("J", "K"):
            text = part[1:]
        elif painted := re.match(r"[0-9;]*m", part):
            text = part[painted.end() :]
        first, *rest = text.split("\n")
        lines[-1] += first
        lines += rest
    return lines


@KINDS
def test_the_block_is_below_the_lines_and_goes_away(kind: type[LiveProgress]) -> None:
    written: list[str] = []
    running = [Running("build", 0.0, ["load:/bob"]), Running("x" * 99, 0.0, [])]
    with progress(kind, written, ["build", "x" * 99, "last"]) as shown:
        shown.tick(Now(running, 1))
        head, build, long, figures, below = screen("".join(written))
        assert head.startswith("University")
        assert build.strip().startswith("build")
        assert build.rstrip().endswith("load:/bob")
        assert max(map(len, (head, build, long))) <= 59
        assert (figures, below) == ("  load:/bob  tasks 24/24 (2,316 refused)", "")

        shown.finished(JobReport("build", ["make"], [], "ok", 0, None, 4.2))
        shown.tick(Now([], 1))
        assert screen("".join(written))[0] == "[1/3] ok      build 4.2 s"
        assert screen("".join(written))[1].startswith("University")
    assert screen("".join(written)) == ["[1/3] ok      build 4.2 s", ""]
    assert not re.search(r"A\r\x1b\[J", "".join(written)), "which tmux would put into its history"
    assert written[0] == "\x1b[?25l"
    assert written[-1].endswith("\x1b[?25h")


def test_the_headline_says_how_many_jobs_are_where() -> None:
    written: list[str] = []
    shown = progress(LiveProgress, written, ["a", "b", "c"], title="A title with many words")
    shown.finished(JobReport("a", ["x"], [], "failed", 1, None, 4.2))
    shown.tick(Now([Running("b", 0.0, [])], 1, 1))
    [head] = [line for line in screen("".join(written)) if "running" in line]
    assert ": 1 running, 0 ok, 1 failed, 1 left (1 to retry)  " in head
    assert head.startswith("A title ")
    assert len(head) <= 59


def test_a_bar_says_how_many_jobs_are_where() -> None:
    written: list[str] = []
    shown = progress(BarProgress, written, ["a", "b", "c"])
    shown.finished(JobReport("a", ["x"], [], "failed", 1, None, 4.2))
    shown.tick(Now([Running("b", 0.0, [])], 1, 1))
    [head] = [line for line in screen("".join(written)) if "University" in line]
    assert "1/3  1 failed  1 to retry" in head


@KINDS
def test_the_time_that_is_left_is_told_when_it_is_known(
    kind: type[LiveProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    written: list[str] = []
    shown = progress(kind, written, ["a", "b", "c", "d"], {"c": 30.0, "d": 90.0})
    shown.tick(Now([], 4))
    assert "left" not in screen("".join(written))[0].replace("4 left", "")
    for name in "ab":
        shown.finished(JobReport(name, ["x"], [], "ok", 0, None, 4.2))
    written.clear()
    shown.tick(Now([], 2))
    assert "about 1m30s left" in "".join(written)


@KINDS
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 9])
def test_of_many_jobs_as_many_are_shown_as_there_is_room_for(
    kind: type[LiveProgress], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINES", str(rows + 1))
    written: list[str] = []
    names = [f"job-{number}" for number in range(20)]
    shown = progress(kind, written, names)
    shown.tick(Now([Running(name, 0.0, []) for name in names], 0))
    lines = screen("".join(written))[:-1]
    assert len(lines) <= rows
    if rows >= 3:
        others = int(re.findall(r"and (\d+) others", "".join(lines))[0])
        assert sum("job-" in line for line in lines) + others == 20
    if rows >= 5:
        assert "load:/bob" in lines[-1]


@KINDS
def test_a_terminal_of_any_width_will_do(
    kind: type[LiveProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (1, 2, 10, 20, 40, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        written: list[str] = []
        shown = progress(kind, written, ["a" * 90, "b"], {"a" * 90: 7.0, "b": 7.0}, "t" * 90)
        shown.tick(Now([Running("a" * 90, 0.0, ["load:/x"] * 9), Running("b", 0.0, [])], 0))
        assert max(map(len, screen("".join(written)))) <= max(1, columns - 1)


@KINDS
def test_colours_only_where_they_are_wanted(
    kind: type[LiveProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, wanted in {"": True, "1": False}.items():
        monkeypatch.setenv("NO_COLOR", value)
        written: list[str] = []
        shown = progress(kind, written, ["a", "b"])
        shown.finished(JobReport("a", ["x"], [], "failed", 1))
        shown.tick(Now([Running("b", 0.0, [])], 0))
        assert ("\x1b[31m" in "".join(written)) == wanted
        assert bool(re.search(r"\x1b\[[0-9;]*3[1-7]", "".join(written))) == wanted


@KINDS
def test_the_block_stays_while_jobs_end_in_crowds(
    kind: type[LiveProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_by, "_SHARE", 1_000_000)
    written: list[str] = []
    shown = progress(kind, written, ["a", "b"])
    for name in "ab":
        shown.tick(Now([Running("b", 0.0, [])], 0))
        shown.finished(JobReport(name, ["x"], [], "ok", 0, None, 4.2))
    first, second, head, job, *_ = screen("".join(written))
    assert (first[:6], second[:6]) == ("[1/2] ", "[2/2] ")
    assert "University" in head
    assert job.split()[0] == "b"
