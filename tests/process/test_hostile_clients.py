"""Whatever arrives at the sockets of a governor, it goes on serving those it has."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governor.api import Governor
from governor.errors import GovernorError
from governor.transport import AGENTS, CLIENTS, STDIO
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from governor.wire.codec import SIZE_MAX, Message, encode
from tests.process.helpers import eventually, run_job
from tests.unit.test_wire_golden import golden

pytestmark = pytest.mark.once


@contextlib.contextmanager
def stranger(gov: Governor, name: str = CLIENTS) -> Iterator[zmq.Socket[bytes]]:
    """A peer that keeps to no protocol but ZeroMQ's."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.connect(f"ipc://{gov.directory}/{name}")
        yield peer


def answer(peer: zmq.Socket[bytes], message: Message) -> Any:
    """Ask as a client would, whatever was sent before."""
    peer.send(encode(message))
    while True:
        assert peer.poll(30_000), "no answer"
        heard = wire.FROM_SUPERVISOR.decode(peer.recv())
        if heard.request == message.request:
            return heard


def lives(gov: Governor) -> None:
    """The governor serves, and a limit of one task holds."""
    name = f"h{os.urandom(4).hex()}"
    box = gov.mount(name, [f"numtasks@{name}"]).mkdir("/box")
    try:
        box["numtasks.limit"] = 1
        result, _ = run_job(gov, ["sh", "-c", "(:); exit 7"], [box])
        assert box["numtasks.maxheld"] == 1
        assert result.exit_code != 0
    finally:
        box.rmdir()
        gov.umount(name)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300])
def test_times_beyond_use(gov: Governor, number: float) -> None:
    job = gov.spawn(["sleep", "100"])
    with stranger(gov) as peer:
        for request in (
            wire.Follow(1, 10**6, number),
            wire.Wait(2, [job.id], number),
            wire.StopJobs(3, [], number),
        ):
            peer.send(encode(request))
        if math.isnan(number):
            assert answer(peer, wire.Wait(4, [job.id], number)).errno == errno.EINVAL
        assert isinstance(answer(peer, wire.Status(5)), wire.Result)
    lives(gov)


def test_a_signal_beyond_use(gov: Governor) -> None:
    job = gov.spawn(["sleep", "100"])
    with stranger(gov) as peer:
        assert answer(peer, wire.Signal(1, job.id, 2**62)).errno == errno.EINVAL


def test_frames_that_are_no_requests(gov: Governor) -> None:
    with stranger(gov) as peer:
        peer.send(b"")
        peer.send_multipart([b"", b""])
        peer.send_multipart([b"x"] * 1000)
        peer.send_multipart([encode(wire.Status(1)), b"more"])
        assert isinstance(answer(peer, wire.Status(2)), wire.Result)
    lives(gov)


def test_a_frame_too_long(gov: Governor) -> None:
    with stranger(gov) as peer:
        peer.send(bytes(SIZE_MAX + 1))
        lives(gov)
    assert resident(gov.pid) < SIZE_MAX


def test_nobody_else_speaks_for_the_agent(gov: Governor) -> None:
    job = gov.spawn(["sleep", "100"])
    with stranger(gov, AGENTS) as peer:
        peer.send(b"nonsense")
        peer.send_multipart([b"", b"", b""])
        for message in (agent_wire.Hello(1), agent_wire.Placed(job.id, 0, 0, 0, 0)):
            peer.send(encode(message))
        for request in range(1, 100):
            peer.send(encode(agent_wire.Pong(request)))
        lives(gov)
        assert not peer.poll(0)


def test_those_who_leave_streams_and_never_ask(gov: Governor) -> None:
    lives(gov)
    before = descriptors(gov.pid)
    path = os.path.join(gov.directory, STDIO)
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            connection = silent.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            connection.connect(path)
            lives_quickly(gov)
        for number in range(1000):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.connect(path)
                frame = encode(wire.Stdio(f"t{number}")) if number % 3 else b"x" * (number % 2)
                socket.send_fds(connection, [frame], [0, 1, 2])
            if number % 50 == 0:
                lives_quickly(gov)
    lives(gov)
    assert descriptors(gov.pid) < before + 64 + 3 * 256 + 32


