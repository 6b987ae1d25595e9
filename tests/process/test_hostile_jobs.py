"""What a job does to itself and to its own, it stays in its containers, and is ended with them."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from governor.api import Governor
from governor.errors import GovernorError
from tests.process.helpers import eventually, run_job
from workers import membership

PRELUDE = """
import ctypes, os, resource, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def prctl(option, value): assert libc.prctl(option, value, 0, 0, 0) == 0
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + code]


def tagged(gov: Governor) -> list[int]:
    return list(membership.scan(gov.nonce))


@pytest.mark.parametrize(
    "call",
    [
        "resource.setrlimit(10, (7, 7))",
        "resource.prlimit(0, 10, (7, 7))",
        "resource.prlimit(os.getppid(), 10, (7, 7))",
        "libc.syscall(302, 0, ctypes.c_long(10 | 1 << 32), (ctypes.c_ulong * 2)(7, 7), None)",
        "libc.syscall(160, ctypes.c_long(10 | 1 << 32), (ctypes.c_ulong * 2)(7, 7))",
        "libc.syscall(0x40000000 | 302, 0, 10, (ctypes.c_ulong * 2)(7, 7), None)",
    ],
    ids=["setrlimit", "itself", "parent", "prlimit-high", "setrlimit-high", "x32"],
)
def test_the_tag_cannot_be_changed_from_inside(gov: Governor, call: str) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    code = (
        f"before = resource.getrlimit(10)\nchild = os.fork()\nif not child:\n {call}\n os._exit(0)"
    )
    code += "\nos.wait()\ntry:\n " + call + "\nexcept Exception: pass\n"
    code += "assert resource.getrlimit(10) == before\nos.execvp('cat', ['cat'])"
    reader, writer = os.pipe()
    job = gov.spawn(python(code), containers=[box], stdin=reader)
    try:
        eventually(lambda: Path(f"/proc/{job.pid}/comm").read_text() == "cat\n", "it is through")
        assert job.pid in box.tasks
        assert job.pid in tagged(gov)
    finally:
        os.close(reader)
        os.close(writer)
    assert job.wait(30).exit_code == 0


def test_one_that_closes_everything(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks", "numfiles"]).mkdir("/box")
    code = "os.closerange(0, 20000)\nos._exit(sum(os.fork() == 0 for _ in range(1)) and 0 or 5)"
    assert run_job(gov, python(code), [box])[0].exit_code == 5


@pytest.mark.parametrize(
    "option", [(4, 0), (1, 9), (36, 1)], ids=["dumpable", "deathsig", "reaper"]
)
def test_prctl_and_other_sessions_hide_nobody(gov: Governor, option: tuple[int, int]) -> None:
    """Not dumpable, or a reaper of its own orphans: counted all the same, and ended."""
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 4
    code = f"prctl{option}\n" + (
        "if os.fork() == 0:\n os.setsid()\n"
        " if os.fork() == 0:\n  signal.pause()\n os._exit(0)\n"
        "if os.fork() == 0:\n os.setsid(); signal.pause()\n"
        "signal.pause()"
    )
    gov.spawn(python(code), containers=[box])
    eventually(lambda: len(box.tasks) >= 3, "all have been forked")
    members = box.tasks
    assert len(members) <= 4
    box.remove(kill=True, grace=0.2)
    assert not set(members) & set(tagged(gov))


def test_one_that_kills_its_siblings(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    victims = [gov.spawn(["sleep", "1000"], containers=[box]) for _ in range(3)]
    pids = [job.pid for job in victims]
    result, _ = run_job(gov, python(f"for pid in {pids}: os.kill(pid, 9)"), [box])
    assert result.exit_code == 0
    assert [job.wait(30).signal for job in victims] == [signal.SIGKILL] * 3
    assert box["numtasks.held"] == 0


def test_one_that_traces_its_child(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    code = (
        "child = os.fork()\n"
        "if not child:\n libc.ptrace(0, 0, 0, 0); os.kill(os.getpid(), signal.SIGSTOP)\n"
        " os._exit(os.fork() and 3)\n"
        "os.waitpid(child, 0); assert libc.ptrace(7, child, None, None) == 0\n"
        "while True:\n _, status = os.waitpid(child, 0)\n"
        " if not os.WIFSTOPPED(status): break\n libc.ptrace(7, child, None, None)\n"
        "os._exit(os.waitstatus_to_exitcode(status))"
    )
    assert run_job(gov, python(code), [box])[0].exit_code == 3
    eventually(lambda: box["numtasks.held"] == 0, "its orphan has been reaped")


def test_moved_while_it_forks_and_while_it_exits(gov: Governor) -> None:
    """Each is somewhere, or gone; and when all are gone nothing is held anywhere."""
    tree = gov.mount("load", ["numtasks", "cpuacct"])
    boxes = [tree.mkdir("/a"), tree.mkdir("/b")]
    for _ in range(20):
        job = gov.spawn(["sh", "-c", "(:);(:);(:);(:)"], containers=[boxes[0]])
        refused = [0]
        for turn in range(50):
            try:
                boxes[1 - turn % 2].attach(job.pid)
            except GovernorError as error:
                refused.append(error.errno)
        assert set(refused) <= {0, errno.ESRCH}
        assert job.wait(30).exit_code == 0
    eventually(lambda: [box["numtasks.held"] for box in boxes] == [0, 0], "nothing is held")
    for box in boxes:
        box.rmdir()
