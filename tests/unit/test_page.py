"""The page of a run: old reports, wrong reports, and nothing in it that was not escaped."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import GovernorError
from governor.page.course import Course, ceiling, courses, percentages, pieces, rises, rounded_up
from governor.page.document import render
from governor.page.element import element, to_html
from governor.page.read import parse, read
from governor.page.timeline import MOST_JOBS
from governor.report import Report

JOB: dict[str, Any] = {
    "name": "build",
    "command": ["make", "-j8"],
    "containers": ["load:/a"],
    "status": "ok",
    "exit_code": 0,
    "signal": None,
    "wall_seconds": 12.5,
    "cpu_seconds": 20.0,
    "timed_out": False,
    "error": None,
    "unenforced": None,
}
FILES = {
    "numtasks.held": 0,
    "numtasks.maxheld": 24,
    "numtasks.limit": 24,
    "numtasks.failcnt": 2316,
    "cpuacct.usage": 61_400_000_000,
}
CONTAINER = {"hierarchy": "load", "path": "/a", "level": {"numtasks": "enforced"}, "files": FILES}
OLD: dict[str, Any] = {
    "exit_code": 1,
    "signal": None,
    "wall_seconds": 102.5,
    "jobs": [JOB],
    "enforcement": {"numtasks": "enforced"},
    "containers": [CONTAINER],
}
"""A report as it was before there were times and samples."""

COURSE = {
    "hierarchy": "load",
    "path": "/a",
    "files": {
        "numtasks.held": [0, 24, 3],
        "numtasks.failcnt": [0, 2316, 2316],
        "cpuacct.usage": [0, 1_000_000_000, None],
    },
}
NEW = {
    **OLD,
    "jobs": [{**JOB, "began_seconds": 0.5}],
    "title": "Nightly",
    "began_at": 1795370177.3,
    "samples": {"seconds": [0, 50.0, 102.5], "containers": [COURSE]},
}


def report(value: dict[str, Any]) -> Report:
    return parse(json.dumps(value))


def changed(value: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**value, **fields}


class Page(HTMLParser):
    """What a browser would make of it: tags, attributes, texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._in_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text += data


# -- reading --------------------------------------------------------------------------------


def test_a_new_report_has_everything() -> None:
    page = Page(render(report(NEW), "file"))
    assert page.tags["svg"] == 2
    for words in ("Nightly", "2026-11-22", "peak 24, limit 24, refused 2,316", "Jobs over time"):
        assert words in page.text
    assert "load:/a refused 2,316 forks at its limit of 24 tasks" in page.text


def test_what_a_job_was_refused_is_remarked() -> None:
    refusal = {"container": "load:/a", "resource": "tasks", "limit": 8, "held": 8, "times": 2}
    page = Page(render(report(changed(NEW, jobs=[{**JOB, "refusals": [refusal]}])), "file"))
    assert "refused tasks at load:/a 2 times (limit 8, held 8)" in page.text


def test_an_old_report_has_what_it_tells() -> None:
    page = Page(render(report(OLD), "file"))
    assert page.tags["svg"] == 0
    assert "over time" not in page.text
    assert "make -j8" in page.text
    assert "refused 2,316 forks" in page.text


def test_the_oldest_keys_are_enough() -> None:
    job = {name: value for name, value in JOB.items() if name != "unenforced"}
    assert "build" in Page(render(report(changed(OLD, jobs=[job])), "file")).text


def test_keys_of_a_newer_governor_do_no_harm() -> None:
    assert report(changed(NEW, more=[1], jobs=[changed(JOB, more=1)])).title == "Nightly"


def test_a_run_without_anything_is_a_page() -> None:
    empty = changed(OLD, jobs=[], containers=[], wall_seconds=0, enforcement={})
    assert "0 of 0" in Page(render(report(empty), "file")).text
    nothing: dict[str, Any] = {"seconds": [], "containers": []}
    assert "0 of 0" in Page(render(report(changed(empty, samples=nothing)), "x")).text


