"""A governor with a state: killed at any moment, and started again on what it has recorded.

Here everything dies at once, as in a power cut; ``test_adoption`` has what goes on meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from governor.api import Governor, Job
from governor.errors import GovernorError
from governor.journal.frames import frame, read
from governor.journal.records import RECORDS, Began, bytes_of
from governor.results import Value
from tests.process.helpers import (
    agent_of,
    children,
    eventually,
    exists,
    file_system,
    kill_and_see,
    nothing_left,
)

UNSETTLED = (".held", ".load", ".stats")
"""Files that say what holds right now."""

SUBSYSTEMS = ["numtasks", "numfiles"]
CROWD = 200
"""Processes of whose move the records do not fit into what is kept ready for others."""


class Host:
    """A machine on which a governor is started, and ended by force, again and again."""

    def __init__(self, scratch: Path, state: Path) -> None:
        self.scratch = scratch
        self.state = state
        self.gov: Governor | None = None

    def up(self, **keys: int) -> Governor:
        self.gov = Governor(state=str(self.state), **keys)  # type: ignore[arg-type]
        return self.gov

    def cut(self) -> None:
        """Everything of the governor's dies at once, and so that nobody can clean up."""
        assert self.gov is not None
        (spawner,) = children(self.gov.pid)
        stop_and_see([self.gov.pid, spawner])  # who has ended is not reaped from here on
        below = children(spawner)
        for pid in below:
            os.kill(pid, signal.SIGSTOP)
        kill_and_see([*below, spawner, self.gov.pid])
        self.close()

    def close(self) -> None:
        if self.gov is not None:
            self.gov.client.close()
            self.gov._link.close()
            directory = Path(self.gov.directory)
            self.gov = None
            if directory.exists():
                for entry in directory.iterdir():
                    entry.unlink()
                directory.rmdir()

    def again(self) -> Governor:
        self.cut()
        return self.up()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    with nothing_left(monkeypatch) as scratch:
        host = Host(scratch, tmp_path / "state")
        try:
            yield host
        finally:
            if host.gov is not None:
                host.gov.close()


def stop_and_see(pids: Collection[int]) -> None:
    """Stop processes and wait until they do nothing any more."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        eventually(lambda: ") T " in stat.read_text(), "it has stopped")  # noqa: B023


def command_of(pid: int) -> bytes:
    """What a process runs; nothing when it has ended, whoever reaps it in this very moment."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def trees(gov: Governor) -> dict[str, dict[str, Value]]:
    """All containers with all that can be set in them."""
    found: dict[str, dict[str, Value]] = {}
    for report in gov.containers():
        files = {n: v for n, v in report.files.items() if not n.endswith(UNSETTLED)}
        found[f"{report.hierarchy}:{report.path}"] = files
    return found


def run(gov: Governor, *containers: object, code: str = "true") -> Job:
    job = gov.spawn(["sh", "-c", code], containers=containers)  # type: ignore[arg-type]
    job.wait()
    return job


