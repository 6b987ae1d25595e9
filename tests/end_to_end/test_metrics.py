"""Metrics of a real governor: from the limits and jobs to what Prometheus is told."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from governor.api import Governor
from tests.capabilities import need
from tests.leftovers import Mark

RUN = [sys.executable, "-m", "governor", "run"]

Sample = tuple[str, str]
"""Name of the metric, and container as hierarchy:/path."""


def text(port: int | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        assert answer.status == 200
        return str(answer.read(), "utf-8")


def samples(port: int | None) -> dict[Sample, float]:
    found = {}
    for family in text_string_to_metric_families(text(port)):
        for sample in family.samples:
            labels = dict(sample.labels)
            where = f"{labels.pop('hierarchy', '')}:{labels.pop('container', '')}"
            if labels.pop("level", "enforced") == "enforced":
                found["/".join([sample.name, *labels.values()]), where] = sample.value
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def mark() -> Iterator[Mark]:
    mark = Mark()
    yield mark
    mark.kill()


def environment(mark: Mark) -> dict[str, str]:
    return {**os.environ, **mark.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


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


def test_promtool_finds_nothing_wrong() -> None:
    promtool = shutil.which("promtool")
    need(promtool is not None, "promtool, of Debian's package prometheus, is not there")
    assert promtool is not None
    with Governor(metrics=0) as governor:
        governor.mount("projects", ["numtasks@projects"]).mkdir("/p")
        hierarchy = governor.mount("everything", ["all"])
        hierarchy.mkdir('/a "b" \\c ü')
        exported = text(governor.metrics_port)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=exported, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_every_metric_is_documented() -> None:
    with Governor(metrics=0) as governor:
        governor.mount("everything", ["all"])
        exported = set(re.findall(r"^(governor_\w+)", text(governor.metrics_port), re.M))
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"`(governor_\w+)`", page.partition("## Queries")[0]))
    counted = {name.removeprefix("governor_NAME") for name in documented if "_NAME" in name}
    assert {"_held", "_limit", "_failures_total"} <= counted

    def is_documented(name: str) -> bool:
        _, _, figure = name.removeprefix("governor").removesuffix("_bytes").partition("_")
        return name in documented or figure[figure.find("_") :] in counted

    assert {name for name in exported if not is_documented(name)} == set()


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


def test_series_vanish_with_their_container_and_hierarchy() -> None:
    with Governor(metrics=0) as governor:
        load = governor.mount("load", ["numtasks"])
        builds = load.mkdir("/builds")
        with_builds = {where for _, where in samples(governor.metrics_port)}
        builds.rmdir()
        without_builds = {where for _, where in samples(governor.metrics_port)}
        governor.umount("load")
        without_load = {where for _, where in samples(governor.metrics_port)}
    assert with_builds == {":", "load:/", "load:/builds"}
    assert without_builds == {":", "load:/"}
    assert without_load == {":"}


def test_run_serves_metrics_while_the_command_runs(mark: Mark) -> None:
    port = free_port()
    program = (
        "import urllib.request, sys;"
        f"sys.stdout.buffer.write(urllib.request.urlopen('http://127.0.0.1:{port}/metrics').read())"
    )
    done = subprocess.run(
        [*RUN, "--max-tasks", "50", "--metrics", str(port), "--", sys.executable, "-c", program],
        env=environment(mark),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'governor_numtasks_limit{container="/job",hierarchy="load"} 50.0' in done.stdout
    assert 'governor_numtasks_held{container="/job",hierarchy="load"} 1.0' in done.stdout
    assert mark.processes() == []


def test_run_with_metrics_passes_signals_on(mark: Mark) -> None:
    program = (
        "import signal, sys;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "print('ready', flush=True);"
        "signal.pause()"
    )
    port = free_port()
    with subprocess.Popen(
        [*RUN, "--metrics", str(port), "--", sys.executable, "-c", program],
        env=environment(mark),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        assert "governor_build_info" in text(port)
        command.send_signal(signal.SIGTERM)
        assert command.wait(60) == 7
    assert mark.processes() == []


def test_run_with_a_port_in_use_starts_nothing(mark: Mark, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [*RUN, "--metrics", str(port), "--", "touch", str(tmp_path / "started")],
            env={**environment(mark), "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == (
        f"governor: cannot serve metrics: port {port} of 127.0.0.1 is in use; choose another\n"
    )
    assert list(tmp_path.iterdir()) == []
    assert mark.processes() == []
