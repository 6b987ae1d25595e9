"""Every kind of event names who and what it is about: container, process, job, bound, held."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from governor.api import Container, Governor
from governor.errors import GovernorError
from governor.results import Event
from tests.process.helpers import (
    agent_of,
    eventually,
    exists,
    puppet,
    run_job,
    spawner_of,
)
from tests.process.running import program

ORDINARY = ["setpriv", "--bounding-set=-sys_resource,-sys_admin"]


def first(gov: Governor, kind: str, container: Container | None = None) -> Event:
    return next(gov.events(after=0, kinds=[kind], container=container))


@contextmanager
def stranger() -> Iterator[int]:
    """A process that no governor has started."""
    process = subprocess.Popen(["sleep", "1000"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.once
def test_trees(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    box = load.mkdir("/box")
    box["numtasks.limit"] = 7
    box.rename("case").rmdir()
    load.remount(["numtasks", "numfiles"])
    gov.umount("load")
    events = itertools.islice(gov.events(after=0), 7)
    assert [(event.kind, event.hierarchy, event.path, event.fields) for event in events] == [
        ("mount", "load", "/", {"subsystems": "numtasks"}),
        ("mkdir", "load", "/box", {}),
        ("change", "load", "/box", {"file": "numtasks.limit", "value": 7}),
        ("rename", "load", "/case", {"source": "/box"}),
        ("rmdir", "load", "/case", {}),
        ("remount", "load", "/", {"subsystems": "numtasks,numfiles"}),
        ("umount", "load", "/", {}),
    ]


@pytest.mark.once
def test_jobs_name_all_their_containers(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    cpu = gov.mount("cpu", ["cpuacct"]).mkdir("/x")
    box["numtasks.limit"] = 1
    result, _ = run_job(gov, ["sh", "-c", "(exit 0); exit 3"], [box, cpu])
    assert result.exit_code != 0
    begun, ended = first(gov, "job-start"), first(gov, "job-end", cpu)
    pid = gov.jobs()[0].pid
    told = {"job": 1, "name": "sh", "pid": pid, "containers": "load:/box cpu:/x"}
    assert begun.fields == told
    assert ended.fields == told | {"exit_code": result.exit_code, "refused": 1}


@pytest.mark.once
def test_a_job_that_has_moved_ends_where_it_is(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    here, there = load.mkdir("/here"), load.mkdir("/there")
    with puppet(gov, here) as job:
        there.attach(job.pid)
        moved = first(gov, "move")
    assert (moved.hierarchy, moved.path) == ("load", "/there")
    assert moved.fields == {"pid": job.pid, "job": 1, "source": "/here"}
    assert first(gov, "job-end").fields["containers"] == "load:/there"
    kinds = ["move", "job-start", "job-end"]
    concerned = itertools.islice(gov.events(0, kinds=kinds, container=here), 2)
    assert [event.kind for event in concerned] == ["job-start", "move"]


def test_who_comes_from_outside_is_of_no_job(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    with stranger() as pid:
        box.attach(pid)
        assert first(gov, "move").fields == {"pid": pid, "job": 0, "source": "/"}


@pytest.mark.once
def test_a_limit_names_job_and_process(gov: Governor) -> None:
    box = gov.mount("load", ["numfiles"]).mkdir("/box")
    box["numfiles.limit"] = 5
    script = "exec 5</dev/null 6</dev/null 7</dev/null 8</dev/null"
    run_job(gov, ["sh", "-c", script], [box])
    event = first(gov, "limit", box)
    fields = event.fields
    assert (event.hierarchy, event.path, fields["resource"]) == ("load", "/box", "files")
    assert (fields["bound"], fields["job"], fields["times"]) == (5, 1, 1)
    assert fields["pid"] == gov.jobs()[0].pid
    assert int(fields["held"]) == 5


def test_a_barrier_names_job_and_process(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"], box["numtasks.barrier"] = 9, 4
    bomb = [program("tasks_bomb"), "1", "0"]
    run_job(gov, [*ORDINARY, *bomb] if os.geteuid() == 0 else bomb, [box])
    event = first(gov, "barrier")
    assert (event.path, event.fields["bound"], event.fields["held"]) == ("/box", 4, 4)
    assert (event.fields["job"], event.fields["pid"]) == (1, gov.jobs()[0].pid)


@pytest.mark.once
def test_release(gov: Governor) -> None:
    load = gov.mount("load", ["numtasks"])
    box = load.mkdir("/box")
    box["notify_on_release"] = 1
    load.root["release_agent"] = "/bin/true"
    run_job(gov, ["true"], [box])
    event = first(gov, "release")
    assert (event.hierarchy, event.path) == ("load", "/box")


@pytest.mark.agents_end
def test_a_replaced_process_is_named(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    with puppet(gov, box) as job:
        os.kill(agent_of(gov, job.pid), signal.SIGKILL)
        agent = first(gov, "agent-restart").fields
        assert agent["reason"] == "the agent was ended by signal 9"
        assert agent["pid"] == agent_of(gov, job.pid) == gov.status().agent
        spawner = spawner_of(gov)
        os.kill(spawner, signal.SIGKILL)
        replaced = first(gov, "spawner-restart").fields
        assert replaced["reason"] == "the spawner was ended by signal 9"
        assert replaced["pid"] == gov.status().spawner != spawner
        eventually(lambda: not exists(spawner), "it is gone")


def test_a_job_that_is_not_enforced_is_said_to_be(gov: Governor) -> None:
    """One listener for each process: within a governor there is no other."""
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 50

    def inner() -> int:
        import governor

        with governor.Governor() as own:
            inside = own.mount("load", ["numtasks"]).mkdir("/inside")
            job = own.spawn(["true"], containers=[inside])
            job.wait()
            told = first(own, "unenforced").fields
            wanted = {"job": 1, "name": "true", "pid": job.pid, "containers": "load:/inside"}
            return 0 if told.items() >= wanted.items() and told["reason"] else 1

    assert gov.spawn(inner, containers=[box]).wait(60).exit_code == 0


@pytest.mark.once
@pytest.mark.once
@pytest.mark.parametrize(
    ("place", "concerned"),
    [
        (("load", "/"), True),
        (("load", "/a"), False),
        (("load", "/a b"), True),
        (("load", "/a b/c"), True),
        (("load", "/a b/c/d"), False),
        (("load", "/a b/cc"), False),
        (("cpu", "/"), True),
        (("cpu", "/x"), True),
        (("cpu", "/y"), False),
        (("c", "/x"), False),
    ],
)
def test_which_containers_an_event_concerns(place: tuple[str, str], concerned: bool) -> None:
    fields: dict[str, int | str] = {"containers": "load:/a b/c cpu:/x"}
    job = Event(1, 0.0, "job-start", "", "", fields)
    assert job.concerns(*place) is concerned


@pytest.mark.once
def test_who_leaves_a_container_concerns_it() -> None:
    moved = Event(2, 0.0, "move", "load", "/a/b", {"source": "/c/d"})
    assert [moved.concerns("load", path) for path in ("/a", "/c", "/c/d", "/d")] == [
        True, True, True, False
    ]  # fmt: skip


@pytest.mark.once
def test_a_governors_own_events_concern_no_container() -> None:
    event = Event(1, 0.0, "agent-restart", "", "", {"pid": 7})
    assert not event.concerns("load", "/")


def refusal(call: Callable[[], object]) -> int:
    with pytest.raises(GovernorError) as caught:
        call()
    return caught.value.errno


def test_events_cannot_be_written_to_a_directory(gov: Governor) -> None:
    assert refusal(lambda: gov.log_events("/")) == errno.EISDIR
