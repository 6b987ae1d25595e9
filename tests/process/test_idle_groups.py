"""Combinations of containers that nobody is in any more are forgotten, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.api import Governor
from governor.supervisor import idle_groups
from tests.process.helpers import agent_of, eventually, kill_and_see, run_job

pytestmark = pytest.mark.once

SIDE = 9
BURN = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; exit 3"


@pytest.fixture
def gov(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Governor]:
    """One that takes sixteen groups for many."""
    monkeypatch.setattr(idle_groups, "LEAST", 16)  # the supervisor is a fork of this process
    with Governor(fork=True) as gov:
        yield gov


def test_groups_do_not_pile_up_and_figures_stay(gov: Governor) -> None:
    """Jobs and a process that wanders, through all combinations of containers of two trees."""
    load, cpu = gov.mount("load", ["numtasks"]), gov.mount("cpu", ["cpuacct"])
    rows = [load.mkdir(f"/r{n}") for n in range(SIDE)]
    columns = [cpu.mkdir(f"/c{n}") for n in range(SIDE)]
    stays = gov.spawn(["sleep", "1000"], containers=[rows[0], columns[0]])
    wanders = gov.spawn(["sleep", "1000"], containers=[rows[0], columns[0]])
    used = 0.0
    for row in rows:
        row["numtasks.limit"] = 4
        row.attach(wanders.pid)
        for column in columns:
            column.attach(wanders.pid)
            result, _ = run_job(gov, ["sh", "-c", BURN], [row, column])
            assert result.exit_code == 3
            used += result.cpu_seconds
    assert gov.status().groups <= 2 * 16
    assert stays.pid in rows[0].tasks
    assert wanders.pid in rows[-1].tasks
    assert rows[-1]["numtasks.held"] == 1
    for job in (stays, wanders):
        job.kill()
        used += job.wait(30).cpu_seconds
    there = sum(int(column["cpuacct.usage"]) for column in columns) / 1e9
    assert there == pytest.approx(used, abs=0.02 + used / 20)
    eventually(lambda: rows[0]["numtasks.held"] == 0, "all have ended")
    for container in [*rows, *columns]:
        container.rmdir()


def test_a_container_that_was_not_enforced_stays_so(gov: Governor) -> None:
    """Its groups are gone, and what is known of them is not."""
    first = gov.mount("load", ["numtasks"])
    box = first.mkdir("/box")
    job = gov.spawn(["sleep", "1000"])
    second = gov.mount("files", ["numfiles"])  # which the job has no trap for
    job_box = second.mkdir("/unenforced")
    job_box.attach(job.pid)
    job.kill()
    job.wait(30)
    for number in range(40):
        run_job(gov, ["true"], [box, second.mkdir(f"/c{number}")])
    assert gov.status().groups <= 2 * 16
    levels = {report.path: report.level for report in gov.containers()}
    assert levels["/unenforced"] == {"numfiles": "observed"}
    assert levels["/c1"] == {"numfiles": "enforced"}
    assert levels["/box"] == {"numtasks": "enforced"}


def test_what_is_reset_where_no_group_is_left_stays_so(gov: Governor) -> None:
    """An agent that comes later, and goes on with the figures of the last one, knows of it."""
    load, cpu = gov.mount("load", ["numtasks"]), gov.mount("cpu", ["cpuacct"])
    box, other = load.mkdir("/a"), cpu.mkdir("/b")
    box["numtasks.limit"] = 1
    assert run_job(gov, ["sh", "-c", "sleep 1 & wait"], [box, other])[0].exit_code == 2
    assert int(box["numtasks.failcnt"]) > 0
    eventually(lambda: not box.tasks, "all have ended")
    other.rmdir()  # with the only group that anybody in the box was in
    box["numtasks.failcnt"] = box["numtasks.maxheld"] = 0
    kill_and_see([agent_of(gov)])
    assert (box["numtasks.failcnt"], box["numtasks.maxheld"]) == (0, 0)
