"""The JUnit XML of ``--junit``: a batch as a suite of tests, for what reads such files in CI.

There is no standard. Elements and attributes are those of the schema of Jenkins' xUnit plugin
(junit-10.xsd), in which Jenkins, GitLab and GitHub's actions agree. A job that failed or met its
timeout is a failure, one that governor could not start or that was interrupted an error, one that
never started is skipped.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from governor import __version__
from governor.batch.joblog import written
from governor.batch.plan import one_line
from governor.batch.progress import how_it_ended
from governor.report import FAILED, INTERRUPTED, NOT_RUN, OK, TIMEOUT, JobReport, Report
from governor.results import OWN_FAILURE

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FAILURE: Final = "failure"
ERROR: Final = "error"
SKIPPED: Final = "skipped"

Tail = Callable[[JobReport], Sequence[str]]
"""The last lines of what a job has written."""


def document(report: Report, tail: Tail) -> str:
    """Return the XML of a batch that has ended."""
    from xml.etree import ElementTree

    verdicts = [verdict(job) for job in report.jobs]
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count(FAILURE)),
        "errors": str(verdicts.count(ERROR)),
    }
    skipped = {"skipped": str(verdicts.count(SKIPPED))}
    took = {"time": _seconds(report.wall_seconds)}
    name = {"name": one_line(report.title)}
    root = ElementTree.Element("testsuites", {**name, **counts, **took})
    suite = ElementTree.SubElement(
        root, "testsuite", {**name, **counts, **skipped, **took, **_origin(report)}
    )
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _properties(report).items():
        ElementTree.SubElement(properties, "property", {"name": key, "value": value})
    for job, found in zip(report.jobs, verdicts, strict=True):
        suite.append(_case(job, found, name["name"], tail))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def verdict(job: JobReport) -> str | None:
    """Return the element that says how a job ended; None for success."""
    if job.status == OK:
        return None
    if job.status == INTERRUPTED or (job.error and job.exit_code == OWN_FAILURE):
        return ERROR
    return FAILURE if job.status in (FAILED, TIMEOUT) else SKIPPED


def _origin(report: Report) -> Mapping[str, str]:
    began = {}
    if report.began_at is not None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(report.began_at))
        began = {"timestamp": moment}
    return {**began, "hostname": one_line(socket.gethostname())}


def _properties(report: Report) -> Mapping[str, str]:
    return {
        "governor.version": __version__,
        "governor.exit_code": str(report.exit_code),
        **{f"governor.{name}": level for name, level in report.enforcement.items()},
    }


def _case(job: JobReport, found: str | None, suite: str, tail: Tail) -> Element:
    """Return the element of one job."""
    from xml.etree import ElementTree

    identity = {"name": one_line(job.name), "classname": suite or "batch"}
    case = ElementTree.Element("testcase", {**identity, "time": _seconds(job.wall_seconds)})
    if found is not None:
        reason = job.status if job.status == NOT_RUN else one_line(how_it_ended(job))
        kind = {"message": reason} if found == SKIPPED else {"type": job.status, "message": reason}
        element = ElementTree.SubElement(case, found, kind)
        if found != SKIPPED:
            element.text = "\n".join([reason, *map(one_line, tail(job))])
    output = ElementTree.SubElement(case, "system-out")
    output.text = "\n".join(map(one_line, _told(job)))
    return case


def _told(job: JobReport) -> Sequence[str]:
    """What CI shows beside a job: what it was, and where."""
    told = [f"command: {written(job.command)}"]
    if job.containers:
        told.append(f"containers: {' '.join(job.containers)}")
    if job.earlier:
        told.append("ended in an earlier run, and was not run again")
    elif job.exit_code is not None:
        told.append(f"CPU time: {_seconds(job.cpu_seconds)} s")
    if len(job.attempts) > 1:
        told.append(f"attempts: {len(job.attempts)}")
    return told


def _seconds(seconds: float) -> str:
    """Seconds as these files have them: with a point, and no thousands."""
    return f"{seconds:.3f}"
