"""JUnit XML: well-formed whatever jobs write, with the counts and verdicts that CI reads."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from governor.batch.junit import document
from governor.report import Attempt, JobReport, Report

JOBS = [
    JobReport("good", ["true"], ["load:/a"], "ok", 0, None, 1.5, 0.25),
    JobReport("bad", ["/bin/sh", "-c", "exit 3"], [], "failed", 3, None, 0.5, 0.1),
    JobReport("slow", ["sleep", "9"], [], "timeout", 124, 15, 5.0, 0.0, True),
    JobReport("lost", ["x"], [], "failed", 125, error="no process for it"),
    JobReport("cut", ["sleep", "9"], [], "interrupted", 143, 15, 1.0),
    JobReport("late", ["true"], [], "not run"),
    JobReport("next", ["true"], [], "skipped", skipped="bad failed"),
    JobReport("old", ["true"], [], "ok", 0, None, 2.0, earlier=True),
]
REPORT = Report(1, None, 10.5, JOBS, {"numtasks": "enforced"}, [], "Nightly", 1795381774.9)


def parsed(report: Report, tail: Sequence[str] = ()) -> ElementTree.Element:
    return ElementTree.fromstring(document(report, lambda _: tail).encode())


def test_a_batch_is_a_suite_of_tests() -> None:
    root = parsed(REPORT, ["the end", "of its output"])
    suite = root[0]
    for element in (root, suite):
        counts = {name: element.get(name) for name in ("tests", "failures", "errors", "time")}
        assert counts == {"tests": "8", "failures": "2", "errors": "2", "time": "10.500"}
    assert (root.tag, suite.tag, suite.get("skipped")) == ("testsuites", "testsuite", "2")
    assert (suite.get("name"), suite.get("timestamp")) == ("Nightly", "2026-11-22T21:09:34+00:00")
    properties = {entry.get("name"): entry.get("value") for entry in suite.iter("property")}
    assert properties["governor.numtasks"] == "enforced"
    assert properties["governor.exit_code"] == "1"
    verdicts = {
        case.get("name"): [child.tag for child in case if child.tag != "system-out"]
        for case in suite.iter("testcase")
    }
    assert verdicts == {
        "good": [],
        "bad": ["failure"],
        "slow": ["failure"],
        "lost": ["error"],
        "cut": ["error"],
        "late": ["skipped"],
        "next": ["skipped"],
        "old": [],
    }
    messages = {
        case.get("name"): case[0].get("message")
        for case in suite.iter("testcase")
        if case[0].attrib
    }
    assert messages["bad"] == "exit 3"
    assert messages["slow"] == "timed out"
    assert messages["lost"] == "no process for it"
    assert messages["late"] == "not run"
    bad = suite[2]
    assert bad.get("time") == "0.500"
    assert bad[0].text == "exit 3\nthe end\nof its output"
    assert bad[1].text == "command: exit 3\nCPU time: 0.100 s"
    assert "containers: load:/a" in (suite[1][0].text or "")


def test_that_a_job_was_tried_again_is_told() -> None:
    job = JOBS[0]._replace(attempts=(Attempt("failed", 1), Attempt("ok", 0)))
    assert "attempts: 2" in (parsed(REPORT._replace(jobs=[job]))[0][1][0].text or "")


anything = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["]]>", "<![CDATA[", "\0", "\x1b[31m", "\ufffe", "\udc80", "\r\n", "&amp;", "<b>", '" ']
)


@given(anything, anything, st.lists(anything), anything)
def test_whatever_a_job_writes_the_xml_is_well_formed(
    title: str, argument: str, tail: list[str], error: str
) -> None:
    job = JobReport("a", ["x", argument], [argument], "failed", 1, error=error)
    root = parsed(REPORT._replace(jobs=[job], title=title), tail)
    assert root[0].get("failures") == "1"
    case = root[0].find("testcase")
    assert case is not None
    assert len((case[0].text or "").split("\n")) == len(tail) + 1
