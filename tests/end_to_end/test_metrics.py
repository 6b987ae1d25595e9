"""Metrics of a real governor: from the limits and jobs to what Prometheus is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from governor import registry
from governor.api import Container, Governor
from governor.metrics import model
from governor.serving import Serving
from tests.capabilities import need
from tests.end_to_end.prometheus import program
from tests.end_to_end.scraped import openmetrics, samples, text
from tests.process.helpers import agent_of, eventually
from tests.programs.build import CannotCompile
from tests.stress import brief, scrapes


def test_what_a_job_did_is_exported() -> None:
    with Governor(metrics=0) as governor:
        load = governor.mount("load", ["numtasks", "numfiles"])
        governor.mount("cpu", ["cpuset", "cpuacct"])
        builds = load.mkdir("/builds")
        builds["numtasks.limit"] = 1
        with open(os.devnull, "w") as nowhere:
            job = governor.spawn(["sh", "-c", "(:)"], containers=[builds], stderr=nowhere)
        assert job.wait().exit_code != 0
        usage = int(governor.containers()[-1].files["cpuacct.usage"])
        found = samples(governor.metrics_port)
    assert found["governor_numtasks_limit", "load:/builds"] == 1
    assert found["governor_numtasks_failures_total", "load:/builds"] == 1
    assert found["governor_numtasks_failures_total", "load:/"] == 0
    assert found["governor_numtasks_held", "load:/builds"] == 0
    assert found["governor_numtasks_held_max", "load:/builds"] == 1
    assert found["governor_numfiles_limit", "load:/builds"] == float("inf")
    assert found["governor_numfiles_held_max", "load:/builds"] > 0
    assert found["governor_cpuset_cpus", "cpu:/"] == len(os.sched_getaffinity(0))
    assert found["governor_cpuacct_usage_seconds_total", "cpu:/"] >= usage / 1e9 > 0
    for subsystem in ("numtasks", "numfiles"):
        level = f"governor_enforcement_level/{subsystem}"
        assert found[level, "load:/builds"] == 1


@pytest.fixture
def promtool() -> str:
    return program("promtool")


@pytest.fixture
def busy() -> Iterator[Governor]:
    """A governor that has something to tell of everything, with names that need care."""
    with Governor(metrics=0) as governor:
        governor.mount("projects", ["numtasks@projects"]).mkdir("/p")
        hierarchy = governor.mount("everything", ["all"])
        container = hierarchy.mkdir('/a "b" \\c ü')
        governor.spawn(["sh", "-c", "(:)"], name='a "job"', containers=[container]).wait(60)
        yield governor


@pytest.mark.once
def test_promtool_finds_nothing_wrong(promtool: str, busy: Governor) -> None:
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=text(busy.metrics_port),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.once
def test_prometheus_understands_openmetrics(promtool: str, busy: Governor, tmp_path: Path) -> None:
    """``promtool check metrics`` reads the text format only; this is its other parser."""
    lines = openmetrics(busy.metrics_port).splitlines()
    dated = [line if line.startswith("#") else f"{line} 1700000000" for line in lines]
    (tmp_path / "metrics").write_text("\n".join(dated) + "\n")
    command = ["tsdb", "create-blocks-from", "openmetrics", "metrics", "blocks"]
    made = subprocess.run(
        [promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert list((tmp_path / "blocks").iterdir())


@pytest.mark.once
def test_columns_say_what_rows_say() -> None:
    """Every figure, against what `Governor.containers` has of every container."""
    with Governor(metrics=0) as governor:
        load = governor.mount("load", ["numtasks", "numfiles", "cpuset", "memset"])
        cpu = governor.mount("cpu", ["cpuacct", "privvmpages"])
        for tree in load, cpu:
            for path in ("/b", "/b/c", "/a", "/b/a", "/b/c/d"):
                tree.mkdir(path)
        load["/b/c"]["numtasks.limit"] = 40
        places = [load["/b/c/d"], cpu["/a"]]
        governor.spawn(["sh", "-c", "(:)"], containers=places).wait(60)
        load["/b/a"].rename("z")
        found = samples(governor.metrics_port)
        reports = governor.containers()
    told = {}
    for report in reports:
        where = f"{report.hierarchy}:{report.path}"
        for subsystem, level in report.level.items():
            told[f"governor_enforcement_level/{subsystem}", where] = float(level == "enforced")
            for name, file in registry.load(subsystem).populate().items():
                if file.metric is not None and name in report.files:
                    counter = "_total" if file.metric.kind == "counter" else ""
                    sample = model.family_name(subsystem, name, file.metric) + counter
                    told[sample, where] = file.metric.number(report.files[name])
    containers = {
        key: value
        for key, value in found.items()
        if key[1].partition(":")[2] and "_job_" not in key[0]
    }
    assert containers == told


def test_no_short_lived_process_is_missed() -> None:
    try:
        seen = brief.run(300)
    except CannotCompile as error:
        need(False, str(error))
        raise
    brief.check(seen)
    assert seen.metric >= 0.3


@pytest.mark.once
def test_scrapes_of_many_containers() -> None:
    """A sample of what ``make stress`` measures, which alone is long enough to compare times."""
    try:
        seen = scrapes.run(200, calls=1000, rounds=1)
    except CannotCompile as error:
        need(False, str(error))
        raise
    assert seen.lines >= 200 * scrapes.LINES
    assert all(0 < sum(cost) < scrapes.MOST for cost in (seen.first, *seen.later.values()))
    assert len(seen.calls) == 3


def agents_work(port: int | None) -> dict[str, float]:
    """What is told of agents: by the name of the sample and its label's value, if any."""
    return {
        "/".join(
            [sample.name.removeprefix("governor_agent_"), *sample.labels.values()]
        ): sample.value
        for family in text_string_to_metric_families(text(port))
        for sample in family.samples
        if sample.name.startswith("governor_agent_")
    }


