"""Clients that mean no good, against a real governor: what it takes, and whether it lives on.

    python -m tests.stress.hostile requests|connections SIZE

Each prints a line. No process but our own is ever named in a request.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from governor.api import Container, Governor
from governor.errors import GovernorError
from governor.transport import CLIENTS, STDIO
from governor.wire import client as wire
from governor.wire.codec import Message, encode
from tests.process.helpers import agent_of, spawner_of
from tests.stress.fuzz_decode import MUTATIONS
from tests.stress.fuzz_supervisor import PRELUDE, Writer, _pack

PID_MAX = 2**22
"""More than any pid, proc_sys_kernel(5)."""
BATCH = 40
"""Fewer than are kept for a client that does not read."""
FILES = (
    "numtasks.limit", "numtasks.barrier", "numfiles.limit", "numtasks.min_shares", "cpuset.cpus",
    "cpuset.mems", "cpuset.cpu_exclusive", "numtasks.forkrate", "cpuacct.usage", "auto_remove",
    "notify_on_release", "release_agent", "physpages.limit", "physpages.action",
)  # fmt: skip
NAMES_PIDS = (wire.Attach, wire.Write)


def sizes(gov: Governor) -> dict[str, tuple[int, int]]:
    """Resident KiB and descriptors of supervisor, spawner and agent, while no job runs."""
    pids = {"supervisor": gov.pid, "spawner": spawner_of(gov), "agent": agent_of(gov)}
    return {
        name: (_resident(pid), len(os.listdir(f"/proc/{pid}/fd"))) for name, pid in pids.items()
    }


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() // 1024


class Stranger:
    """A client of a real governor that sends what it likes."""

    def __init__(self, directory: str) -> None:
        self._context = zmq.Context()
        self._peer = self._context.socket(zmq.DEALER)
        self._peer.linger = 0
        self._peer.connect(f"ipc://{directory}/{CLIENTS}")
        self.answers = 0

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        self._peer.send(frame)

    def hear_all(self) -> None:
        """Wait until everything that was sent has been looked at."""
        self._peer.send(encode(wire.Status(2**50)))
        while True:
            if not self._peer.poll(60_000):
                raise TimeoutError("the governor does not answer")
            answer: Any = wire.FROM_SUPERVISOR.decode(self._peer.recv())
            self.answers += 1
            if answer.request == 2**50:
                return

    def close(self) -> None:
        """Go away."""
        self._peer.close()
        self._context.term()


def _is_harmless(message: Any, ours: int) -> bool:
    """Whether no process is named that is not ours: others run here as well."""
    if isinstance(message, wire.Shutdown):
        return False
    named = getattr(message, "pid", None)
    if isinstance(message, wire.Write) and message.file == "tasks":
        with contextlib.suppress(ValueError):
            named = int(message.value)
    return named is None or named == ours or not 0 < named < PID_MAX


def requests(size: int, seed: int = 1) -> str:
    """So many requests of right types and bad values, some of them bent, and stray streams."""
    chance = random.Random(seed)
    writer = Writer(chance)
    ours = subprocess.Popen(["sleep", "100000"])
    with Governor() as gov:
        gov.spawn(["true"]).wait()
        before = sizes(gov)
        began = time.monotonic()
        stranger = Stranger(gov.directory)
        for number in range(size):
            if number % 2000 == 0:
                _clear(gov, ours)
                if ours.poll() is not None:
                    ours = subprocess.Popen(["sleep", "100000"])
                _begin(stranger, writer, ours.pid)
            _one(gov, stranger, writer, chance, ours.pid)
            if number % BATCH == 0:
                stranger.hear_all()
        stranger.hear_all()
        took = time.monotonic() - began
        answers = stranger.answers
        stranger.close()
        _clear(gov, ours)
        lived = _lives(gov)
        after = sizes(gov)
    ours.kill()
    ours.wait()
    return (
        f"{size} requests in {took:.0f} s, {answers} answers; then {lived}; "
        f"KiB and descriptors {before} -> {after}"
    )


def _begin(stranger: Stranger, writer: Writer, ours: int) -> None:
    """Trees to work on, as the last ones have been taken away."""
    for message in PRELUDE:
        if _is_harmless(message, ours):
            stranger.send(encode(message))
    stranger.send(encode(wire.Attach(1, "h", "/a", ours)))
    stranger.hear_all()
    writer.files[:] = [*FILES, "tasks", "", "\0"]


def _one(
    gov: Governor, stranger: Stranger, writer: Writer, chance: random.Random, ours: int
) -> None:
    message: Message = writer.client()
    if chance.randrange(20) == 0:
        _leave(gov, chance)
    if chance.randrange(20) == 0:
        message = wire.Spawn(
            1, "j", [chance.choice((b"/bin/true", b"/bin/sleep", b"")), b"0"], b"", {}, b"/", 0, 0,
            [], {"h": chance.choice(("/a", "/b"))}, 1.0, 0.0, "t1",
        )  # fmt: skip
    if not _is_harmless(message, ours):
        return
    frame = _pack(type(message).__name__, message._asdict())
    if not isinstance(message, NAMES_PIDS) and chance.randrange(5) == 0:
        bent = bytearray(frame)
        chance.choice(MUTATIONS)(chance, bent, b"")
        frame = bytes(bent) if b"Shutdown" not in bent else b""
    stranger.send(frame)


def _leave(gov: Governor, chance: random.Random) -> None:
    """Streams that a job may ask for, or may not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as desk:
        desk.connect(os.path.join(gov.directory, STDIO))
        frame = encode(wire.Stdio("t1")) if chance.randrange(4) else chance.randbytes(20)
        null = os.open(os.devnull, os.O_RDWR)
        with contextlib.suppress(OSError):
            socket.send_fds(desk, [frame], [null] * (3 if chance.randrange(4) else 1))
        os.close(null)


