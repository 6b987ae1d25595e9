"""Hierarchies, containers and who is where, on a running governor with real processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import governor
from governor.api import Governor
from tests.process.helpers import DEADLINE, eventually, kernel_pids, puppet
from tests.process.running import program


@contextmanager
def refused(number: int) -> Iterator[pytest.ExceptionInfo[governor.GovernorError]]:
    """What is in here is refused with this errno, in one line."""
    with pytest.raises(governor.GovernorError) as caught:
        yield caught
    assert caught.value.errno == number
    assert "\n" not in caught.value.message


# -- mount, remount, unmount --------------------------------------------------------------


@pytest.mark.once
def test_all_binds_every_subsystem_there_is(gov: Governor) -> None:
    everything = gov.mount("everything", ["all"])
    assert {"cpuacct", "cpuset", "numfiles", "numtasks"} <= set(everything.subsystems)
    assert gov.hierarchies()[0].subsystems == []
    with refused(errno.EBUSY):
        gov.mount("more", ["numtasks"])


@pytest.mark.once
def test_a_refused_mount_leaves_everything_as_it_was(gov: Governor) -> None:
    gov.mount("load", ["numtasks"])
    before = gov.hierarchies()
    for number, labels in (
        (errno.EBUSY, ["numfiles", "cpuset", "numtasks"]),
        (errno.ENOENT, ["numfiles", "nothing"]),
        (errno.EINVAL, []),
        (errno.EINVAL, ["numfiles", "numfiles"]),
        (errno.EINVAL, ["numfiles", "numfiles@x"]),
        (errno.EINVAL, ["numfiles@"]),
    ):
        with refused(number):
            gov.mount("files", labels)
    for name in ("", "a/b", "a:b", "0", ".."):
        with refused(errno.EINVAL):
            gov.mount(name, ["numfiles"])
    assert gov.hierarchies() == before


@pytest.mark.once
def test_remount_binds_and_unbinds_while_the_root_is_alone(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks", "cpuacct"])
    with puppet(gov) as job:
        load.remount(["numtasks", "numfiles"])
        assert load.subsystems == ["numtasks", "numfiles"]
        assert gov.hierarchies()[0].subsystems == ["cpuacct"]
        load.root["numtasks.limit"] = 1
        assert job.is_refused()
        load.remount(["numfiles"])
        job.make()
    below = load.mkdir("/below")
    with refused(errno.EBUSY):
        load.remount(["numtasks"])
    assert load.root.files().keys() - below.files().keys() == {"numfiles.total"}
    assert below.files().keys() <= load.root.files().keys()
    assert not any(name.startswith("numtasks") for name in below.files())


@pytest.mark.once
def test_an_unmounted_hierarchy_with_children_is_found_again(gov: Governor) -> None:
    gov.mount("load", ["numtasks"]).mkdir("/a")["numtasks.limit"] = 7
    gov.umount("load")
    assert [h.name for h in gov.hierarchies() if not h.mounted] == ["load"]
    again = gov.mount("other", ["numtasks"])
    assert (again.name, again["/a"]["numtasks.limit"]) == ("load", 7)
    gov.umount("load")
    again["/a"].rmdir()  # the last that kept it
    assert [h.name for h in gov.hierarchies()] == ["0"]


def test_limits_per_user_and_per_project_hold_over_the_same_processes(gov: Governor) -> None:
    """The oracle is the kernel's own count of tasks."""
    with kernel_pids() as kernel:
        bomb = kernel.inside([program("tasks_bomb"), "30"])
        for per_user, per_project in ((5, 9), (9, 5)):
            users = gov.mount("users", ["numtasks"])
            projects = gov.mount("projects", ["numtasks@projects"])
            user, project = users.mkdir("/ann"), projects.mkdir("/sim")
            user["numtasks.limit"], project["numtasks.limit"] = per_user, per_project
            gov.spawn(bomb, containers=[user, project]).wait(DEADLINE)
            for container in (user, project):
                container.remove(kill=True, grace=0)
            gov.umount("users")
            gov.umount("projects")
        assert kernel.peak == 5