def forks(work: dict[str, float]) -> float:
    return sum(work.get(f"traps_total/{name}", 0) for name in ("clone", "clone3", "fork", "vfork"))


def test_the_work_of_agents_is_told_even_if_one_dies() -> None:
    with Governor(metrics=0) as governor, open(os.devnull, "w") as nowhere:
        container = governor.mount("load", ["numtasks"]).mkdir("/c")
        need(governor_traps(governor, container), "nothing is trapped on this host")
        twenty = ["sh", "-c", "i=0; while [ $i -lt 20 ]; do (:); i=$((i + 1)); done"]
        before = agents_work(governor.metrics_port)
        governor.spawn(twenty, containers=[container]).wait(60)
        after = agents_work(governor.metrics_port)
        assert forks(after) - forks(before) == 20
        assert after["recounts_total"] > 0 < after["recount_seconds_total"]

        container["numtasks.limit"] = 1
        governor.spawn(["sh", "-c", "(:)"], containers=[container], stderr=nowhere).wait(60)
        refused = agents_work(governor.metrics_port)
        closely = "answer_seconds_count/closely"
        assert refused[closely] > after[closely]
        assert refused["answer_seconds_sum/closely"] > after["answer_seconds_sum/closely"]
        assert forks(refused) > forks(after)

        os.kill(agent_of(governor), signal.SIGKILL)
        container["numtasks.limit"] = "max"
        governor.spawn(twenty, containers=[container]).wait(60)
        last = agents_work(governor.metrics_port)
        assert last["restarts_total"] == 1
        assert forks(last) == forks(refused) + 20
        assert all(last[name] >= value for name, value in refused.items())


def governor_traps(governor: Governor, container: Container) -> bool:
    return bool(governor.spawn(["true"], containers=[container]).traps)


@pytest.mark.once
def test_the_short_way_is_a_sample() -> None:
    """Some answers of a long row are measured, each of which stands in one bucket."""
    with Governor(metrics=0) as governor:
        container = governor.mount("load", ["numfiles"]).mkdir("/c")
        need(governor_traps(governor, container), "nothing is trapped on this host")
        opening = "import os\nwhile True: os.close(os.open('/dev/null', 0))"
        job = governor.spawn([sys.executable, "-c", opening], containers=[container])
        short = "answer_seconds_count/short"
        eventually(lambda: agents_work(governor.metrics_port)[short] > 3, "some are measured")
        governor.stop([job], grace=0)
        work = agents_work(governor.metrics_port)
        assert work["answer_seconds_bucket/+Inf/short"] == work[short]
        assert work[short] < work["traps_total/openat"]
        assert work["answer_seconds_sum/short"] > 0


def test_minor_resources_are_exported() -> None:
    with Governor(metrics=0) as governor:
        names = ["numsock", "numpty", "numflock", "numsiginfo"]
        small = governor.mount("minor", names).mkdir("/small")
        small["numsock.limit"] = 1
        hoard = [sys.executable, "-c", "import socket; one = socket.socket(); socket.socket()"]
        with open(os.devnull, "w") as nowhere:
            job = governor.spawn(hoard, containers=[small], stderr=nowhere)
        assert job.wait().exit_code != 0
        found = samples(governor.metrics_port)
    where = "minor:/small"
    assert found["governor_numsock_limit", where] == 1
    assert found["governor_numsock_failures_total", where] == 1
    assert found["governor_numflock_held", where] == 0
    assert found["governor_enforcement_level/numflock", where] == 1
    assert found["governor_enforcement_level/numpty", where] == 0
    assert ("governor_numsiginfo_held_max", where) in found
    assert ("governor_numsiginfo_limit", where) not in found