def _clear(gov: Governor, own: subprocess.Popen[bytes]) -> None:
    """End all jobs and take all trees away."""
    ids = [job.id for job in gov.jobs()]
    gov.client.ask(lambda n: wire.StopJobs(n, ids, 0.0))
    for report in gov.hierarchies()[1:]:
        with contextlib.suppress(GovernorError):  # it may end with its last container
            _empty(gov.hierarchy(report.name).root, own)
            gov.umount(report.name)


def _empty(root: Container, own: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while children := root.children:
        if time.monotonic() > end:
            raise TimeoutError(f"{children} cannot be removed")
        for child in children:
            # One that is being removed already goes when nothing is left in it.
            with contextlib.suppress(GovernorError):
                child.kill(9, recursive=True)
                own.poll()  # nobody else reaps it
                child.remove(recursive=True, kill=True, grace=0)


def _lives(gov: Governor) -> str:
    """Whether a limit still means what it says."""
    box = gov.mount("after", ["numtasks@after"]).mkdir("/box")
    box["numtasks.limit"] = 2
    job = gov.spawn(["sh", "-c", "(:)& (:)& wait; exit 0"], containers=[box])
    job.wait(60)
    held, most = box["numtasks.held"], box["numtasks.maxheld"]
    status = gov.status()
    box.rmdir()
    gov.umount("after")
    return (
        f"limit 2, most {most}, held {held}, {status.containers} containers, "
        f"{status.groups} groups, {status.jobs} jobs, {status.processes} processes"
    )


class Bare:
    """A client by hand, with one descriptor: ZMTP 3.0 (rfc.zeromq.org/spec/23), mechanism NULL."""

    _GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
    _READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"

    def __init__(self, directory: str) -> None:
        """Raises OSError when nobody is let in."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(os.path.join(directory, CLIENTS))  # waits where there is a crowd
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(60)

    def greet(self) -> None:
        """Say who one is."""
        self._socket.send(self._GREETING + bytes([4, len(self._READY)]) + self._READY)

    def ask(self) -> bool:
        """Ask something, when the other side has greeted; whether it has."""
        request = encode(wire.Status(1))
        if not self._hear(b"READY"):
            return False
        self._socket.send(bytes([0, len(request)]) + request)
        return True

    def is_answered(self) -> bool:
        """Whether the answer comes."""
        return self._hear(b"Result")

    def _hear(self, word: bytes) -> bool:
        heard = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while word not in heard:
                more = self._socket.recv(4096)
                if not more:
                    return False
                heard += more
        return word in heard

    def close(self) -> None:
        """Go away."""
        self._socket.close()


def connections(size: int) -> str:
    """So many clients at once, each with an answer, as far as they are let in."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Governor() as gov:
        gov.spawn(["true"]).wait()
        before, began = sizes(gov), time.monotonic()
        peers, refused = _come(gov, size)
        answered = sum(peer.is_answered() for peer in [peer for peer in peers if peer.ask()])
        took = time.monotonic() - began
        during, asked = sizes(gov), time.monotonic()
        gov.spawn(["true"]).wait()
        job = time.monotonic() - asked
        for peer in peers:
            peer.close()
        end = time.monotonic() + 60
        while sizes(gov)["supervisor"][1] > before["supervisor"][1] + 10:
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        Governor.connect(gov.directory).close()
        after = sizes(gov)
    return (
        f"{size} clients, {refused} not let in, {answered} answered, {took:.1f} s, a job meanwhile "
        f"{job * 1e3:.0f} ms; KiB and descriptors {before} -> {during} -> {after}"
    )


def _come(gov: Governor, size: int) -> tuple[list[Bare], int]:
    peers: list[Bare] = []
    refused = 0
    for _ in range(size):
        try:
            peers.append(Bare(gov.directory))
        except FileNotFoundError:
            refused += 1
        else:
            peers[-1].greet()
    return peers, refused


LOADS = {"requests": requests, "connections": connections}

if __name__ == "__main__":
    print(f"{sys.argv[1]}: {LOADS[sys.argv[1]](int(sys.argv[2]))}")
