"""What is shipped for Prometheus and Grafana: rules that fire, panels that show something."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from governor.api import Container, Governor
from tests.capabilities import need
from tests.end_to_end.prometheus import MONITORING, Prometheus, Series, program
from tests.process.helpers import (
    ROOT,
    Puppet,
    agent_of,
    kill_and_see,
    nothing_left,
    puppet,
    run_job,
)

pytestmark = pytest.mark.once

WORK = ["numtasks", "numfiles", "numsock", "numpty", "numflock"]
WORK += ["privvmpages", "physpages", "rsspages"]
TESTS = sorted(MONITORING.glob("*_test.yml"))
BOARD = MONITORING / "dashboard.json"
CHOSEN = {"$__rate_interval": "2s", "$__range": "1m"}
"""What Grafana puts into queries; other variables stand for all."""


KNOWN = {
    "Governors": [1],
    "Containers": [5],
    "Tasks": [3],
    "Jobs running": [1],
    "Limits that fail": [1],
    "Not recorded": [0],
    "Fullest now": [1],
}
"""What single numbers are, then."""


class Panel(NamedTuple):
    """A query of a panel, with everything chosen."""

    title: str
    expr: str
    instant: bool


def panels() -> list[Panel]:
    """The queries of the dashboard."""
    found = []
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"]
            for name, value in CHOSEN.items():
                expr = expr.replace(name, value)
            expr = re.sub(r"\$\w+", ".*", expr)
            found.append(Panel(panel["title"], expr, target["instant"]))
    return found


def promtool(*arguments: str) -> None:
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_do_as_they_say() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", *(test.name for test in TESTS))


def test_prometheus_takes_the_documented_configurations(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "cert.pem").touch()
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.yml").write_text(block)
    assert len(blocks) == 2
    promtool("check", "config", *(str(tmp_path / f"{n}.yml") for n in range(len(blocks))))


def test_alerts_are_tested_and_explained() -> None:
    alerts = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    tested = re.findall(r"alertname: (\w+)", "".join(test.read_text() for test in TESTS))
    page = (ROOT / "docs" / "monitoring.md").read_text()
    explained = re.findall(r"^\| `(Governor\w+)` \|", page, re.M)
    assert len(alerts) >= 6
    assert set(alerts) == set(tested)
    assert alerts == explained


def test_the_dashboard_is_what_the_code_makes() -> None:
    there = importlib.util.find_spec("grafana_foundation_sdk") is not None
    need(there, "grafana-foundation-sdk is not there: pip install 'governor[dev]'")
    command = [sys.executable, str(MONITORING / "dashboard.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert made == BOARD.read_text(), f"run: python {command[1]} > {BOARD}"


def choices() -> list[tuple[str, str]]:
    """The metrics, with a label of theirs, from which one chooses at the top of the dashboard."""
    variables = json.loads(BOARD.read_text())["templating"]["list"]
    queries = [each["query"] for each in variables if each["type"] == "query"]
    found = [re.fullmatch(r"label_values\((.*), (\w+)\)", query) for query in queries]
    return [(re.sub(r"\$\w+", ".*", each[1]), each[2]) for each in found if each]


def asked_for() -> set[str]:
    """The metrics that alerts are about."""
    exprs = re.findall(
        r"expr: (.*?)\n +(?:for|labels):", (MONITORING / "alerts.yml").read_text(), re.S
    )
    return {
        name for expr in exprs for name in re.findall(r"\w+:governor_[\w:]+|governor_\w+", expr)
    }


def shown(prometheus: Prometheus, panel: Panel, since: float) -> list[Series]:
    """The series that a panel has something of."""
    if panel.instant:
        found = prometheus.query(panel.expr)
    else:
        found = prometheus.course(panel.expr, since, time.time())
    return [each for each in found if any(math.isfinite(value) for _, value in each.points)]


@contextmanager
def stranger(container: Container) -> Iterator[None]:
    """A process that was moved in from outside, for which no limit of tasks holds."""
    container["numtasks.limit"] = 10
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        container.attach(process.pid)
        yield


@contextmanager
def busy(prometheus: Prometheus, gov: Governor) -> Iterator[Puppet]:
    """There is everything to be seen of this governor; a job that is refused any other task."""
    who = gov.mount("who", ["cpuset", "cpuacct"]).mkdir("/ada")
    hierarchy = gov.mount("work", WORK)
    work, foreign = hierarchy.mkdir("/box"), hierarchy.mkdir("/foreign")
    work["numtasks.limit"] = 2
    work["numfiles.limit"] = 100
    run_job(gov, ["sh", "-c", "exit 3"])
    with puppet(gov, who, work) as job, stranger(foreign):
        job.fill(1)
        prometheus.scraped()
        kill_and_see([agent_of(gov, job.pid)])
        yield job


def test_every_panel_shows_something(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    firing = 'ALERTS{alertname="GovernorForksRefused",hierarchy="work"}'
    with (
        nothing_left(monkeypatch),
        Governor(metrics=prometheus.target, state=str(tmp_path)) as gov,
    ):
        began = time.time()
        with busy(prometheus, gov) as job:
            empty = panels()

            def all_show() -> bool:
                assert job.is_refused()  # what there is of it in a second is shown, too
                empty[:] = [panel for panel in empty if not shown(prometheus, panel, began)]
                return not empty

            assert job.is_refused()
            try:
                prometheus.eventually(lambda: bool(prometheus.query(firing)), "an alert fires")
                prometheus.eventually(all_show, "every panel has been seen to show something")
            finally:
                assert empty == []
            prometheus.eventually(
                lambda: all(map(prometheus.query, asked_for())), f"there are {asked_for()}"
            )
            at = prometheus.scraped()
            chosen = {
                label: {series.labels[label] for series in prometheus.query(metric, at)}
                for metric, label in choices()
            }
            known = [panel for panel in panels() if panel.instant and panel.title in KNOWN]
            values: dict[str, list[float]] = {}

            def are_known() -> bool:
                for title, expr, _ in known:
                    found = prometheus.query(expr)
                    values[title] = [series.points[0][1] for series in found[:1]]
                return values == KNOWN

            try:
                prometheus.eventually(are_known, "single numbers are what they are")
            finally:
                assert values == KNOWN
    assert chosen.pop("instance") == {f"127.0.0.1:{prometheus.target}"}
    assert chosen == {"hierarchy": {"who", "work"}, "container": {"/", "/ada", "/box", "/foreign"}}


def expression(alert: str) -> str:
    """What an alert is about."""
    text = (MONITORING / "alerts.yml").read_text().partition(f"- alert: {alert}\n")[2]
    found = re.match(r" +expr: >-\n(.*?)\n +(?:for|labels):", text, re.S)
    assert found
    return found[1]


def test_the_job_that_does_nothing_is_found(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In seconds instead of half an hour, which is all that is changed."""
    hurried = expression("GovernorJobStuck").replace("30m", "2s").replace("1800", "1")
    burn = [sys.executable, "-c", "while True: pass"]
    with nothing_left(monkeypatch), Governor(metrics=prometheus.target) as gov:
        load, cpu = gov.mount("load", ["numtasks"]), gov.mount("cpu", ["cpuacct"])
        gov.spawn(["sleep", "600"], name="idle", containers=[load.mkdir("/i"), cpu.mkdir("/i")])
        gov.spawn(burn, name="busy", containers=[load.mkdir("/b"), cpu.mkdir("/b")])
        gov.spawn(["sleep", "600"], name="hidden", containers=[load["/b"], cpu["/b"]])

        def stuck() -> list[str]:
            return [series.labels["name"] for series in prometheus.query(hurried)]

        prometheus.eventually(lambda: stuck() == ["idle"], "the idle one is found")


def test_alerts_of_what_lasts_are_pending(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fire after minutes, which the unit tests of the rules let pass."""

    def pends(name: str, **labels: str) -> None:
        which = "".join(f',{label}="{value}"' for label, value in labels.items())
        asked = f'ALERTS{{alertstate="pending",alertname="{name}"{which}}}'
        prometheus.eventually(lambda: bool(prometheus.query(asked)), f"{name} is pending")

    with nothing_left(monkeypatch):
        with Governor(metrics=prometheus.target) as gov:
            hierarchy = gov.mount("alerts", ["numtasks"])
            full, foreign = hierarchy.mkdir("/full"), hierarchy.mkdir("/foreign")
            full["numtasks.limit"] = 10
            with puppet(gov, full) as job, stranger(foreign):
                job.fill(9)
                pends("GovernorNearLimit", container="/full")
                pends("GovernorLimitNotEnforced", container="/foreign")
        pends("GovernorDown")
