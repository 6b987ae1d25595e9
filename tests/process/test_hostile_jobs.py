"""What a job does to itself and to its own, it stays in its containers, and is ended with them."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from governor.api import Governor
from governor.errors import GovernorError
from governor.wire import job as job_wire
from governor.wire.codec import encode
from tests.capabilities import need
from tests.process.helpers import agent_of, eventually, program, run_job
from workers import membership
from workers.spawner import Spawner

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


def test_the_tag_cannot_be_changed_by_other_system_calls_tables(gov: Governor) -> None:
    """By `int $0x80` and x32: setrlimit and prlimit64, on itself and on its parent."""
    path = program("tag_abis", "-no-pie")
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    result, said = run_job(gov, [path], [box])
    assert (result.exit_code, said) == (0, "")


def test_one_that_lowers_all_its_limits(gov: Governor) -> None:
    """It may harm itself; it is counted, refused and ended as before.

    Not by RLIMIT_CPU and RLIMIT_STACK: the kernel itself kills who has none of
    them left, at its next tick or page of stack (setrlimit(2)).
    """
    box = gov.mount("load", ["numtasks", "numfiles"]).mkdir("/box")
    box["numtasks.limit"] = 3
    code = (
        "deadly = {resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_STACK}\n"
        "child = os.fork()\n"
        "for r in set(range(16)) - deadly:\n"
        "  try: resource.setrlimit(r, (0, 0))\n"
        "  except (OSError, ValueError): pass\n"
        "signal.pause()"
    )
    gov.spawn(python(code), containers=[box])
    eventually(lambda: len(box.tasks) == 2, "it has forked")
    eventually(lambda: all(_is_limited(pid) for pid in box.tasks), "all limits are low")
    assert box["numtasks.held"] == 2
    box.remove(kill=True, grace=0.1)
    assert tagged(gov) == []


def _is_limited(pid: int) -> bool:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE) == (0, 0)


@pytest.mark.parametrize(
    "code",
    [
        "prctl(38, 1)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]",
        "libc.prctl(22, 1, 0, 0, 0)\nwhile True: pass",
    ],
    ids=["no-new-privs", "stops", "blocks", "ignores", "strict-seccomp"],
)
def test_one_that_does_not_want_to_end(gov: Governor, code: str) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    gov.spawn(python(f"os.fork()\n{code}\nsignal.pause()"), containers=[box])
    eventually(lambda: len(box.tasks) == 2, "it has forked")
    assert box["numtasks.held"] == 2
    box.remove(kill=True, grace=0.1)
    assert tagged(gov) == []


@pytest.mark.parametrize("flags", [0x20000000, 0x10020000, 0x50000000 | 0x2E020000])
def test_one_in_namespaces_of_its_own(gov: Governor, flags: int) -> None:
    """PID, user, network, mount and others: it counts, meets the limit and is ended."""
    box = gov.mount("load", ["numtasks", "numfiles"]).mkdir("/box")
    box["numtasks.limit"] = 3
    code = (
        f"if libc.unshare({flags | (0x10000000 if os.geteuid() else 0)}): os._exit(77)\n"
        "made = 0\n"
        "for _ in range(5):\n"
        " try: child = os.fork()\n"
        " except OSError: continue\n"
        " made += 1\n"
        " if not child: signal.pause()\n"
        "os.write(1, bytes([made])); signal.pause()"
    )
    reader, writer = os.pipe()
    job = gov.spawn(python(code), containers=[box], stdout=writer)
    os.close(writer)
    made = os.read(reader, 1)
    os.close(reader)
    if not made:
        need(job.wait(30).exit_code != 77, "namespaces of one's own are forbidden here")
    assert made == b"\2"
    assert len(box.tasks) == 3 == box["numtasks.held"]
    box.remove(kill=True, grace=0.1)
    assert tagged(gov) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may")
@pytest.mark.parametrize(
    "code",
    ["os.chroot('/proc/self/fdinfo')", "os.setgroups([]); os.setgid(65534); os.setuid(65534)"],
)
def test_one_of_roots_that_hides_in_a_directory_or_a_user(gov: Governor, code: str) -> None:
    box = gov.mount("load", ["numtasks", "numfiles"]).mkdir("/box")
    box["numtasks.limit"] = 3
    code += (
        "\nmade = 0\nfor _ in range(5):\n try: child = os.fork()\n except OSError: continue\n"
        " made += 1\n if not child: signal.pause()\n"
        "os.write(1, bytes([made])); signal.pause()"
    )
    reader, writer = os.pipe()
    gov.spawn(python(code), containers=[box], stdout=writer)
    os.close(writer)
    assert os.read(reader, 1) == b"\2"
    os.close(reader)
    assert len(box.tasks) == 3 == box["numtasks.held"]
    box.remove(kill=True, grace=0.1)
    assert tagged(gov) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root's jobs keep their rights")
def test_no_program_gains_rights_in_a_job_of_an_ordinary_user(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    _, said = run_job(gov, ["grep", "NoNewPrivs", "/proc/self/status"], [box])
    assert said.split() == ["NoNewPrivs:", "1"]


@pytest.mark.agents_end
def test_one_that_kills_the_agent(gov: Governor) -> None:
    """It may, as any program of the user may; the limit holds all the same."""
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 4
    warm = gov.spawn(["sleep", "1000"], containers=[box])
    agent = agent_of(gov, warm.pid)
    code = (
        f"made = 0\nfor turn in range(6):\n if turn == 2: os.kill({agent}, 9)\n"
        " try: child = os.fork()\n except OSError: continue\n"
        " made += 1\n if not child: signal.pause()\n"
        "os.write(1, bytes([made])); signal.pause()"
    )
    reader, writer = os.pipe()
    gov.spawn(python(code), containers=[box], stdout=writer)
    os.close(writer)
    assert os.read(reader, 1) == b"\2"
    os.close(reader)
    assert box["numtasks.held"] == 4 == box["numtasks.maxheld"]
    assert box["numtasks.failcnt"] == 4
    assert agent_of(gov, *box.tasks) != agent


def test_moved_hundreds_of_times_while_it_forks(gov: Governor) -> None:
    """No child is lost or counted twice, and the limits of both places hold."""
    tree = gov.mount("load", ["numtasks"])
    boxes = [tree.mkdir("/a"), tree.mkdir("/b")]
    for box in boxes:
        box["numtasks.limit"] = 12
    code = (
        "end = time.monotonic() + 100\n"
        "while os.getppid() and time.monotonic() < end:\n"
        " try: child = os.fork()\n except OSError: continue\n"
        " if not child: os._exit(0)\n"
        " os.waitpid(child, 0)"
    )
    job = gov.spawn(python(code), containers=[boxes[0]])
    for turn in range(400):
        boxes[1 - turn % 2].attach(job.pid)
    assert all(int(box["numtasks.maxheld"]) <= 12 for box in boxes)
    job.kill()
    eventually(lambda: [box["numtasks.held"] for box in boxes] == [0, 0], "nothing is held")
    for box in boxes:
        box.rmdir()


def _nonsense(report: socket.socket) -> None:
    report.send(b"\xc1 nonsense")


def _wrong_descriptor(report: socket.socket) -> None:
    socket.send_fds(report, [encode(job_wire.Ready(""))], [os.eventfd(1)])


def _many_descriptors(report: socket.socket) -> None:
    socket.send_fds(report, [encode(job_wire.Ready(""))], [0, 1, 2, 0, 1, 2])


def _impossible_failure(report: socket.socket) -> None:
    report.send(encode(job_wire.Failed(2**62, "do it")))


def _heir(report: socket.socket) -> None:
    """Somebody else keeps the socket open, and says nothing."""
    if not os.fork():
        time.sleep(1000)


@pytest.mark.parametrize(
    "say", [_nonsense, _wrong_descriptor, _many_descriptors, _impossible_failure, _heir]
)
def test_a_worker_that_reports_nonsense(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, say: Callable[[socket.socket], None]
) -> None:
    """Its job was not started, which is said; all others go on."""

    def lie(spawner: Spawner, descriptors: list[int]) -> None:
        if b"lie" not in os.pread(descriptors[0], 65536, 0):
            real(spawner, descriptors)
        # So that what it leaves is found and ended.
        membership.write(os.getpid(), membership.Tag(spawner._nonce, membership.MAX_JOB, 0))
        say(socket.socket(fileno=descriptors[-1]))
        os._exit(0)

    real = Spawner._become_worker
    monkeypatch.setattr(Spawner, "_become_worker", lie)
    with Governor(fork=True) as gov:
        box = gov.mount("load", ["numtasks"]).mkdir("/box")
        before = len(os.listdir(f"/proc/{gov.pid}/fd"))
        for _ in range(3):
            result = gov.spawn(["lie"], containers=[box]).wait(30)
            assert result.exit_code == 125
            assert result.error
        assert run_job(gov, ["sh", "-c", "(:); exit 5"], [box])[0].exit_code == 5
        assert len(os.listdir(f"/proc/{gov.pid}/fd")) <= before + 2