@pytest.mark.once
def test_series_vanish_with_their_container_and_hierarchy() -> None:
    with Governor(metrics=Serving(keep=0)) as governor:
        load = governor.mount("load", ["numtasks"])
        builds = load.mkdir("/builds")
        with_builds = {where for _, where in samples(governor.metrics_port)}
        builds.rmdir()
        without_builds = {where for _, where in samples(governor.metrics_port)}
        governor.umount("load")
        without_load = {where for _, where in samples(governor.metrics_port)}
    assert with_builds == {":", "load:", "load:/", "load:/builds"}
    assert without_builds == {":", "load:", "load:/"}
    assert without_load == {":"}


@pytest.mark.once
def test_what_is_gone_is_kept_for_a_while() -> None:
    with Governor(metrics=Serving(keep=600)) as governor:
        load = governor.mount("load", ["numtasks", "cpuacct"])
        builds = load.mkdir("/builds")
        text(governor.metrics_port)
        with open(os.devnull, "w") as nowhere:
            builds["numtasks.limit"] = 1
            job = governor.spawn(["sh", "-c", "(:)"], containers=[builds], stderr=nowhere)
        code = job.wait(60).exit_code
        builds.rmdir()
        found = samples(governor.metrics_port)
        assert found["governor_numtasks_failures_total", "load:/builds"] == 1
        assert found["governor_cpuacct_usage_seconds_total", "load:/builds"] > 0
        assert found["governor_enforcement_level/numtasks", "load:/builds"] == 1
        assert found["governor_job_exit_code/1/sh", ":"] == code != 0
        ended = [found[f"governor_jobs_ended_total/{how}", ":"] for how in ("success", "failure")]
        assert ended == [0, 1]
        assert found["governor_job_state/1/sh/ended", ":"] == 1
        assert found["governor_job_container_info/1/sh", "load:/builds"] == 1
        load.mkdir("/builds")  # the same name: only one of them is told of
        found = samples(governor.metrics_port)
        assert found["governor_numtasks_failures_total", "load:/builds"] == 0


@pytest.mark.once
def test_what_is_gone_goes_when_its_time_is_over() -> None:
    with Governor(metrics=Serving(keep=0.3)) as governor:
        builds = governor.mount("load", ["numtasks"]).mkdir("/builds")
        text(governor.metrics_port)
        governor.spawn(["true"], name="brief", containers=[builds]).wait(60)
        builds.rmdir()

        def gone() -> bool:
            told = text(governor.metrics_port)
            return "brief" not in told and "/builds" not in told

        eventually(gone, "nothing is told of job and container")


def places(port: int | None) -> set[tuple[str, str]]:
    """Job and container, of all jobs that metrics tell of."""
    found = {
        (f"{labels['id']} {labels['name']}", f"{labels['hierarchy']}:{labels['container']}")
        for family in text_string_to_metric_families(text(port))
        for name, labels, value, *_ in family.samples
        if name == "governor_job_container_info" and value == 1
    }
    return found


@pytest.mark.once
def test_jobs_are_found_in_their_containers() -> None:
    """Also when they move, when they have ended, and when the container has another name."""
    with Governor(metrics=Serving(keep=600)) as governor:
        load = governor.mount("load", ["numtasks"])
        governor.mount("cpu", ["cpuacct"])
        first, second = load.mkdir("/first"), load.mkdir("/second")
        port = governor.metrics_port
        job = governor.spawn(["sleep", "600"], name="j", containers=[first])
        assert places(port) == {("1 j", "load:/first"), ("1 j", "cpu:/")}
        second.attach(job.pid)
        assert places(port) == {("1 j", "load:/second"), ("1 j", "cpu:/")}
        governor.stop([job], grace=0)
        second.rename("third")
        assert places(port) == {("1 j", "load:/third"), ("1 j", "cpu:/")}
        load["/third"].rmdir()
        assert places(port) == {("1 j", "load:/third"), ("1 j", "cpu:/")}
        governor.spawn(["true"], name="short", containers=[first]).wait(60)
        first.rmdir()  # before anybody has looked
        assert places(port) >= {("2 short", "load:/first"), ("2 short", "cpu:/")}
        governor.umount("load")
        assert {where for _, where in places(port)} == {"cpu:/"}
