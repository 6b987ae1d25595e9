"""What a real Prometheus has recorded of a running governor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.api import Governor
from governor.serving import Serving
from tests.end_to_end.prometheus import Prometheus
from tests.end_to_end.running import Shell
from tests.process.helpers import (
    ROOT,
    agent_of,
    children,
    eventually,
    kill_and_see,
    nothing_left,
    puppet,
    run_job,
    spawner_of,
)

pytestmark = pytest.mark.once

COUNTERS = ("numtasks_failures", "cpuacct_usage_seconds")
BURN = "import time\nwhile time.process_time() < 0.3: pass"


@pytest.fixture
def gov(prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    """A governor that is scraped, and says nothing of what is gone."""
    serving = Serving(prometheus.target, keep=0)
    with nothing_left(monkeypatch), Governor(metrics=serving) as gov:
        yield gov


def test_what_was_true_then_and_what_is_now(prometheus: Prometheus, gov: Governor) -> None:
    box = gov.mount("then", ["numtasks", "numfiles"]).mkdir("/box")
    box["numtasks.limit"] = 4
    where = '{job="governor",hierarchy="then",container="/box"}'
    with puppet(gov, box) as job:
        job.fill(3)
        assert [job.is_refused() for _ in range(5)] == [True] * 5
        then = prometheus.scraped()
        job.end(2)
        box["numtasks.limit"] = 7
        later = prometheus.scraped()
        figures = ("held", "held_max", "limit", "failures_total")
        recorded = {
            at: [prometheus.query(f"governor_numtasks_{name}{where}", at) for name in figures]
            for at in (then, later)
        }
    values = [[series.points[0][1] for (series,) in each] for each in recorded.values()]
    assert values == [[4, 4, 4, 5], [2, 4, 7, 5]]
    assert prometheus.value(f"governor_numfiles_limit{where}", later) == float("inf")


def test_cpu_time_is_all_there(prometheus: Prometheus, gov: Governor) -> None:
    cpu = gov.mount("cpu", ["cpuacct"])
    boxes = [cpu.mkdir("/a"), cpu.mkdir("/a/b")]
    spent = [run_job(gov, [sys.executable, "-c", BURN], [box])[0].cpu_seconds for box in boxes]
    at = prometheus.scraped()
    usage = 'governor_cpuacct_usage{}_seconds_total{{hierarchy="cpu",container="{}"}}'
    all_of_a, all_of_b = (prometheus.value(usage.format("", box), at) for box in ("/a", "/a/b"))
    assert all_of_b == pytest.approx(spent[1], abs=0.005)
    assert all_of_a == pytest.approx(sum(spent), abs=0.01)
    assert all_of_a == int(boxes[0]["cpuacct.usage"]) / 1e9
    parts = [prometheus.value(usage.format(part, "/a"), at) for part in ("_user", "_sys")]
    assert sum(parts) == pytest.approx(all_of_a, abs=0.02)
    own = prometheus.value('sum(governor_cpuacct_usage_own_seconds_total{hierarchy="cpu"})', at)
    assert own == pytest.approx(prometheus.value(usage.format("", "/"), at))


def test_counters_go_on_when_agent_and_spawner_die(prometheus: Prometheus, gov: Governor) -> None:
    box = gov.mount("dies", ["numtasks", "cpuacct"]).mkdir("/box")
    box["numtasks.limit"] = 2
    where = '{hierarchy="dies",container="/box"}'
    refused, used = (f"governor_{name}_total{where}" for name in COUNTERS)
    with puppet(gov, box) as job:
        job.fill(1)
        assert [job.is_refused() for _ in range(3)] == [True] * 3
        start = prometheus.scraped()
        before = prometheus.value(used, start)
        agent = agent_of(gov, job.pid)
        kill_and_see([agent])
        others = {agent, job.pid}
        eventually(lambda: bool({*children(spawner_of(gov))} - others), "there is another agent")
        kill_and_see([spawner_of(gov)])
        assert [job.is_refused() for _ in range(2)] == [True] * 2
        at = prometheus.scraped()
    course = prometheus.course(refused, start, at + 1)[0].points
    assert (course[0][1], course[-1][1]) == (3, 5)
    assert prometheus.value(used, at) >= before
    for counter in (refused, used):
        assert prometheus.value(f"resets({counter}[1m])", at) == 0
    assert prometheus.value("governor_agent_restarts_total", at) == 1
    assert prometheus.value("governor_spawner_restarts_total", at) == 1


def test_counters_go_on_when_the_supervisor_dies(
    prometheus: Prometheus, shell: Shell, tmp_path: Path
) -> None:
    up = ["--state", str(tmp_path / "state"), "--metrics", str(prometheus.target)]
    up += ["--hierarchy", "state=numtasks,cpuacct", "--set", "state:/box:numtasks.limit=1"]
    supervisor = shell.up(*up)
    for _ in range(2):
        shell.governor("run", "--at", "--in", "state:/box", "--", "sh", "-c", "(exit 0); exit 0")
        prometheus.scraped()
        kill_and_see([supervisor])
        supervisor = shell.up(*up)
    at = prometheus.scraped()
    for name in COUNTERS:
        counter = f'governor_{name}_total{{hierarchy="state",container="/box"}}'
        assert prometheus.value(f"resets({counter}[1m])", at) == 0
        assert prometheus.value(f"changes({counter}[1m])", at) >= 1
    assert prometheus.value('governor_numtasks_failures_total{container="/box"}', at) == 2


def test_names_are_recorded_as_they_are(prometheus: Prometheus, gov: Governor) -> None:
    path = '/a "b" \\c ü'
    box = gov.mount("names", ["numtasks"]).mkdir(path)
    asked = 'governor_numtasks_held{hierarchy="names",container!="/"}'
    found = prometheus.query(asked, prometheus.scraped())
    assert [series.labels["container"] for series in found] == [path]
    box.rmdir()
    assert prometheus.query(asked, prometheus.scraped()) == []


def test_the_documented_queries_find_what_they_say(prometheus: Prometheus, gov: Governor) -> None:
    """Those of docs/metrics.md: every one is understood, and these find something at once."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    examples = page.partition("```promql\n")[2].partition("```")[0].strip().split("\n\n")
    places = [gov.mount("load", ["numtasks", "cpuacct"]).mkdir("/builds")]
    with puppet(gov, *places):
        prometheus.scraped()
        at = prometheus.scraped()
        found = {title: prometheus.query(query, at) for title, query in map(split, examples)}
    full, cpus = (
        [s for title, all in found.items() if title.startswith(start) for s in all]
        for start in ("how full", "CPUs in use where each job is")
    )
    assert {series.labels["container"] for series in full} == {"/", "/builds"}
    assert {series.labels["container"] for series in cpus} == {"/builds"}
    assert len(found) >= 9


def split(example: str) -> tuple[str, str]:
    """The comment, and the query."""
    title, _, query = example.partition("\n")
    return title.removeprefix("# "), query


SUFFIXES = {
    "counter": ["_total"],
    "gauge": [""],
    "histogram": ["_bucket", "_count", "_sum"],
    "info": ["_info"],
}
"""What OpenMetrics adds to the name of a metric to make those of its series."""


def test_prometheus_knows_what_metrics_are(prometheus: Prometheus, gov: Governor) -> None:
    gov.mount("everything", ["all"])
    at = prometheus.scraped()

    def is_well() -> bool:
        (target,) = prometheus.get("targets")["activeTargets"]
        return (target["health"], target["lastError"]) == ("up", "")

    prometheus.eventually(is_well, "it is well")  # the last scrape may have taken too long
    told = prometheus.get("metadata")
    known = {
        name + suffix: of[0]["help"]
        for name, of in told.items()
        for suffix in SUFFIXES.get(of[0]["type"], ())
    }
    names = prometheus.query('group by (__name__) ({__name__=~"governor_.+"})', at)
    recorded = {series.labels["__name__"] for series in names}
    assert len(recorded) > 50
    assert {name for name in recorded if not known.get(name)} == set()