@pytest.mark.once
class TestTrees:
    def test_everything_that_was_set(self, host: Host) -> None:
        gov = host.up()
        load = gov.mount("load", [*SUBSYSTEMS, "numsock@x"])
        cpu = gov.mount("cpu", ["cpuset", "cpuacct"])
        memory = gov.mount("memory", ["physpages"])
        load.root["numtasks.total"] = 100
        load.root["numtasks.forkrate"] = 1000
        load.root["release_agent"] = "/bin/true"
        a = load.mkdir("/a")
        a["numtasks.limit"] = 64
        a["numtasks.barrier"] = 60
        a["numtasks.shares"] = "min_shares=20,max_shares=80,child_shares_divisor=50"
        b = load.mkdir("/a/b")
        b["numtasks.shares"] = "min_shares=10"
        b["numfiles.limit"] = 128
        load.mkdir("/gone")
        c = load.mkdir("/old")
        c.rename("new")
        load["/gone"].rmdir()
        d = cpu.mkdir("/d")
        d["cpuset.cpus"] = sorted(os.sched_getaffinity(0))[0]
        d["cpuset.cpu_exclusive"] = 1
        cpu.mkdir("/e")
        memory.mkdir("/f")["physpages.action"] = "kill"
        memory["/f"]["physpages.limit"] = 1000
        run(gov, b, d)
        a["notify_on_release"] = 1  # not before: the agent's own time would be charged meanwhile
        before = trees(gov)
        assert "load:/new" in before
        gov = host.again()
        assert trees(gov) == before
        assert [h.name for h in gov.hierarchies()] == ["0", "load", "cpu", "memory"]

    def test_hierarchies_that_were_unmounted(self, host: Host) -> None:
        gov = host.up()
        gov.mount("load", ["numtasks"]).mkdir("/a")
        gov.umount("load")
        files = gov.mount("files", ["numfiles"])
        files.root["numfiles.limit"] = 77
        gov.umount("files")
        before = gov.hierarchies()
        gov = host.again()
        assert gov.hierarchies() == before
        assert [(h.name, h.mounted) for h in before] == [("0", True), ("load", False)]
        assert gov.mount("again", ["numfiles"]).root["numfiles.limit"] == 77

    def test_limits_hold_and_figures_go_on(self, host: Host) -> None:
        gov = host.up()
        a = gov.mount("load", ["numtasks"]).mkdir("/a")
        a["numtasks.limit"] = 3
        code = "sleep 60 & sleep 60 & (true) || echo refused; kill %1 %2"
        run(gov, a, code=code)
        failures, most = a["numtasks.failcnt"], a["numtasks.maxheld"]
        assert (int(failures) > 0, most) == (True, 3)
        for _ in range(2):
            gov = host.again()
            a = gov.hierarchy("load")["/a"]
            assert (a["numtasks.failcnt"], a["numtasks.maxheld"]) == (failures, 3)
        run(gov, a, code=code)
        assert int(a["numtasks.failcnt"]) == 2 * int(failures)

    def test_usage_goes_on(self, host: Host) -> None:
        gov = host.up()
        cpu = gov.mount("cpu", ["cpuacct"])
        burn = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
        run(gov, cpu.mkdir("/a"), code=burn)
        run(gov, cpu.mkdir("/b"), code=burn)
        used = {path: int(cpu[path]["cpuacct.usage"]) for path in ("/", "/a", "/b")}
        gov = host.again()
        cpu = gov.hierarchy("cpu")
        assert {path: cpu[path]["cpuacct.usage"] for path in used} == used
        run(gov, cpu["/a"], code=burn)
        assert int(cpu["/a"]["cpuacct.usage"]) > used["/a"]
        assert cpu["/b"]["cpuacct.usage"] == used["/b"]
        total = int(cpu["/a"]["cpuacct.usage"]) + int(cpu["/b"]["cpuacct.usage"])
        assert int(cpu["/"]["cpuacct.usage"]) == total

    def test_figures_of_a_container_that_nobody_comes_to_go_on(self, host: Host) -> None:
        """Over any number of cuts, and whoever comes afterwards."""
        gov = host.up()
        load, cpu = gov.mount("load", ["numtasks"]), gov.mount("cpu", ["cpuacct"])
        a, other = load.mkdir("/a"), cpu.mkdir("/b")
        a["numtasks.limit"] = 1
        run(gov, a, other, code="sleep 1 & wait")  # the shell ends over the refusal
        eventually(lambda: not a.tasks, "all have ended")
        other.rmdir()  # with the only group that anybody in /a was in
        before = trees(gov)
        assert (before["load:/a"]["numtasks.failcnt"], a["numtasks.maxheld"]) == (1, 1)
        for _ in range(3):
            gov = host.again()
            assert trees(gov) == before
        a = gov.hierarchy("load")["/a"]
        kill_and_see([agent_of(gov)])
        run(gov, a, code="sleep 1 & wait")
        assert (a["numtasks.failcnt"], a["numtasks.maxheld"]) == (2, 1)

    def test_a_clean_end_leaves_the_trees(self, host: Host) -> None:
        gov = host.up()
        gov.mount("load", ["numtasks"]).mkdir("/a")["numtasks.limit"] = 5
        job = gov.spawn(["sleep", "1000"])
        gov.close()
        host.gov = None
        gov = host.up()
        assert gov.hierarchy("load")["/a"]["numtasks.limit"] == 5
        (report,) = gov.jobs()
        assert (report.id, report.exit_code) == (job.id, 128 + signal.SIGTERM)


@pytest.mark.once
class TestJobs:
    def test_one_that_ran_is_lost_and_said_to_be(self, host: Host) -> None:
        gov = host.up()
        ended = run(gov, code="exit 7")
        ran = gov.spawn(["sleep", "1000"], name="longer")
        gov = host.again()
        reports = {report.name: report.exit_code for report in gov.jobs()}
        assert reports == {"sh": 7, "longer": 125}
        ((id, code, number, _, _, _, error, _, _),) = gov._wait([ran.id], 10)
        assert (id, code, number) == (ran.id, 125, None)
        assert error.startswith("job longer was lost: ")
        ((_, code, *_),) = gov._wait([ended.id], 10)
        assert code == 7
        assert b"sleep" not in command_of(ran.pid)

    def test_numbers_are_not_given_twice(self, host: Host) -> None:
        gov = host.up()
        first = run(gov)
        gov = host.again()
        assert run(gov).id == first.id + 1

    def test_orphans_of_a_cut_are_ended(self, host: Host) -> None:
        gov = host.up()
        job = gov.spawn(["sh", "-c", "setsid sleep 1000 & exec sleep 1000"])
        eventually(lambda: len(children(job.pid)) == 1, "it has a child")
        (orphan,) = children(job.pid)
        host.again()
        eventually(lambda: not exists(orphan), "the orphan has been ended")