def test_every_instance_charges_and_the_one_that_is_met_counts_it(gov: Governor) -> None:
    users = gov.mount("users", ["numtasks"])
    projects = gov.mount("projects", ["numtasks@projects"])
    ann, sim = users.mkdir("/ann"), projects.mkdir("/sim")
    ann["numtasks.limit"], sim["numtasks.limit"] = 4, 3
    with puppet(gov, ann, sim) as job:
        job.fill(2)
        assert job.is_refused()
        assert (ann["numtasks.held"], sim["numtasks.held"]) == (3, 3)
        assert (ann["numtasks.failcnt"], sim["numtasks.failcnt"]) == (0, 1)
        sim["numtasks.limit"] = "max"
        job.make()
        assert job.is_refused()
        assert (ann["numtasks.failcnt"], sim["numtasks.failcnt"]) == (1, 1)


def test_two_cpusets_confine_to_what_both_allow(gov: Governor) -> None:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("needs two CPUs")
    one = gov.mount("one", ["cpuset"]).mkdir("/a")
    two = gov.mount("two", ["cpuset@two"]).mkdir("/b")
    one["cpuset.cpus"] = str(usable[0])
    with puppet(gov, one, two) as job:
        assert os.sched_getaffinity(job.pid) == {usable[0]}
        with refused(errno.EBUSY):  # nothing would be left
            two["cpuset.cpus"] = str(usable[1])
        assert two["cpuset.cpus"] != str(usable[1])
        assert os.sched_getaffinity(job.pid) == {usable[0]}
    other = two.hierarchy.mkdir("/other")
    other["cpuset.cpus"] = str(usable[1])
    with refused(errno.ENOSPC):
        gov.spawn(["true"], containers=[one, other])
    with puppet(gov, one) as job, refused(errno.ENOSPC):
        other.attach(job.pid)


# -- containers ---------------------------------------------------------------------------


