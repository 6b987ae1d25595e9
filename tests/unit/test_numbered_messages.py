"""Messages that are numbered: what was missed is noticed, what came twice is heard once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from governor.errors import ProtocolError
from governor.transport import Peer, Poller, Server, close_all
from governor.wire.agent import FROM_AGENT, TO_AGENT, Hello, Ping, Pong

DEADLINE = 60.0


class Ends:
    """A server and a peer that know each other."""

    def __init__(self, path: str) -> None:
        self.server = Server(path, FROM_AGENT, numbered=True)
        self.peer = Peer(path, TO_AGENT, numbered=True)
        self.peer.send(Hello(1))
        self.name, _ = self.hear(self.server)

    def hear(self, end: Server | Peer) -> Any:
        """The next message of an end, which arrives at some time."""
        poller = Poller()
        poller.add(end)
        while (received := end.receive()) is None:
            assert poller.poll(DEADLINE)
        return received

    def frames(self, number: int, body: bytes) -> list[bytes]:
        return [number.to_bytes(8, "little"), body]


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    ends = Ends(str(tmp_path / "agents"))
    yield ends
    close_all([ends.server, ends.peer])


def test_both_directions_are_numbered_on_their_own(ends: Ends) -> None:
    for number in range(1, 4):
        assert ends.server.send(ends.name, Ping(number))
        assert ends.hear(ends.peer) == Ping(number)
        ends.peer.send(Pong(number))
        assert ends.hear(ends.server) == (ends.name, Pong(number))


def test_what_comes_twice_is_heard_once(ends: Ends) -> None:
    ends.server.send(ends.name, Ping(1))
    assert ends.hear(ends.peer) == Ping(1)
    ends.server.socket.send_multipart([ends.name, *ends.frames(1, b"the same again")])
    ends.server.send(ends.name, Ping(2))
    assert ends.hear(ends.peer) == Ping(2)


def test_what_is_missing_is_noticed_by_the_peer(ends: Ends) -> None:
    ends.server.send(ends.name, Ping(1))
    assert ends.hear(ends.peer) == Ping(1)
    ends.server.socket.send_multipart([ends.name, *ends.frames(3, b"")])
    with pytest.raises(ProtocolError, match="message 2 is missing: 3 has come"):
        ends.hear(ends.peer)


def test_what_is_missing_is_noticed_by_the_server_which_says_of_whom(ends: Ends) -> None:
    ends.peer.socket.send_multipart(ends.frames(5, b""))
    with pytest.raises(ProtocolError, match="message 2 is missing: 5 has come") as refused:
        ends.hear(ends.server)
    assert refused.value.peer == ends.name


@pytest.mark.parametrize("frames", [[b"alone"], [b"1", b"2", b"3"]])
def test_frames_that_are_no_numbered_message_are_refused(ends: Ends, frames: list[bytes]) -> None:
    ends.peer.socket.send_multipart(frames)
    with pytest.raises(ProtocolError, match=f"{len(frames)} frames instead of 2"):
        ends.hear(ends.server)
