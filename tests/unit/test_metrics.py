"""The exporter by itself: names, formats and the small server, over made-up containers."""

from __future__ import annotations

import errno
import http.client
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from governor import registry
from governor.api import ContainerReport
from governor.core.container import Container
from governor.errors import GovernorError
from governor.metrics import Exporter
from governor.results import LEVELS as ALL_LEVELS
from governor.serving import Serving
from governor.subsystem import ControlFile, Metric, Subsystem
from tests.capabilities import need

LEVELS = {"numtasks": "enforced", "cpuset": "partial", "cpuacct": "observed"}
FILES: dict[str, int | str] = {
    "numtasks.held": 3,
    "numtasks.maxheld": 5,
    "numtasks.limit": "max",
    "numtasks.failcnt": 7,
    "cpuset.cpus": "0-3,5",
    "cpuacct.usage": 1_500_000_000,
}

Key = tuple[str, str, str]


def report(path: str = "/", hierarchy: str = "load", **levels: str) -> ContainerReport:
    return ContainerReport(hierarchy, path, levels or LEVELS, FILES)


Containers = Callable[[], list[ContainerReport]]
ANYWHERE = Serving()
OWN = {"spawner_restarts": 0, "ended": [0, 0], "state": ("", "")}
IDLE = [[], [[0] * 15, [0] * 15], 0, 0]


def block(report: ContainerReport) -> list[Any]:
    """One container as the supervisor tells of those that are gone: by itself."""
    files = {name: [value] for name, value in report.files.items()}
    levels = {kind: [ALL_LEVELS.index(level)] for kind, level in report.level.items()}
    return [report.hierarchy, 0, [report.path], files, levels]


def asked(containers: Containers, **more: Any) -> Callable[[dict[str, int], float], dict[str, Any]]:
    def ask(shapes: dict[str, int], keep: float) -> dict[str, Any]:
        blocks: dict[Any, list[Any]] = {}
        for one in map(block, containers()):
            key = one[0], tuple(one[3]), tuple(one[4])
            if key not in blocks:
                blocks[key] = one
                continue
            blocks[key][2] += one[2]
            for place in (3, 4):
                for name, values in blocks[key][place].items():
                    values += one[place][name]
        told = {"hierarchies": [], "jobs": [], "work": IDLE, "restarts": 0} | OWN
        return told | {"blocks": list(blocks.values())} | more

    return ask


@contextmanager
def exporting(
    containers: Containers, serving: Serving = ANYWHERE, **more: Any
) -> Iterator[Exporter]:
    exporter = Exporter(asked(containers, **more), serving)
    try:
        yield exporter
    finally:
        exporter.close()