WRONG: dict[str, Any] = {
    "a list": [],
    "nothing": {},
    "no jobs": {name: value for name, value in OLD.items() if name != "jobs"},
    "a job that is a text": changed(OLD, jobs=["make"]),
    "a job without a name": changed(OLD, jobs=[changed(JOB, name=None)]),
    "time before time": changed(OLD, wall_seconds=-1),
    "endless time": changed(OLD, wall_seconds=1e300),
    "no number": changed(OLD, wall_seconds=float("nan")),
    "an unknown level": changed(OLD, enforcement={"numtasks": "maybe"}),
    "a huge figure": changed(OLD, containers=[changed(CONTAINER, files={"x.held": 10**400})]),
    "moments that fall": changed(OLD, samples={"seconds": [2, 1], "containers": []}),
    "too few values": changed(
        NEW, samples={"seconds": [0, 1], "containers": [changed(COURSE, files={"x.held": [1]})]}
    ),
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_what_is_no_report_is_refused(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(value))
    with pytest.raises(GovernorError, match=r"report.json is not a report of governor"):
        read(str(file))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json_is_refused(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(text)
    with pytest.raises(GovernorError, match="is not a report of governor"):
        read(str(file))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(GovernorError, match="No such file"):
        read(str(tmp_path / "none"))


# -- escaping -------------------------------------------------------------------------------

EVIL = "<script>owned('you')</script>\" onload='x' ]]>-->\x00\x1b\ud800&amp;"


def with_words(words: str) -> Report:
    """A report in which everything that can be a text is this one."""
    job = changed(
        JOB, name=words, command=[words], containers=[words], status=words, error=words,
        unenforced=words, began_seconds=1.0,
    )  # fmt: skip
    files = {f"{words}.held": 1, f"{words}.limit": words, f"{words}.failcnt": 3, words: words}
    container = {"hierarchy": words, "path": words, "level": {words: "partial"}, "files": files}
    course = {"hierarchy": words, "path": words, "files": {f"{words}.held": [1, 2]}}
    return report(
        changed(
            OLD, jobs=[job], containers=[container], enforcement={words: "observed"}, title=words,
            samples={"seconds": [0, 1], "containers": [course]},
        )
    )  # fmt: skip


def test_nothing_in_a_report_becomes_markup() -> None:
    page = Page(render(with_words(EVIL), EVIL))
    harmless = Page(render(with_words("words"), "words"))
    assert page.tags == harmless.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in harmless.attributes]
    assert "<script>owned('you')</script>" in page.text


@given(st.text(min_size=1))
def test_no_text_becomes_markup(words: str) -> None:
    page = Page(to_html(element("p", words, element("b", words), words, title=words)))
    assert page.tags == {"p": 1, "b": 1}
    assert [name for name, _ in page.attributes] == ["title"]


def test_the_page_needs_nothing_else() -> None:
    text = render(report(NEW), "file")
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "a"} & page.tags.keys()
    assert not {"src", "href", "onload"} & {name for name, _ in page.attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_a_crowd_of_jobs_has_a_bounded_timeline() -> None:
    jobs = [changed(JOB, name=f"j{n}", began_seconds=1) for n in range(MOST_JOBS + 5)]
    page = Page(render(report(changed(OLD, jobs=jobs)), "file"))
    assert sum(1 for _, value in page.attributes if value == "bar ok") == MOST_JOBS
    assert "5 more are in the table below" in page.text


# -- charts ---------------------------------------------------------------------------------


def test_cpu_is_percent_since_the_moment_before() -> None:
    used = [0, 2_000_000_000, 2_500_000_000, None, 3_000_000_000, 1]
    assert percentages([0, 1, 2, 3, 4, 5], used) == [None, 200, 50, None, None, 0]
    assert percentages([1, 1], [0, 5]) == [None, None]


def test_refusals_are_marked_where_they_rise() -> None:
    assert rises([0, 0, 2, 2, None, 5]) == [2, 5]
    assert rises([1]) == [0]


def test_a_limit_that_is_far_does_not_flatten_the_line() -> None:
    assert ceiling(Course("tasks", "", [10], limit=1000)) == 10
    assert ceiling(Course("tasks", "", [10], limit=24)) == 25


@given(st.floats(0, 1e18))
def test_scales_are_round_and_high_enough(value: float) -> None:
    top = rounded_up(value)
    assert top >= value
    assert top <= max(1.0, value * 2)
    assert top == int(top)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=20),
    st.booleans(),
    st.floats(0, 100),
)
def test_lines_stay_in_the_drawing(values: list[float | None], is_mean: bool, whole: float) -> None:
    course = Course("x", "", values, is_mean=is_mean)
    moments = [float(n) for n in range(len(values))]
    points = [p for piece in pieces(course, moments, whole, ceiling(course)) for p in piece]
    assert all(0 <= x <= 600 and 0 <= y <= 100 for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_courses_are_cpu_first() -> None:
    found = list(courses([0, 50, 102.5], COURSE["files"], FILES))  # type: ignore[arg-type]
    assert [(course.title, course.limit, course.refused) for course in found] == [
        ("CPU", None, 0),
        ("tasks", 24, 2316),
    ]