def lives_quickly(gov: Governor) -> None:
    assert gov.spawn(["true"]).wait(30).exit_code == 0


def test_a_client_that_never_reads(gov: Governor) -> None:
    tree = gov.mount("many", ["numtasks"])
    for number in range(200):
        tree.mkdir(f"/c{number}")
    lives(gov)
    before = resident(gov.pid)
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.rcvhwm = 1
        peer.connect(f"ipc://{gov.directory}/{CLIENTS}")
        for number in range(300):
            peer.send(encode(wire.Snapshot(number)))
        lives(gov)
        eventually(lambda: not _is_busy(gov.pid), "all requests were carried out")
        assert resident(gov.pid) - before < 64 << 20
    lives(gov)


def _is_busy(pid: int) -> bool:
    before = cpu_seconds(pid)
    time.sleep(0.1)  # what is measured here is time
    return cpu_seconds(pid) > before


def test_a_client_that_dies_with_requests_outstanding(gov: Governor) -> None:
    job = gov.spawn(["sleep", "100"])
    for _ in range(20):
        with stranger(gov) as peer:
            for number in range(20):
                peer.send(encode(wire.Wait(number, [job.id], None)))
                peer.send(encode(wire.Follow(number, -1, 1000.0)))
            answer(peer, wire.Status(1000))
    lives(gov)
    job.kill()


def knocked(connection: socket.socket, gov: Governor) -> bool:
    """Try to connect: whether somebody is let in, or finds the door shut."""
    try:
        connection.connect(os.path.join(gov.directory, CLIENTS))
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def test_more_connections_than_descriptors(gov: Governor) -> None:
    """Those who are inside are served, jobs start, and nothing spins; later others come in.

    Not more at once than the supervisor has room for until it looks: see `transport.Doors`.
    """
    most = 1024
    lives(gov)
    resource.prlimit(gov.pid, resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as held:
        for number in range(most + 200):
            connection = held.enter_context(socket.socket(socket.AF_UNIX))
            connection.setblocking(False)
            eventually(partial(knocked, connection, gov), "there is room at the door")
            if number % 100 == 0:
                gov.status()  # so that it looks at the door
        lives(gov)
        assert descriptors(gov.pid) < most
        began, used = time.monotonic(), cpu_seconds(gov.pid)
        time.sleep(1)  # what is measured here is time
        assert cpu_seconds(gov.pid) - used < (time.monotonic() - began) / 2
        assert gov.status().jobs == 0
        with pytest.raises(GovernorError) as caught:
            Governor.connect(gov.directory)
        assert caught.value.errno == errno.EAGAIN
    with stranger(gov) as peer:
        assert isinstance(answer(peer, wire.Status(1)), wire.Result)


ours = st.sampled_from([frame for name, _, frame in golden() if name == "client.TO_SUPERVISOR"])
tame = st.sampled_from(
    [encode(m) for m in (wire.Mount(1, "x", ["numtasks"]), wire.Follow(2, -1, 0.1))]
)
bent = st.builds(
    lambda frame, at, byte: frame[: at % (len(frame) + 1)] + byte + frame[at % (len(frame) + 1) :],
    st.one_of(ours, tame),
    st.integers(0, 400),
    st.binary(max_size=3),
)
frames = st.lists(st.one_of(st.binary(max_size=100), bent), min_size=1, max_size=3)


def test_random_and_bent_frames(runtime: Path) -> None:
    """At all sockets. A request to end the governor is the one thing that may end it."""
    with Governor() as gov, stranger(gov) as clients, stranger(gov, AGENTS) as agents:

        @settings(max_examples=150, suppress_health_check=list(HealthCheck))
        @given(st.lists(frames, max_size=5))
        def storm(several: list[list[bytes]]) -> None:
            for parts in several:
                if not any(b"Shutdown" in part for part in parts):
                    clients.send_multipart(parts)
                agents.send_multipart(parts)
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as desk:
                    desk.connect(os.path.join(gov.directory, STDIO))
                    desk.send(parts[0][:60_000])
            assert isinstance(answer(clients, wire.Status(2**60)), wire.Result)

        storm()
        lives(gov)