def get(port: int, path: str = "/metrics", **headers: str) -> tuple[int, str, str]:
    """Status, content type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def scrape(*reports: ContainerReport) -> str:
    with exporting(lambda: list(reports)) as exporter:
        status, kind, body = get(exporter.port)
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    return body


def samples(text: str) -> dict[Key, float]:
    """(name, hierarchy, container) -> value."""
    return {
        (sample.name, sample.labels["hierarchy"], sample.labels["container"]): sample.value
        for family in parse_text(text)
        for sample in family.samples
        if "hierarchy" in sample.labels and "level" not in sample.labels
    }


def test_control_files_become_series_in_base_units() -> None:
    assert samples(scrape(report("/builds"))) == {
        ("governor_numtasks_held", "load", "/builds"): 3,
        ("governor_numtasks_held_max", "load", "/builds"): 5,
        ("governor_numtasks_limit", "load", "/builds"): math.inf,
        ("governor_numtasks_failures_total", "load", "/builds"): 7,
        ("governor_cpuset_cpus", "load", "/builds"): 5,
        ("governor_cpuacct_usage_seconds_total", "load", "/builds"): 1.5,
    }


def test_the_kinds_are_told() -> None:
    kinds = {family.name: family.type for family in parse_text(scrape(report()))}
    assert kinds["governor_numtasks_held"] == "gauge"
    assert kinds["governor_numtasks_failures"] == "counter"
    assert kinds["governor_cpuacct_usage_seconds"] == "counter"


def test_one_level_of_three_is_set() -> None:
    levels = {
        (sample.labels["subsystem"], sample.labels["level"]): sample.value
        for family in parse_text(scrape(report("/builds")))
        for sample in family.samples
        if sample.name == "governor_enforcement_level"
    }
    assert levels == {
        (subsystem, level): float(LEVELS[subsystem] == level)
        for subsystem in LEVELS
        for level in ("enforced", "partial", "observed")
    }


def test_the_build_is_told_even_without_containers() -> None:
    assert "governor_build_info{version=" in scrape()


@pytest.mark.parametrize(
    ("state", "recording"), [(("", ""), None), (("/s", ""), 1.0), (("/s", "no room"), 0.0)]
)
def test_it_tells_of_governor_itself(state: tuple[str, str], recording: float | None) -> None:
    with exporting(list, restarts=3, spawner_restarts=2, state=state) as exporter:
        text = get(exporter.port)[2]
    assert "\ngovernor_agent_restarts_total 3.0\n" in text
    assert "\ngovernor_spawner_restarts_total 2.0\n" in text
    found = re.findall(r"^governor_recording (.*)$", text, re.M)
    assert found == ([] if recording is None else [str(recording)])


def test_promtool_finds_nothing_wrong() -> None:
    promtool = shutil.which("promtool")
    need(promtool is not None, "promtool, of Debian's package prometheus, is not there")
    assert promtool is not None
    text = scrape(report('/"quoted" back\\slash'), report("/ünï", "cpu"))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ['/say "hi"', "/back\\slash\\n", "/grün/日本", "/a b\t{}=,#"])
def test_any_name_of_a_container_comes_through(name: str) -> None:
    assert ("governor_numtasks_held", "load", name) in samples(scrape(report(name)))


def test_openmetrics_for_those_who_ask_for_it() -> None:
    with exporting(lambda: [report("/a"), report("/b")]) as exporter:
        accept = "application/openmetrics-text; version=1.0.0"
        _, kind, body = get(exporter.port, Accept=accept)
    assert kind.startswith("application/openmetrics-text")
    families = parse_openmetrics(body)  # type: ignore[no-untyped-call]
    units = {family.name: family.unit for family in families}
    assert units["governor_cpuacct_usage_seconds"] == "seconds"


@pytest.mark.parametrize("accept", ["text/plain;version=abc", ";;,=", "*/*"])
def test_text_for_those_who_ask_for_nonsense(accept: str) -> None:
    with exporting(lambda: [report()]) as exporter:
        status, kind, _ = get(exporter.port, Accept=accept)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")


# -- subsystems of other packages --------------------------------------------------------


class Disk(Subsystem):
    name = "disk"

    def create(self, container: Container) -> object:
        return None

    def destroy(self, container: Container, state: object) -> None:
        pass

    def populate(self) -> dict[str, ControlFile]:
        def megabytes(value: int | str) -> float:
            return float(value) * 1e6

        size = Metric("size", "Size.", unit="bytes", number=megabytes)
        return {
            "disk.size": ControlFile(lambda c: 3, metric=size),
            "disk.free-blocks": ControlFile(lambda c: 3),
            "disk.free_blocks": ControlFile(lambda c: 4),
            "disk.limit": ControlFile(lambda c: "max"),
            "disk.device": ControlFile(lambda c: "sda"),
            "disk.version": ControlFile(lambda c: "12"),
        }


DISK: dict[str, int | str] = {
    "disk.size": 3,
    "disk.free-blocks": 3,
    "disk.free_blocks": 4,
    "disk.limit": "max",
    "disk.device": "sda",
    "disk.version": "12",
}


def disk(size: int | str) -> dict[Key, float]:
    files = {**DISK, "disk.size": size}
    return samples(scrape(ContainerReport("io", "/", {"disk": "enforced"}, files)))


def test_subsystems_of_others_are_exported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {"disk": Disk})
    assert disk(3) == {
        ("governor_disk_size_bytes", "io", "/"): 3e6,
        ("governor_disk_free_blocks", "io", "/"): 3,  # the second of that name is left out
        ("governor_disk_limit", "io", "/"): math.inf,
    }


def test_a_value_that_is_no_number_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {"disk": Disk})
    assert ("governor_disk_size_bytes", "io", "/") not in disk("unknown")


def test_numbers_of_a_subsystem_that_cannot_be_loaded_here() -> None:
    assert disk(3)["governor_disk_size", "io", "/"] == 3


# -- the server --------------------------------------------------------------------------


def test_series_vanish_with_their_container() -> None:
    reports = [report("/a"), report("/b")]
    with exporting(lambda: reports) as exporter:
        assert 'container="/b"' in get(exporter.port)[2]
        del reports[1]
        assert 'container="/b"' not in get(exporter.port)[2]


def test_only_one_path_is_served() -> None:
    with exporting(lambda: [report()]) as exporter:
        assert get(exporter.port, "/")[::2] == (404, "metrics are at /metrics\n")
        assert get(exporter.port, "/metrics?x=1")[0] == 200


def test_figures_that_cannot_be_had(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> list[ContainerReport]:
        raise GovernorError(errno.EIO, "the supervisor has ended")

    with exporting(fail) as exporter:
        assert get(exporter.port)[::2] == (503, "the supervisor has ended\n")
    assert capfd.readouterr() == ("", "")


def test_a_silent_peer_is_in_nobodys_way() -> None:
    with exporting(lambda: [report()]) as exporter:
        peers = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(20)]
        try:
            assert get(exporter.port)[0] == 200
        finally:
            for peer in peers:
                peer.close()


def test_a_peer_that_goes_away_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    asked, gone = threading.Event(), threading.Event()

    def slow() -> list[ContainerReport]:
        asked.set()
        gone.wait(60)
        return [report(f"/{number}") for number in range(2000)]

    with exporting(slow) as exporter:
        with socket.create_connection(("127.0.0.1", exporter.port)) as peer:
            peer.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert asked.wait(60)
        gone.set()
        assert get(exporter.port)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_all_figures_are_asked_for_by_one_thread() -> None:
    callers = set()

    def containers() -> list[ContainerReport]:
        callers.add(threading.get_ident())
        return [report()]

    with exporting(containers) as exporter:
        for _ in range(5):
            get(exporter.port)
    assert len(callers) == 1


def test_its_threads_leave_signals_alone() -> None:
    masks: list[int] = []

    def containers() -> list[ContainerReport]:
        for tid in set(os.listdir("/proc/self/task")) - before:
            status = Path(f"/proc/self/task/{tid}/status").read_text()
            masks.append(int(status.partition("SigBlk:")[2].split()[0], 16))
        return [report()]

    before = set(os.listdir("/proc/self/task"))
    with exporting(containers) as exporter:
        get(exporter.port)
    assert len(masks) >= 3
    assert all(mask & 1 << signal.SIGTERM - 1 for mask in masks)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_nobody_else_can_connect() -> None:
    with exporting(lambda: [report()]) as exporter, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", exporter.port))


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(GovernorError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            Exporter(asked(list), Serving(port))
    assert caught.value.errno == errno.EADDRINUSE
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(GovernorError, match="allowed are 0 to 65535") as caught:
        Exporter(asked(list), Serving(port))
    assert caught.value.errno == errno.EINVAL


def test_close_leaves_nothing() -> None:
    threads = set(threading.enumerate())
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with exporting(lambda: [report()]) as exporter:
        get(exporter.port)
    with pytest.raises(ConnectionRefusedError):
        get(exporter.port)
    for thread in set(threading.enumerate()) - threads:
        thread.join(60)  # whoever served the last request may still be on the way out
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
    Exporter(asked(lambda: [report()]), Serving(exporter.port)).close()