@pytest.mark.once
class TestTheJournal:
    def test_a_torn_tail(self, host: Host) -> None:
        gov = host.up()
        gov.mount("load", ["numtasks"])
        gov.hierarchy("load").mkdir("/a")
        gov.hierarchy("load").mkdir("/b")
        host.cut()
        journal = host.state / "journal"
        data = journal.read_bytes().rstrip(b"\0")
        journal.write_bytes(data[:-3])
        gov = host.up()
        assert [r.path for r in gov.containers()] == ["/", "/a"]

    def test_a_newer_ones_is_refused(self, host: Host) -> None:
        host.up()
        host.cut()
        journal = host.state / "journal"
        journal.write_bytes(frame([bytes_of(Began(0, 99, "9", "", 1, "/"))]))
        before = journal.read_bytes()
        with pytest.raises(GovernorError, match="newer governor") as caught:
            host.up()
        assert caught.value.errno == errno.ENOTSUP
        assert journal.read_bytes() == before

    def test_one_at_a_time(self, host: Host) -> None:
        gov = host.up()
        with pytest.raises(GovernorError, match=f"process {gov.pid}") as caught:
            Governor(state=str(host.state))
        assert caught.value.errno == errno.EBUSY

    def test_a_subsystem_that_is_gone(self, host: Host) -> None:
        host.up().mount("load", ["numtasks"])
        host.cut()
        journal = host.state / "journal"
        frames = read(journal.read_bytes()).frames
        for records in frames:
            for i, record in enumerate(records):
                if type(RECORDS.decode(record)).__name__ == "Tree":
                    records[i] = record.replace(b"numtasks", b"nomtasks")
        journal.write_bytes(b"".join(map(frame, frames)))
        before = journal.read_bytes()
        with pytest.raises(GovernorError, match=r"hierarchy 'load'.*nomtasks"):
            host.up()
        assert journal.read_bytes() == before


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    with file_system(tmp_path / "small", "size=1M") as place:
        yield place


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


class TestAFullDisk:
    def test_changes_are_refused_and_jobs_go_on(self, small: Path, host: Host) -> None:
        host.state = small / "state"
        gov = host.up()
        load = gov.mount("load", ["numtasks"])
        a = load.mkdir("/a")
        a["numtasks.limit"] = 10
        running = gov.spawn(["sh", "-c", "read x; exit 5"], stdin=(pipe := os.pipe())[0])
        filler = small / "filler"
        fill(filler)
        refused = None
        made = 0
        while refused is None:
            try:
                load.mkdir(f"/x{made}")
                made += 1
            except GovernorError as error:
                refused = error
        assert refused.errno == errno.ENOSPC
        assert "cannot be recorded in" in refused.message
        assert len(gov.containers()) == 2 + made  # nothing has changed by that
        with pytest.raises(GovernorError, match="cannot be recorded"):
            a["numtasks.limit"] = 5
        assert a["numtasks.limit"] == 10
        with pytest.raises(GovernorError, match="cannot be recorded"):
            gov.spawn(["true"])
        os.write(pipe[1], b"\n")
        assert running.wait().exit_code == 5  # the end of a job cannot be refused
        filler.unlink()
        a["numtasks.limit"] = 5
        host.cut()
        gov = host.up()
        assert gov.hierarchy("load")["/a"]["numtasks.limit"] == 5
        assert gov.jobs()[0].exit_code == 5
        for end in pipe:
            os.close(end)

    def test_many_move_or_nobody(
        self, small: Path, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("governor.journal.file.SPARE", 4096)
        monkeypatch.setattr("governor.journal.file.ROOM", 4096)
        host.state = small / "state"
        gov = host.up(fork=True)
        load = gov.mount("load", ["cpuacct"])
        here, there = load.mkdir("/here"), load.mkdir("/there")
        code = f"import os\nfor _ in range({CROWD - 1}):\n if not os.fork(): break\nos.read(0, 1)"
        pipe = os.pipe()
        job = gov.spawn([sys.executable, "-c", code], containers=[here], stdin=pipe[0])
        eventually(lambda: len(here.tasks) == CROWD, "all are there")
        fill(small / "filler")
        refused = None
        while refused is None:
            try:
                assert there.attach_all(here) == CROWD
                here, there = there, here
            except GovernorError as error:
                refused = error
        assert refused.errno == errno.ENOSPC
        assert "cannot be recorded in" in refused.message
        assert (len(here.tasks), there.tasks) == (CROWD, [])
        os.write(pipe[1], b"x" * CROWD)
        assert job.wait().exit_code == 0
        for end in pipe:
            os.close(end)
