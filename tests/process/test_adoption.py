"""The supervisor of a governor with a state is killed; the next one goes on with everything."""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor import rundir
from governor.api import Container, Governor, Job
from governor.errors import GovernorError
from governor.journal.frames import frame, read
from governor.journal.records import RECORDS, Began, bytes_of
from tests.process.helpers import (
    children,
    eventually,
    exists,
    kill_and_see,
    nothing_left,
    puppet,
)

pytestmark = pytest.mark.once


class Service:
    """A governor that is started again in the same directory, as ``governor up --state`` does."""

    def __init__(self, scratch: Path, state: Path) -> None:
        self.directory = scratch / "g"
        self.state = str(state)
        self.gov = self.start()

    def start(self) -> Governor:
        lock = rundir.claim(str(self.directory), self.state)
        try:
            gov = Governor(directory=str(self.directory), state=self.state)
            rundir.record(str(self.directory), gov.pid, gov.nonce)
        finally:
            os.close(lock)
        return gov

    def kill(self) -> None:
        """The supervisor alone, and us as its owner."""
        kill_and_see([self.gov.pid])
        self.gov.client.close()
        self.gov._link.close()

    def again(self) -> Governor:
        self.kill()
        self.gov = self.start()
        return self.gov


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    with nothing_left(monkeypatch) as scratch:
        service = Service(scratch, tmp_path / "state")
        try:
            yield service
        finally:
            service.gov.close()
            shutil.rmtree(service.directory, ignore_errors=True)


def job_of(gov: Governor, job: Job) -> Job:
    return Job(gov, job.id, job.name, job.pid, job.traps)


def limited(gov: Governor, limit: int) -> Container:
    container = gov.mount("load", ["numtasks", "cpuacct"]).mkdir("/a")
    container["numtasks.limit"] = limit
    return container


def test_a_job_goes_on_and_its_end_is_seen(service: Service) -> None:
    hear, say = os.pipe()
    job = service.gov.spawn(["sh", "-c", "read x; exit 7"], stdin=hear)
    gov = service.again()
    assert exists(job.pid)
    (report,) = gov.jobs()
    assert (report.id, report.pid, report.exit_code) == (job.id, job.pid, None)
    os.write(say, b"\n")
    assert job_of(gov, job).wait().exit_code == 7
    for end in (hear, say):
        os.close(end)


def test_ends_while_there_is_no_supervisor(service: Service) -> None:
    hear, say = os.pipe()
    jobs = [service.gov.spawn(["sh", "-c", f"read x; exit {n}"], stdin=hear) for n in range(1, 6)]
    ends = [os.pidfd_open(job.pid) for job in jobs]
    service.kill()
    os.close(hear)
    os.close(say)  # they read the end, and exit
    for end in ends:
        assert select.select([end], [], [], 30)[0]
        os.close(end)
    gov = service.gov = service.start()
    assert [job_of(gov, job).wait().exit_code for job in jobs] == [1, 2, 3, 4, 5]
    gov = service.again()  # they are not reported twice, and not forgotten
    assert [job_of(gov, job).wait().exit_code for job in jobs] == [1, 2, 3, 4, 5]


def test_the_limit_holds_throughout(service: Service) -> None:
    with puppet(service.gov, limited(service.gov, 3)) as member:
        member.make()
        container = service.again().hierarchy("load")["/a"]
        assert container["numtasks.held"] == 2
        member.make()
        assert member.is_refused()
        assert (container["numtasks.held"], container["numtasks.maxheld"]) == (3, 3)
        container = service.again().hierarchy("load")["/a"]
        assert (container["numtasks.failcnt"], container["numtasks.maxheld"]) == (1, 3)
        assert member.is_refused()
        member.end()
        member.make()
        assert container["numtasks.failcnt"] == 2


