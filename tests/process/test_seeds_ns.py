"""ns as discussed in the seed documents: bound late, and answers that must not depend on it."""

from __future__ import annotations

import errno
import os
import shutil
import signal

import pytest

from governor.api import Container, Governor
from tests.capabilities import need
from tests.process.helpers import DEADLINE, Puppet, eventually, run_job
from tests.process.running import plain, program


@pytest.fixture(autouse=True)
def user_namespaces() -> None:
    need(shutil.which("unshare") is not None, "unshare of util-linux is not there")
    need(plain(["unshare", "-U", "true"]).exit_code == 0, "no user namespaces for this user")


def in_namespaces(gov: Governor, *containers: Container) -> Puppet:
    """A puppet in a user namespace of its own."""
    command = ["unshare", "-U", program("ns_puppet")]
    return Puppet(lambda i, o: gov.spawn(command, containers=containers, stdin=i, stdout=o))


def test_namespaces_from_before_have_no_container(gov: Governor) -> None:
    """Who wants them all binds ns first. What is forked by the old ones stays with them."""
    with in_namespaces(gov) as old:
        root = gov.mount("servers", ["ns"]).root
        assert root.children == []
        pids = [old.pid, old.make("f"), old.make("f")]
        assert root.tasks == sorted(pids)
        with in_namespaces(gov) as new:
            eventually(lambda: [c.tasks for c in root.children] == [[new.pid]], "only the new one")


INVALID = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for flags in (0x00000001, 0x10000000 | 0x80000000 << 1, 0x00000200, 0x10000000):
    print(libc.unshare(ctypes.c_int(flags & 0xffffffff)), ctypes.get_errno())
"""


def test_answers_do_not_depend_on_whether_it_is_bound(gov: Governor) -> None:
    """In the review, a clone with a flag nobody supports worked, but only with ns unmounted."""
    command = [shutil.which("python3") or "python3", "-c", INVALID]
    free = plain(command).out
    assert f"-1 {errno.EINVAL}" in free
    unbound = run_job(gov, command)[1]
    box = gov.mount("servers", ["ns"]).mkdir("/box")
    assert (unbound, run_job(gov, command, [box])[1]) == (free, free)
    eventually(lambda: box.children == [], "what was made for nothing has gone")


def test_a_container_of_namespaces_is_limited_like_any_other(gov: Governor) -> None:
    box = gov.mount("servers", ["ns", "numtasks"]).mkdir("/box")
    with in_namespaces(gov, box) as job:
        eventually(lambda: [c.tasks for c in box.children] == [[job.pid]], "it has a container")
        (node,) = box.children
        node["numtasks.limit"] = 2
        job.make("f")
        assert job.do("f")[0] == errno.EAGAIN
        assert (node["auto_remove"], box["auto_remove"]) == (1, 0)


def test_pids_are_those_that_governor_sees(gov: Governor) -> None:
    """Whoever reads them asks governor, from where it is, and not from inside."""
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    command = ["unshare", "-Urpf", "--kill-child", "sh", "-c", "echo $$; exec sleep 1000"]
    said, tell = os.pipe()
    with open(said, "rb") as reader:
        job = gov.spawn(command, containers=[box], stdout=tell)
        os.close(tell)
        assert reader.readline() == b"1\n"
        (inner,) = set(box.tasks) - {job.pid}
        with open(f"/proc/{inner}/status") as status:
            assert f"NSpid:\t{inner}\t1\n" in status.read()
        box.kill(signal.SIGKILL)
        job.wait(DEADLINE)
