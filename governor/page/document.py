"""The page: what came of the run, when what ran, what was held, and everything in tables."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from governor.page.course import chart, courses
from governor.page.element import Element, element, to_html
from governor.page.style import CSS
from governor.page.timeline import status, timeline
from governor.report import OK, JobReport, Report
from governor.results import ContainerReport
from governor.summary import cell, columns_of, number, refusals, unenforced
from governor.units import format_duration

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded and nothing is run, whatever a report brings along."""


def render(report: Report, name: str) -> str:
    """The page of a report that is called ``name`` if it has no title of its own."""
    title = report.title or name
    root = element("html", _head(title), element("body", *_body(report, title)), lang="en")
    return to_html(root)


def _head(title: str) -> Element:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} - governor"),
        element("style", CSS),
    )


def _body(report: Report, title: str) -> Iterator[Element]:
    yield element("h1", title)
    yield element("p", _when(report), class_="muted", style="margin:0")
    yield element("div", *_tiles(report), class_="tiles")
    if notes := [*refusals(report.containers), *unenforced(report)]:
        yield element("h2", "Refused, and not enforced in full")
        yield element("ul", *(element("li", note) for note in notes), class_="card notes")
    if any(job.began_seconds is not None for job in report.jobs):
        yield element("h2", "Jobs over time")
        yield element("div", timeline(report.jobs, report.wall_seconds), class_="card")
    yield from _charts(report)
    if report.jobs:
        yield element("h2", "Jobs")
        yield _table(_JOB_TITLES, map(_job_cells, report.jobs))
    for hierarchy, group in itertools.groupby(report.containers, key=lambda one: one.hierarchy):
        yield element("h2", f"Containers of {hierarchy} at the end")
        yield _container_table(list(group))


def _when(report: Report) -> str:
    if report.began_at is None:
        return "a run of governor"
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.began_at))
    return f"a run of governor, begun {moment}"


# -- what came of it --------------------------------------------------------------------------


def _tiles(report: Report) -> Iterator[Element]:
    """The figures that matter most."""
    good = sum(job.status == OK for job in report.jobs)
    yield _tile(f"{good} of {len(report.jobs)}", "jobs succeeded")
    how = f"ended by signal {report.signal}" if report.signal else f"exit {report.exit_code}"
    yield _tile(format_duration(report.wall_seconds), how)
    yield _tile(format_duration(sum(job.cpu_seconds for job in report.jobs)), "CPU time of jobs")
    refused = sum(
        value
        for container in report.containers
        for name, value in container.files.items()
        if name.endswith(".failcnt") and isinstance(value, int)
    )
    yield _tile(number(refused), "requests refused")


def _tile(figure: str, words: str) -> Element:
    return element(
        "div", element("b", figure), element("span", words, class_="muted"), class_="card"
    )


# -- over time --------------------------------------------------------------------------------


def _charts(report: Report) -> Iterator[Element]:
    """A card of charts for every container that did something."""
    samples = report.samples
    if not samples or len(samples["seconds"]) < 2:
        return
    final = {(one.hierarchy, one.path): one.files for one in report.containers}
    if not samples["containers"]:
        return
    yield element("h2", "Containers over time")
    yield element(
        "p",
        "Each includes what is below it. ",
        element("i", "┄", style="color:var(--timeout)"),
        " limit, where it is near; ",
        element("i", "╷", style="color:var(--failed)"),
        " something was refused",
        class_="muted key",
    )
    for _, group in itertools.groupby(samples["containers"], key=lambda one: one["hierarchy"]):
        cards = (_card(course, samples["seconds"], report, final) for course in group)
        yield element("div", *cards, class_="cards")


def _card(
    course: dict[str, Any],
    seconds: Sequence[float],
    report: Report,
    final: dict[tuple[str, str], dict[str, int | str]],
) -> Element:
    place = course["hierarchy"], course["path"]
    drawn = courses(seconds, course["files"], final.get(place, {}))
    whole = max(report.wall_seconds, seconds[-1])
    charts = [chart(one, seconds, whole) for one in drawn]
    return element("section", element("h3", f"{place[0]}:{place[1]}"), *charts, class_="card")


# -- tables -----------------------------------------------------------------------------------

_JOB_TITLES: Final = {
    "job": False, "status": False, "began": True, "wall": True, "cpu": True, "containers": False,
    "command": False, "remarks": False,
}  # fmt: skip
"""Columns, and whether they are figures."""


def _job_cells(job: JobReport) -> list[Element | str]:
    began = "" if job.began_seconds is None else format_duration(job.began_seconds)
    known = job.exit_code is not None
    return [
        job.name,
        status(job),
        began,
        format_duration(job.wall_seconds) if known else "",
        format_duration(job.cpu_seconds) if known else "",
        " ".join(job.containers),
        element("code", " ".join(job.command)),
        "; ".join(filter(None, _remarks(job))),
    ]


def _remarks(job: JobReport) -> Iterator[str | None]:
    yield job.error
    yield job.unmet
    yield job.skipped
    yield "used up its CPU time" if job.cpu_timed_out else None
    yield f"{len(job.attempts)} attempts" if len(job.attempts) > 1 else None
    yield f"ungoverned: {job.unenforced}" if job.unenforced else None
    yield from (f"refused {refusal}" for refusal in job.refusals)


def _container_table(containers: Sequence[ContainerReport]) -> Element:
    """The columns of the summary on a terminal, with the nouns of resources before them."""
    found = dict(columns_of(containers))
    titles = {"container": False}
    for file, column in found.items():
        titles[f"{column.group} {column.title}".strip() or file] = True
    rows = [
        [one.path, *(cell(file, one.files.get(file, "")) for file in found)] for one in containers
    ]
    return _table(titles, rows)


def _table(titles: dict[str, bool], rows: Iterable[Iterable[Element | str]]) -> Element:
    """A table of the columns that say anything."""
    told = [list(row) for row in rows]
    used = [any(row[n] != "" for row in told) for n in range(len(titles))]
    titles = dict(itertools.compress(titles.items(), used))
    rows = [itertools.compress(row, used) for row in told]
    head = element("tr", *(_cell("th", title, right) for title, right in titles.items()))
    body = [
        element("tr", *map(_cell, itertools.repeat("td"), row, titles.values())) for row in rows
    ]
    table = element("table", element("thead", head), element("tbody", *body))
    return element("div", table, class_="card scroll")


def _cell(tag: str, value: Element | str, right: bool) -> Element:
    return element(tag, value, class_="figure") if right else element(tag, value)