def test_what_was_used_is_counted_once(service: Service) -> None:
    container = limited(service.gov, 50)
    burn = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"
    code = f"({burn}) & ({burn}); wait; {burn}; read x; {burn}"
    hear, say = os.pipe()
    job = service.gov.spawn(["sh", "-c", code], containers=[container], stdin=hear)
    used = 0
    for _ in range(3):
        container = service.again().hierarchy("load")["/a"]
        now = int(container["cpuacct.usage"])
        assert now >= used
        used = now
    os.write(say, b"\n")
    result = job_of(service.gov, job).wait()
    assert result.exit_code == 0
    usage = int(container["cpuacct.usage"])
    assert usage == pytest.approx(result.cpu_seconds * 1e9, rel=0.02)
    assert service.again().hierarchy("load")["/a"]["cpuacct.usage"] == usage
    for end in (hear, say):
        os.close(end)


def test_a_timeout_goes_on(service: Service) -> None:
    job = service.gov.spawn(["sleep", "1000"], timeout=2.0, grace=0.1)
    gov = service.again()
    result = job_of(gov, job).wait()
    assert (result.exit_code, result.timed_out) == (124, True)


def test_it_can_be_ended_and_moved(service: Service) -> None:
    container = limited(service.gov, 50)
    job = service.gov.spawn(["sleep", "1000"], containers=[container])
    gov = service.again()
    other = gov.hierarchy("load").mkdir("/b")
    other.attach(job.pid)
    gov = service.again()
    assert gov.hierarchy("load")["/b"].tasks == [job.pid]
    gov.stop([job_of(gov, job)], grace=0.1)
    assert job_of(gov, job).wait().signal == signal.SIGTERM
    gov.hierarchy("load")["/b"].rmdir()


def test_many_deaths_in_a_row(service: Service) -> None:
    jobs = [service.gov.spawn(["sleep", "1000"]) for _ in range(5)]
    for _ in range(3):
        gov = service.again()
        assert {report.pid for report in gov.jobs()} == {job.pid for job in jobs}
        jobs.append(gov.spawn(["sleep", "1000"]))
    assert len({job.id for job in jobs}) == len(jobs)


def test_spawner_and_supervisor_at_once(service: Service) -> None:
    job = service.gov.spawn(["sleep", "1000"])
    (spawner,) = (pid for pid in children(service.gov.pid) if exists(pid))
    os.kill(service.gov.pid, signal.SIGSTOP)
    kill_and_see([spawner])
    gov = service.again()
    assert job_of(gov, job).wait().exit_code == 125
    eventually(lambda: not exists(job.pid), "the job has been ended")


def test_a_state_that_is_gone(service: Service, tmp_path: Path) -> None:
    """As when its file system is not mounted; or one of before, or damaged from its beginning."""
    old = tmp_path / "old"
    shutil.copytree(service.state, old)
    journal = old / "journal"
    record = RECORDS.decode(read(journal.read_bytes()).frames[0][0])
    assert isinstance(record, Began)
    journal.write_bytes(frame([bytes_of(record._replace(nonce=record.nonce ^ 1))]))
    damaged = tmp_path / "damaged"
    shutil.copytree(service.state, damaged)
    (damaged / "journal").write_bytes(b"x" * 1000)
    job = service.gov.spawn(["sleep", "1000"])
    service.kill()
    state, aside = Path(service.state), tmp_path / "aside"
    state.rename(aside)
    for other in (None, old, damaged):
        if other is not None:
            other.rename(state)
        with pytest.raises(GovernorError, match="not in this state") as caught:
            service.start()
        assert caught.value.errno == errno.EBUSY
        shutil.rmtree(state)
    aside.rename(state)
    service.gov = service.start()
    assert [(r.id, r.exit_code) for r in service.gov.jobs()] == [(job.id, None)]


def test_owner_that_dies_before_it_has_written_anything(service: Service) -> None:
    """What is to be gone on with is known from the beginning."""
    job = service.gov.spawn(["sleep", "1000"])
    service.kill()
    for name in ("pid", "nonce"):
        (service.directory / name).unlink()
    service.gov = service.start()
    assert [(r.id, r.exit_code) for r in service.gov.jobs()] == [(job.id, None)]


def test_without_the_state_it_is_refused(service: Service) -> None:
    service.gov.spawn(["sleep", "1000"])
    service.kill()
    for state in ("", "/elsewhere"):
        with pytest.raises(GovernorError, match=f"--state {service.state}"):
            rundir.claim(str(service.directory), state)
    service.gov = service.start()
    assert [report.exit_code for report in service.gov.jobs()] == [None]
