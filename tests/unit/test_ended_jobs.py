"""Jobs are remembered for a while after their end, and nothing is kept of one not started."""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from governor.errors import GovernorError
from governor.supervisor import jobs as jobs_module
from governor.supervisor.agent import AgentLink
from governor.supervisor.endings import Endings
from governor.supervisor.job_ends import JobEnds
from governor.supervisor.job_progress import JobProgress
from governor.supervisor.job_starts import JobStarts
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.refusals import Refusals
from governor.transport import Poller
from governor.wire.client import Spawn
from governor.wire.spawner import TO_SPAWNER, Started, StartWorker
from tests.unit.test_agent_link import idle_spawner
from tests.unit.test_late_reports import Bench, FakeAgent
from workers import channel

WANTED = Spawn(1, "job", [b"true"], b"", {}, b"/", 0, 0, [], {}, None, 1.0, "")


class Desk:
    """Jobs whose spawner can never fork."""

    def __init__(self) -> None:
        self.policy = Bench().policy
        end, self.spawner = channel.pair()
        agent = cast("AgentLink", FakeAgent())
        self.ended: list[int] = []
        self.link = idle_spawner(end)
        self.jobs = Jobs(self.policy.changes)
        refusals = Refusals(self.jobs, self.policy, agent)
        ends = JobEnds(
            self.jobs, self.policy, Endings(), refusals, lambda job: self.ended.append(job.id)
        )
        progress = JobProgress(self.jobs, self.link, agent, self.policy, Poller(), ends)
        self.starts = JobStarts(self.jobs, self.link, self.policy, progress)
        self.link.on_started = progress.on_started
        self.ends: list[socket.socket] = [end, self.spawner]

    def spawn(self) -> Job:
        group = self.policy.admit([])
        return self.starts.spawn(WANTED, group.id, [0, 1, 2], lambda job: None)

    def fail(self) -> int:
        """Spawn a job that ends at once; its id."""
        job = self.spawn()
        received = channel.receive(self.spawner, TO_SPAWNER)
        assert received is not None
        message, descriptors = received
        assert message == StartWorker(job.id)
        for descriptor in descriptors:
            os.close(descriptor)
        channel.send(self.spawner, Started(job.id, 0, errno.EAGAIN))
        self.link.catch_up()
        return job.id


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    for end in desk.ends:
        end.close()


def test_the_oldest_are_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "ENDED_MAX", 3)
    ids = [desk.fail() for _ in range(7)]
    assert desk.ended == ids
    assert list(desk.jobs.by_id) == ids[-3:]
    with pytest.raises(GovernorError) as refused:
        desk.jobs.get(ids[0])
    assert refused.value.errno == errno.ESRCH


def test_a_job_without_room_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "full")

    gc.collect()  # what other tests have left open is not to be closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "memfd_create", full)
    for _ in range(3):
        with pytest.raises(GovernorError) as refused:
            desk.spawn()
        assert refused.value.errno == errno.EMFILE
    assert len(os.listdir("/proc/self/fd")) == before
    assert (desk.jobs.by_id, desk.jobs.count_running) == ({}, 0)
