"""What is said late, twice, or while another thing is under way ends nothing and stays nowhere."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from governor.api import event_log
from governor.client import Client
from governor.core.container import Container
from governor.core.counter import Counter
from governor.errors import GovernorError
from governor.results import Event
from governor.supervisor import columns, events
from governor.supervisor.jobs import Jobs
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from tests.capabilities import need
from tests.unit.paper_supervisor import paper_supervisor
from tests.unit.test_fuzz_supervisor import begun
from workers.agent import Agent
from workers.hits import Hits


def test_an_agent_that_takes_over_while_it_is_told_of_ends_may_tell_of_other_jobs() -> None:
    with paper_supervisor() as paper:
        refusals, told = paper.real._refusals, []

        def take_over(job: int) -> None:
            told.append(job)
            if job == 7:
                refusals.of_jobs(agent_wire.JobRefusals([[8, 1, 1, 1]]))

        paper.real._agent.job_ended = take_over
        refusals.of_jobs(agent_wire.JobRefusals([[7, 1, 1, 1]]))
        paper.feed("clients", b"")
        paper.feed("clients", b"")
        assert told == [7, 8]


def test_a_file_that_cannot_be_read_does_not_keep_a_container(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last figures are for metrics only, and nobody waits for some removals' answer."""

    def fail(container: Container) -> None:
        raise ZeroDivisionError

    with paper_supervisor() as paper:
        begun(paper)
        paper.ask(lambda n: wire.Scrape(n, {}, 60.0))
        monkeypatch.setattr(columns, "control_files", fail)
        paper.real._policy.rmdir("h", "/a/b")
        assert "last figures of h:/a/b" in capsys.readouterr().err
        assert "b" not in paper.forest.lookup("h", "/a").children


def test_who_keeps_no_events_any_more_is_not_waited_for_even_if_too_many_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "FOLLOWERS_MAX", 0)
    with paper_supervisor() as paper:
        begun(paper)
        paper.ask(lambda n: wire.Log(n, "me", 0, 1.0))
        assert paper.real._events._keepers
        with pytest.raises(GovernorError, match="wait for events already"):
            paper.ask(lambda n: wire.Log(n, "me", -1, 0.0))
        assert not paper.real._events._keepers


def test_a_log_goes_on_when_it_was_refused_or_not_answered_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Busy:
        is_gone = False

    client = Busy()
    answers = [errno.EAGAIN, errno.ETIMEDOUT, 0, errno.EIO]

    def keep(_: object, keeper: str, after: int) -> tuple[int, list[Event]]:
        number = answers.pop(0)
        client.is_gone = number == errno.EIO
        if number:
            raise GovernorError(number, "not now")
        return 1, [Event(1, 0.0, "mount", "h", "/", {})]

    def enter(_: object, keeper: str) -> None:
        raise GovernorError(errno.EAGAIN, "not now")

    monkeypatch.setattr(event_log, "enter", enter)
    monkeypatch.setattr(event_log, "keep", keep)
    monkeypatch.setattr(event_log, "TRY_AGAIN", 0)
    log = event_log.EventLog(tmp_path / "log")
    log.follow(cast("Client", client))
    thread: Any = log._thread
    thread.join()  # `close` would not have it try again
    log.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_client_with_many_descriptors_knows_whether_its_governor_is_gone() -> None:
    """select(2) takes no descriptor from 1024 on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need(not 0 <= hard <= 1200, "there are no such descriptors here")
    there, here = os.pipe()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        high = fcntl.fcntl(there, fcntl.F_DUPFD_CLOEXEC, 1100)
        client = Client("/nowhere", high)
        before = client.is_gone
        os.write(here, b"x")
        assert [before, client.is_gone] == [False, True]
        os.close(high)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(there)
        os.close(here)


def test_an_end_that_is_concluded_late_does_not_take_a_pid_from_its_next_owner() -> None:
    with paper_supervisor() as paper:
        begun(paper)
        jobs: Jobs = paper.real._jobs
        old, new = (cast("Any", type("Job", (), {"id": id, "pid": 70})()) for id in (1, 2))
        jobs._by_pid[70] = new
        jobs.leave(old)
        assert jobs._by_pid == {70: new}
        jobs.leave(new)
        assert not jobs._by_pid


def test_nothing_is_kept_of_a_job_that_was_refused_its_start() -> None:
    """It never has a listener, with whose end the agent forgets what it has told of others."""

    class Estate:
        forgotten: list[int]

        def forget_refusals(self, job: int) -> None:
            self.forgotten.append(job)

    agent: Any = Agent.__new__(Agent)
    agent._switchboard = SimpleNamespace(of_job={})
    agent._ended, agent._estate = set(), Estate()
    agent._estate.forgotten = []
    agent._hits = hits = Hits(lambda: 1.0)
    for job in (3, 4):
        hits.refused(Counter(1, "tasks", 0), job, 2**22 + 1)
        assert len(hits.take()) == 1
        agent._job_ended(job)
    assert not hits._next
    assert agent._estate.forgotten == [3, 4]
