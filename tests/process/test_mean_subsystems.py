"""A subsystem from elsewhere that refuses or fails at a bad time ends no job."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.api import Event, Governor, Hierarchy
from governor.errors import GovernorError
from governor.wire import client as wire
from tests.process.helpers import DEADLINE, eventually, run_job

MEAN = """
import errno
from governor.errors import GovernorError
from governor.subsystem import ControlFile, Subsystem

class Mean(Subsystem):
    name = "mean"

    def create(self, container):
        return {"mood": ""}

    def destroy(self, container, state):
        pass

    def mood(self, container):
        return container.hierarchy.root.states["mean"]["mood"]

    def can_fork(self, container):
        if self.mood(container) == "refuse":
            raise GovernorError(errno.EPERM, "not in this mood")

    def contribute(self, plan, container):
        if self.mood(container) == "fail":
            raise RuntimeError("not in this mood")

    def populate(self):
        def write(container, mood):
            container.states["mean"]["mood"] = mood
        return {"mean.mood": ControlFile(self.mood, str, write)}
"""


@pytest.fixture
def mean(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    """A governor that finds the subsystem among what is installed."""
    (tmp_path / "meansubsystem.py").write_text(MEAN)
    info = tmp_path / "meansubsystem-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meansubsystem\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[governor.subsystems]\nmean = meansubsystem:Mean\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with Governor() as gov:
        yield gov


@pytest.fixture
def moods(mean: Governor) -> Hierarchy:
    return mean.mount("moods", ["mean"])


def told(gov: Governor, kind: str) -> list[Event]:
    rows = gov.client.ask(lambda n: wire.Follow(n, 0, 0.0))[2]
    return [event for row in rows if (event := Event(*row)).kind == kind]


def test_a_release_agent_that_may_not_be_started(mean: Governor, moods: Hierarchy) -> None:
    moods.root["release_agent"] = "/bin/true"
    inner = moods.mkdir("/inner")
    inner["notify_on_release"] = inner["auto_remove"] = 1
    job = mean.spawn(["sleep", "600"], containers=[inner])
    moods.root["mean.mood"] = "refuse"
    job.kill()
    job.wait(DEADLINE)
    eventually(lambda: not moods.root.children, "it has been removed all the same")
    (event,) = told(mean, "release-failed")
    assert event.path == "/inner"
    assert "not in this mood" in str(event.fields["reason"])


def test_a_plan_that_cannot_be_made(mean: Governor, moods: Hierarchy) -> None:
    job = mean.spawn(["sleep", "600"])
    with pytest.raises(GovernorError, match="not in this mood"):
        moods.root["mean.mood"] = "fail"
    cpu = mean.mount("cpu", ["cpuacct"])
    assert told(mean, "unenforced")
    with pytest.raises(GovernorError) as refused:
        mean.spawn(["true"], containers=[cpu.root])
    assert refused.value.errno == errno.EIO
    mean.umount("moods")
    assert run_job(mean, ["true"])[0].exit_code == 0
    assert [report.exit_code for report in mean.jobs() if report.id == job.id] == [None]
