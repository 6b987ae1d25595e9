"""What a governor remembers of jobs that have ended has an end."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from governor import launch
from governor.api import Governor
from governor.errors import GovernorError
from governor.supervisor import events, jobs
from governor.wire import client as wire
from tests.process.helpers import eventually


@pytest.mark.once
def test_only_the_last_jobs_are_remembered(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ENDED_MAX", 3)  # the supervisor is a fork of this process
    with Governor(fork=True) as gov:
        ids = []
        for _ in range(10):
            job = gov.spawn(["true"])
            job.wait(30)
            ids.append(job.id)
        # One whose filter the kernel has not quite let go of is remembered for longer.
        eventually(lambda: not _run_another(gov, ids) & set(ids[:3]), "the first are forgotten")
        with pytest.raises(GovernorError) as caught:
            gov.client.ask(lambda n: wire.Wait(n, [ids[0]], 0))
        assert caught.value.errno == errno.ESRCH


def _run_another(gov: Governor, ids: list[int]) -> set[int]:
    job = gov.spawn(["true"])
    job.wait(30)
    ids.append(job.id)
    return {report.id for report in gov.jobs()}


@pytest.mark.once
def test_so_many_follow_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FOLLOWERS_MAX", 2)
    row = events.Events()
    answers: list[events.Answer] = []
    for _ in range(2):
        row.follow(-1, 1000, answers.append)
    with pytest.raises(GovernorError) as caught:
        row.follow(-1, 1000, answers.append)
    assert caught.value.errno == errno.EAGAIN
    row.publish("something")
    row.tick()
    row.follow(-1, 1000, answers.append)
    assert len(answers) == 2


def test_no_directory_where_others_can_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all, own = tmp_path / "open", tmp_path / "own"
    own.mkdir(0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(own))
    bad = [open_to_all]
    if os.geteuid() == 0:
        theirs = tmp_path / "theirs"
        theirs.mkdir(0o700)
        os.chown(theirs, 65534, -1)
        bad.append(theirs)
    for place in bad:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
        made = Path(launch.make_directory(1, 1))
        made.rmdir()
        assert made.parent not in bad  # which other depends on how long the paths are
