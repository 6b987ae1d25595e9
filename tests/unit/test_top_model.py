"""What governor top makes of two looks: rates, totals, and rows in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.results import ContainerReport
from governor.top.model import (
    ROOT,
    Figures,
    Held,
    Look,
    Row,
    View,
    arrange,
    hierarchies,
    measure,
    nouns,
    parent,
    sorts,
)

LEVEL = {"numtasks": "enforced"}


def report(path: str, hierarchy: str = "load", **files: Any) -> ContainerReport:
    named = {name.replace("_", ".", 1): value for name, value in files.items()}
    return ContainerReport(hierarchy, path, LEVEL, named)


def by_path(found: list[Figures]) -> dict[str, Figures]:
    return {figures.path: figures for figures in found}


def paths(rows: list[Row]) -> list[str]:
    return [row.figures.path for row in rows]


# -- figures ------------------------------------------------------------------------------


def test_rates_are_of_the_time_between_two_looks() -> None:
    before = Look(10.0, [report("/", cpuacct_usage=1_000_000_000, numtasks_failcnt=5)])
    now = Look(12.0, [report("/", cpuacct_usage=4_000_000_000, numtasks_failcnt=11)])
    (figures,) = measure(now, before)
    assert (figures.cpu, figures.refusals, figures.refused) == (150.0, 3.0, 11)


def test_the_first_look_has_no_rates() -> None:
    (figures,) = measure(Look(1.0, [report("/", cpuacct_usage=1, numtasks_failcnt=5)]), None)
    assert (figures.cpu, figures.refusals, figures.refused) == (None, None, 5)


def test_looks_at_one_moment_have_no_rates() -> None:
    look = Look(1.0, [report("/", cpuacct_usage=1, numtasks_failcnt=5)])
    assert measure(look, look)[0].cpu is None


def test_a_figure_that_has_fallen_is_no_negative_rate() -> None:
    before = Look(0.0, [report("/", cpuacct_usage=9, numtasks_failcnt=9)])
    (figures,) = measure(Look(1.0, [report("/", cpuacct_usage=3, numtasks_failcnt=0)]), before)
    assert (figures.cpu, figures.refusals) == (0.0, 0.0)


def test_a_new_container_has_no_rates_yet() -> None:
    now = Look(1.0, [report("/", numtasks_failcnt=1), report("/a", numtasks_failcnt=1)])
    found = by_path(measure(now, Look(0.0, [report("/", numtasks_failcnt=1)])))
    assert (found["/"].refusals, found["/a"].refusals) == (0.0, None)


def test_resources_have_limits_where_there_are_any() -> None:
    tasks: dict[str, Any] = {"numtasks_held": 3, "numtasks_limit": 8}
    sockets: dict[str, Any] = {"numsock_held": 1, "numsock_limit": "max"}
    (figures,) = measure(Look(0.0, [report("/", **tasks, **sockets)]), None)
    assert figures.held == {
        "tasks": Held(3, 8, "numtasks.limit"),
        "sockets": Held(1, None, "numsock.limit"),
    }


def test_refusals_below_are_added_up() -> None:
    reports = [
        report("/", numtasks_failcnt=1),
        report("/a", numtasks_failcnt=2, numfiles_failcnt=4),
        report("/a/b", numtasks_failcnt=8),
        report("/c", numtasks_failcnt=0),
        report("/", "other", numtasks_failcnt=16),
    ]
    found = measure(Look(0.0, reports), None)
    assert [figures.all_refused for figures in found] == [15, 14, 8, 0, 16]
    assert [figures.refused for figures in found] == [1, 6, 8, 0, 16]


def test_the_worst_level_is_shown() -> None:
    mixed = ContainerReport("load", "/", {"a": "enforced", "b": "observed", "c": "partial"}, {})
    assert measure(Look(0.0, [mixed]), None)[0].level == "observed"


def test_every_kind_of_container_has_files_of_its_own() -> None:
    reports = [
        report("/", numtasks_held=1, cpuset_effective_cpus="0-3"),
        report("/a", numfiles_held=2),
        report("/", "cpu", cpuacct_usage=1),
    ]
    root, child, cpu = measure(Look(0.0, reports), None)
    assert (list(root.held), root.cpus) == (["tasks"], "0-3")
    assert (list(child.held), child.cpus) == (["files"], None)
    assert cpu.held == {}


def test_what_is_counted_but_never_used_is_not_offered() -> None:
    look = Look(0.0, [report("/", numsock_held=0, numpty_held=1, numfiles_held=0, numtasks_held=0)])
    assert nouns(measure(look, None)) == ["tasks", "files", "terminals"]
    assert sorts(measure(look, None)) == ["name", "tasks", "files", "cpu", "refused", "terminals"]


# -- rows ---------------------------------------------------------------------------------


@pytest.fixture
def found() -> list[Figures]:
    reports = [
        report("/", numtasks_held=9, numtasks_failcnt=0),
        report("/c10", numtasks_held=1, numtasks_failcnt=0),
        report("/c9", numtasks_held=3, numtasks_failcnt=0),
        report("/c9/web", numtasks_held=2, numtasks_failcnt=4),
        report("/c9/db", numtasks_held=1, numtasks_failcnt=0),
        report("/", "cpu", cpuacct_usage=1),
    ]
    return measure(Look(0.0, reports), None)


def test_a_tree_is_by_name_as_people_count(found: list[Figures]) -> None:
    rows = arrange(found, View())
    assert paths(rows) == ["/", "/c9", "/c9/db", "/c9/web", "/c10", "/"]
    assert [row.depth for row in rows] == [0, 1, 2, 2, 1, 0]
    assert [row.name for row in rows] == ["load:/", "c9", "db", "web", "c10", "cpu:/"]


def test_siblings_are_sorted_by_a_figure(found: list[Figures]) -> None:
    assert paths(arrange(found, View("load", "tasks"))) == ["/", "/c9", "/c9/web", "/c9/db", "/c10"]


def test_a_list_is_sorted_as_a_whole(found: list[Figures]) -> None:
    rows = arrange(found, View("load", "tasks", flat=True))
    assert [row.name for row in rows] == [
        "load:/", "load:/c9", "load:/c9/web", "load:/c9/db", "load:/c10"
    ]  # fmt: skip


def test_what_is_not_known_comes_last(found: list[Figures]) -> None:
    assert arrange(found, View(sort="tasks", flat=True))[-1].figures.hierarchy == "cpu"


def test_a_fold_hides_what_is_below_and_tells_its_refusals(found: list[Figures]) -> None:
    rows = arrange(found, View("load", folded=frozenset({("load", "/c9")})))
    assert paths(rows) == ["/", "/c9", "/c10"]
    assert (rows[1].hidden, rows[1].refused) == (2, 4)
    assert (rows[0].hidden, rows[0].refused) == (0, 0)


def test_a_filter_shows_the_way_and_sees_through_folds(found: list[Figures]) -> None:
    view = View(filter="WEB load", folded=frozenset({("load", "/c9")}))
    assert paths(arrange(found, view)) == ["/", "/c9", "/c9/web"]
    assert paths(arrange(found, view._replace(flat=True))) == ["/c9/web"]
    assert arrange(found, View(filter="nowhere")) == []


def test_hierarchies_are_in_their_order(found: list[Figures]) -> None:
    assert hierarchies(found) == ["load", "cpu"]


def test_a_tree_may_be_deeper_than_the_stack() -> None:
    reports = [report("/", numtasks_failcnt=0)]
    path = ""
    for _ in range(3000):
        path += "/a"
        reports.append(report(path, numtasks_failcnt=1))
    rows = arrange(measure(Look(0.0, reports), None), View())
    assert (len(rows), rows[-1].depth, rows[0].figures.all_refused) == (3001, 3000, 3000)


# -- any tree -----------------------------------------------------------------------------


@st.composite
def forests(draw: st.DrawFn) -> list[Figures]:
    reports = []
    for hierarchy in draw(st.lists(st.sampled_from(["load", "cpu", "x"]), unique=True, min_size=1)):
        reports.append(_drawn(draw, hierarchy, ROOT))
        known = [""]
        for name in draw(st.lists(st.sampled_from("a b1 b2 b10 ² ä".split()), max_size=12)):
            path = f"{draw(st.sampled_from(known))}/{name}"
            if path not in known:
                known.append(path)
                reports.append(_drawn(draw, hierarchy, path))
    return measure(Look(0.0, reports), None)


def _drawn(draw: st.DrawFn, hierarchy: str, path: str) -> ContainerReport:
    held, refused = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    return report(path, hierarchy, numtasks_held=held, numtasks_failcnt=refused)


views = st.builds(
    View,
    st.sampled_from([None, "load", "none"]),
    st.sampled_from(["name", "tasks", "files", "cpu", "refused", "nonsense"]),
    st.booleans(),
    st.sampled_from(["", "b", "a b1", "load", "²"]),
    st.frozensets(st.tuples(st.sampled_from(["load", "cpu"]), st.sampled_from(["/", "/a", "/b1"]))),
)


@given(forests(), views)
def test_rows_of_any_forest(found: list[Figures], view: View) -> None:
    rows = arrange(found, view)
    keys = [row.key for row in rows]
    assert len(set(keys)) == len(keys)
    known = {(figures.hierarchy, figures.path) for figures in found}
    assert set(keys) <= known
    if view.flat:
        return
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if row.figures.path != ROOT:  # below its parent, one level further in
            above = row.key[0], parent(row.key[1])
            assert above in seen
            assert row.depth == row.key[1].count("/")
        seen.add(row.key)


@given(forests(), views)
def test_what_is_hidden_is_what_is_missing(found: list[Figures], view: View) -> None:
    view = view._replace(filter="", flat=False)
    rows = arrange(found, view)
    shown = [one for one in found if view.hierarchy in (None, one.hierarchy)]
    assert len(rows) + sum(row.hidden for row in rows) == len(shown)


@given(forests(), views)
def test_every_order_has_the_same_rows(found: list[Figures], view: View) -> None:
    rows = {row.key for row in arrange(found, view)}
    assert {row.key for row in arrange(found, view._replace(sort="name"))} == rows


@given(forests())
def test_roots_have_all_refusals(found: list[Figures]) -> None:
    roots = sum(figures.all_refused for figures in found if figures.path == ROOT)
    assert roots == sum(figures.refused for figures in found)
