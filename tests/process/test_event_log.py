"""The file of events: a line for each, whatever becomes of the file, and of the governor."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import governor
from governor.api import Governor, event_log
from governor.api.event_log import EventLog
from governor.client import Client
from governor.errors import GovernorError
from tests.process.helpers import eventually, run_job

pytestmark = pytest.mark.once


def read(path: Path) -> list[dict[str, Any]]:
    """Every line; one that is no JSON fails."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(*paths: Path) -> list[int]:
    return [event["number"] for path in paths for event in read(path) if event]


def whole_numbers(path: Path) -> list[int]:
    """The same of one that may be in the middle of a try that fails; nothing while it is."""
    text = path.read_text()
    if not text.endswith("\n"):
        return []
    return [event["number"] for event in map(json.loads, text.splitlines()) if event]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(event_log, "TRY_AGAIN", 0.05)
    return tmp_path / "events.jsonl"


@pytest.mark.usefixtures("runtime")
class TestAll:
    def test_every_event_is_a_line_up_to_the_last(self, log: Path) -> None:
        with governor.Governor(events=log) as gov:
            box = gov.mount("load", ["numtasks"]).mkdir("/box")
            box["numtasks.limit"] = 2
            jobs = [gov.spawn(["sleep", "1000"], containers=[box]) for _ in range(2)]
        told = read(log)
        assert [event["number"] for event in told] == list(range(1, len(told) + 1))
        ended = [event["fields"] for event in told if event["kind"] == "job-end"]
        assert sorted(fields["pid"] for fields in ended) == sorted(job.pid for job in jobs)
        assert {fields["containers"] for fields in ended} == {"load:/box"}

    def test_whoever_ends_the_governor(self, log: Path) -> None:
        gov = governor.Governor(events=log)
        for _ in range(3):
            gov.spawn(["sleep", "1000"])
        os.kill(gov.pid, signal.SIGTERM)
        eventually(lambda: log.read_text().count('"job-end"') == 3, "all are told of")
        gov.close()
        assert log.read_text().count('"job-end"') == 3

    def test_who_ends_before_the_log_has_come_to_anything(
        self, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its thread begins when the governor has ended all jobs."""
        ended, follow = threading.Event(), EventLog._follow

        def follow_late(self: EventLog, client: Client) -> None:
            ended.wait()
            follow(self, client)

        monkeypatch.setattr(EventLog, "_follow", follow_late)
        with governor.Governor(events=log) as gov:
            gov.mount("load", ["numtasks"])
            shutdown = gov.shutdown

            def shut_down(grace: float) -> None:
                shutdown(grace)
                ended.set()

            monkeypatch.setattr(gov, "shutdown", shut_down)
        assert [event["kind"] for event in read(log)] == ["mount"]

    def test_lines_are_appended(self, log: Path) -> None:
        log.write_text("{}\n")
        for _ in range(2):
            with governor.Governor(events=log) as gov:
                gov.mount("load", ["numtasks"])
        kinds = [event.get("kind") for event in read(log)]
        assert kinds == [None, "mount", "mount"]


class TestRotation:
    def test_a_file_that_was_renamed_is_made_anew(self, gov: Governor, log: Path) -> None:
        gov.log_events(log)
        load = gov.mount("load", ["numtasks"])
        eventually(lambda: numbers(log) == [1], "it is there")
        old = log.rename(log.with_suffix(".1"))
        load.mkdir("/box")
        eventually(lambda: log.exists() and numbers(log) == [2], "the new one is there")
        assert numbers(old) == [1]

    def test_a_file_that_was_cut_short_goes_on_at_its_beginning(
        self, gov: Governor, log: Path
    ) -> None:
        gov.log_events(log)
        load = gov.mount("load", ["numtasks"])
        eventually(lambda: numbers(log) == [1], "it is there")
        os.truncate(log, 0)
        load.mkdir("/box")
        eventually(lambda: numbers(log) == [2], "the new one is there")

    def test_a_directory_that_is_gone_is_waited_for(
        self, gov: Governor, log: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        log = log.parent / "logs" / "events"
        log.parent.mkdir()
        gov.log_events(log)
        load = gov.mount("load", ["numtasks"])
        eventually(lambda: numbers(log) == [1], "it is there")
        away = log.parent.rename(log.parent.with_name("away"))
        load.mkdir("/box")
        said = ""
        while "cannot be written" not in said:
            said += capfd.readouterr().err
        log.parent.mkdir()
        load.mkdir("/other")
        eventually(lambda: log.exists() and numbers(log) == [2, 3], "nothing is lost")
        assert numbers(away / log.name) == [1]


@contextmanager
def full_disk(used: int) -> Iterator[None]:
    """No file of this process may be larger, until this is left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (used, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_harms_no_job_and_costs_no_line(
    gov: Governor, log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log.write_text("{}\n" * 10_000)  # more than what pytest has of standard error in a file
    gov.log_events(log)
    load = gov.mount("load", ["numtasks"])
    eventually(lambda: numbers(log) == [1], "it is there")
    with full_disk(log.stat().st_size + 10):
        said = ""
        assert run_job(gov, ["true"], [load.root])[0].exit_code == 0
        while "cannot be written" not in said:
            said += capfd.readouterr().err
        assert run_job(gov, ["true"], [load.root])[0].exit_code == 0
        eventually(lambda: whole_numbers(log) == [1], "no line stays torn")
    eventually(lambda: whole_numbers(log) == [1, 2, 3, 4, 5], "nothing is lost")
    while "again" not in said:
        said += capfd.readouterr().err
    assert said.splitlines() == [
        f"governor: events cannot be written to {log}: File too large",
        f"governor: events are written to {log} again",
    ]


def test_a_pipe_that_nobody_reads_any_more_harms_nothing(
    gov: Governor, log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(log)
    with pytest.raises(GovernorError) as caught:
        gov.log_events(log)
    assert caught.value.errno == errno.ENXIO
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    gov.log_events(log)
    os.close(reader)
    load = gov.mount("load", ["numtasks"])
    said = ""
    while "cannot be written" not in said:
        said += capfd.readouterr().err
    assert run_job(gov, ["true"], [load.root])[0].exit_code == 0


def test_who_only_connects_may_log_too(gov: Governor, log: Path) -> None:
    with Governor.connect(gov.directory) as other:
        other.log_events(log)
        gov.mount("load", ["numtasks"])
        eventually(lambda: numbers(log) == [1], "it is there")
    gov.umount("load")
    assert numbers(log) == [1]


@pytest.mark.parametrize("path", ["/", "/no/such/file"])
@pytest.mark.usefixtures("runtime")
def test_a_file_that_cannot_be_opened_starts_nothing(path: str) -> None:
    with pytest.raises(GovernorError) as caught:
        governor.Governor(events=path)
    assert caught.value.errno in (errno.EISDIR, errno.ENOENT)
    assert caught.value.message.startswith(f"events cannot be written to {path}: ")