@pytest.mark.once
def test_rename_is_in_place_and_never_over_another(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    a, b = load.mkdir("/a"), load.mkdir("/b")
    inner = a.mkdir("inner")
    inner["numtasks.limit"] = 3
    with puppet(gov, inner) as job:
        for number, name in (
            (errno.EEXIST, "b"),
            (errno.EIO, "b/c"),
            (errno.EIO, "/c"),
            (errno.EINVAL, ""),
            (errno.EINVAL, ".."),
        ):
            with refused(number):
                a.rename(name)
        with refused(errno.EBUSY):
            load.root.rename("x")
        c = a.rename("c")
        assert (c.path, [child.path for child in c.children]) == ("/c", ["/c/inner"])
        assert c.children[0].tasks == [job.pid]
        job.fill(2)
        assert job.is_refused()
    with refused(errno.ENOENT):
        a.mkdir("x")
    assert [child.path for child in load.root.children] == ["/c", "/b"]
    b.rmdir()


def test_removal_ends_what_is_left_recursively(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks", "cpuacct"])
    a = load.mkdir("/a")
    deep = a.mkdir("b").mkdir("c")
    ready, tell = os.pipe()
    # It ignores TERM, and has a child that left the session.
    stubborn = gov.spawn(
        ["sh", "-c", "trap '' TERM; setsid sleep 1000 & echo >&3; wait; wait"],
        containers=[deep],
        env={"PATH": os.environ["PATH"]},
        stdout=tell,
    )
    os.close(tell)
    os.close(ready)
    polite = gov.spawn(["sleep", "1000"], containers=[a])
    with refused(errno.EBUSY):
        a.remove(recursive=True)
    with refused(errno.EBUSY):
        a.remove(kill=True)
    assert stubborn.result is polite.result is None
    a.remove(recursive=True, kill=True, grace=0.1)
    assert polite.wait(DEADLINE).signal == signal.SIGTERM
    assert stubborn.wait(DEADLINE).exit_code != 0
    assert load.root.children == []
    assert gov.status().processes == 0


@pytest.mark.once
def test_nothing_enters_a_container_that_is_being_removed(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    a = load.mkdir("/a")
    with puppet(gov) as outside, puppet(gov, a) as inside:
        os.kill(inside.pid, signal.SIGSTOP)
        # A stopped process is continued so that its TERM reaches it.
        a.remove(kill=True)
        with refused(errno.ENOENT):
            a.attach(outside.pid)


def test_kill_signals_all_of_a_container(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    a = load.mkdir("/a")
    jobs = [gov.spawn(["sleep", "1000"], containers=[a]) for _ in range(3)]
    below = gov.spawn(["sleep", "1000"], containers=[a.mkdir("b")])
    with refused(errno.EINVAL):
        a.kill(99)
    assert a.kill(signal.SIGINT) == 3
    assert {job.wait(DEADLINE).signal for job in jobs} == {signal.SIGINT}
    assert below.result is None
    assert a.kill(signal.SIGTERM, recursive=True) == 1
    assert below.wait(DEADLINE).signal == signal.SIGTERM


# -- where --------------------------------------------------------------------------------


@pytest.mark.once
def test_where_gives_a_line_per_hierarchy(gov: Governor) -> None:
    a = gov.mount("load", ["numtasks", "numfiles"]).mkdir("/a")
    gov.mount("cpu", ["cpuacct"])
    with puppet(gov, a) as job:
        child = job.make()
        for pid in (job.pid, child):
            assert list(map(str, gov.where(pid))) == ["numtasks,numfiles:/a", "cpuacct:/"]
    assert list(map(str, gov.where(os.getpid()))) == ["numtasks,numfiles:/", "cpuacct:/"]
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
        with refused(errno.ESRCH):
            gov.where(gone.pid)
    for pid in (0, -1, 2**40):
        with refused(errno.EINVAL):
            gov.where(pid)


@pytest.mark.once
def test_processes_and_jobs_are_listed(gov: Governor) -> None:
    a = gov.mount("load", ["numtasks"]).mkdir("/a")
    b = a.mkdir("b")
    job = gov.spawn(["sleep", "1000"], name="nap", containers=[b])
    assert a.processes() == []
    (row,) = a.processes(recursive=True)
    assert (row.pid, row.job, row.path, row.threads) == (job.pid, job.id, "/a/b", 1)
    (listed,) = gov.jobs()
    assert (listed.name, listed.containers, listed.exit_code) == ("nap", ["load:/a/b"], None)
    job.kill()
    job.wait(DEADLINE)
    assert gov.jobs()[0].exit_code == 128 + signal.SIGKILL
    status = gov.status()
    assert (status.hierarchies, status.containers, status.jobs) == (1, 3, 0)


@pytest.mark.once
def test_what_is_in_a_container_is_listed(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    a = load.mkdir("/a")
    files = a.list_files()
    assert files["tasks"]
    assert files["numtasks.limit"]
    assert not files["numtasks.held"]
    assert "release_agent" not in files
    assert "release_agent" in load.root.list_files()
    for name in files:
        a[name]
    assert [child.path for child in load.root.children] == ["/a"]


@pytest.mark.once
@pytest.mark.parametrize("bad", ["", "x", "1 x", "-1", "1,2", "\uff19"])
def test_tasks_takes_pids(gov: Governor, bad: str) -> None:
    a = gov.mount("load", ["numtasks"]).mkdir("/a")
    with refused(errno.EINVAL):
        a["tasks"] = bad
    assert a["tasks"] == ""


@pytest.mark.once
def test_tasks_moves_and_lists(gov: Governor) -> None:
    a = gov.mount("load", ["numtasks"]).mkdir("/a")
    with puppet(gov) as job:
        a["tasks"] = f"{job.pid}\n"
        assert a["tasks"] == str(job.pid)
        assert a.tasks == [job.pid]


# -- events -------------------------------------------------------------------------------


@pytest.mark.once
def test_events_tell_what_has_happened(gov: Governor) -> None:
    a = gov.mount("load", ["numtasks"]).mkdir("/a")
    a["numtasks.limit"] = 5
    with puppet(gov) as job:
        a.attach(job.pid)
        pid = job.pid
    eventually(lambda: gov.status().jobs == 0, "its end has been seen")
    a.remove(kill=True)
    seen = {}
    for event in gov.events(after=0):
        seen[event.kind] = event
        if event.kind == "rmdir":
            break
    assert list(seen) == ["mount", "mkdir", "change", "job-start", "move", "job-end", "rmdir"]
    assert seen["change"].fields == {"file": "numtasks.limit", "value": 5}
    assert seen["move"].fields == {"pid": pid, "job": 1, "source": "/"}
    assert (seen["move"].hierarchy, seen["move"].path) == ("load", "/a")


@pytest.mark.once
def test_events_come_while_they_are_waited_for(gov: Governor) -> None:
    events = gov.events(after=0)
    gov.mount("load", ["numtasks"])
    assert next(events).kind == "mount"
