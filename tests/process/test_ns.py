"""ns: whoever enters other namespaces gets a container; all of it works for an ordinary user."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator

import pytest

import governor
from governor.api import Container, Governor, Hierarchy
from tests.capabilities import need
from tests.process.helpers import DEADLINE, Puppet, eventually, run_job
from tests.process.helpers import puppet as tasks_puppet
from tests.process.running import plain, program


@pytest.fixture(autouse=True)
def user_namespaces() -> None:
    need(shutil.which("unshare") is not None, "unshare of util-linux is not there")
    need(plain(["unshare", "-U", "true"]).exit_code == 0, "no user namespaces for this user")


@pytest.fixture
def servers(gov: Governor) -> Hierarchy:
    return gov.mount("servers", ["ns", "numtasks", "cpuacct"])


@pytest.fixture
def box(servers: Hierarchy) -> Container:
    return servers.mkdir("/box")


@pytest.fixture
def job(gov: Governor, box: Container) -> Iterator[Puppet]:
    path = program("ns_puppet")
    with Puppet(lambda i, o: gov.spawn([path], containers=[box], stdin=i, stdout=o)) as puppet:
        yield puppet


def user_namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/user")


def paths(container: Container) -> list[str]:
    return [child.path for child in container.children]


def test_unshare_moves_the_caller_into_a_container_of_its_own(box: Container, job: Puppet) -> None:
    before = user_namespace(job.pid)
    assert job.do("u") == (0, 0)
    # The kernel hides the links of a process with new rights from an ordinary user.
    assert os.geteuid() or user_namespace(job.pid) != before
    eventually(lambda: box.tasks == [], "the caller has moved")
    (node,) = box.children
    assert (node.path, node.tasks, node["numtasks.held"]) == ("/box/node1", [job.pid], 1)
    child = job.make("f")
    assert sorted(node.tasks) == sorted([job.pid, child])
    assert box["numtasks.held"] == 2


def test_another_unshare_nests(gov: Governor, box: Container) -> None:
    inner = program("ns_puppet")
    with Puppet(
        lambda i, o: gov.spawn(
            ["unshare", "-Ur", "unshare", "-U", inner], containers=[box], stdin=i, stdout=o
        )
    ) as job:
        (node1,) = box.children
        (node2,) = node1.children
        assert (node1.path, node1.tasks) == ("/box/node1", [])
        eventually(lambda: node2.tasks == [job.pid], "it is in node2")


@pytest.mark.parametrize("how", ["c", "3"])
def test_clone_puts_the_child_into_a_container(box: Container, job: Puppet, how: str) -> None:
    child = job.make(how)
    other = job.make("f")
    eventually(lambda: sorted(box.tasks) == sorted([job.pid, other]), "the parent is where it was")
    (node,) = box.children
    assert node.tasks == [child]
    job.do("k")
    eventually(lambda: box.children == [], "the container goes with the child")
    assert box.tasks == [job.pid]


def test_numbers_are_not_used_again(box: Container, job: Puppet) -> None:
    for number in (1, 2, 3):
        job.make("c")
        eventually(lambda n=number: paths(box) == [f"/box/node{n}"], "a new container")  # type: ignore[misc]
        job.do("k")
        eventually(lambda: box.children == [], "the container goes with the child")


def test_a_call_that_fails_changes_nothing(box: Container, job: Puppet) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may have any namespace")
    assert job.do("n") == (errno.EPERM, 0)
    eventually(lambda: box.children == [], "the container has gone again")
    assert box.tasks == [job.pid]
    job.make("f")
    assert box["numtasks.held"] == 2


def test_limits_hold_for_what_is_born_in_namespaces(box: Container, job: Puppet) -> None:
    box["numtasks.limit"] = 3
    job.make("c")
    job.make("3")
    for how in ("c", "3", "f"):
        assert job.do(how)[0] == errno.EAGAIN
    assert (box["numtasks.held"], box["numtasks.failcnt"]) == (3, 3)
    eventually(lambda: len(box.children) == 2, "what was refused leaves no container")


def test_a_real_container_program_works(gov: Governor, box: Container) -> None:
    command = ["unshare", "-Urpf", "sh", "-c", 'echo $$ $(id -u); exec unshare -U sh -c "echo in"']
    result, said = run_job(gov, command, [box])
    assert (result.exit_code, said.split()) == (0, ["1", "0", "in"])
    eventually(lambda: box.children == [], "all its containers have gone")
    assert int(box["cpuacct.usage"]) > 0


def test_without_ns_nothing_happens(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    path = program("ns_puppet")
    with Puppet(lambda i, o: gov.spawn([path], containers=[box], stdin=i, stdout=o)) as job:
        job.make("c")
        job.do("u")
        assert box.children == []
        assert len(box.tasks) == 2


def test_a_process_moves_down_into_empty_containers_only(
    gov: Governor, servers: Hierarchy, box: Container
) -> None:
    empty, other = box.mkdir("empty"), servers.mkdir("/other")
    with tasks_puppet(gov, box) as job:
        for place in (other, servers.root, empty.mkdir("deeper")):
            with pytest.raises(governor.GovernorError) as caught:
                place.attach(job.pid)
            assert caught.value.errno == errno.EPERM
            assert box.tasks == [job.pid]
        first, second = job.fill(2)
        empty.attach(first)
        with pytest.raises(governor.GovernorError) as caught:
            empty.attach(second)
        assert caught.value.errno == errno.EPERM
        assert empty.tasks == [first]


def test_a_job_may_be_started_in_any_container(gov: Governor, box: Container) -> None:
    result, _ = run_job(gov, ["true"], [box.mkdir("deep")])
    assert result.exit_code == 0
    assert result.unenforced is None
    gov.spawn(["true"], containers=[box]).wait(DEADLINE)


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_that_fail_all_the_time(gov: Governor, threads: int) -> None:
    """Nobody waits for ever, and the process ends where it was, whoever of its threads was last."""
    box = gov.mount("servers", ["ns", "numtasks", "numfiles"]).mkdir("/box")
    box["numtasks.limit"], box["numfiles.limit"] = 100, 1000
    command = [program("ns_refused", "-pthread"), str(threads), "40"]
    with Puppet(lambda i, o: gov.spawn(command, containers=[box], stdin=i, stdout=o)) as job:
        eventually(lambda: box.children == [], "all containers have gone")
        assert box.tasks == [job.pid]
        assert (box["numtasks.failcnt"], box["numfiles.failcnt"]) == (0, 0)
