"""A supervisor whose owner ends while it starts."""

from __future__ import annotations

import socket

import pytest

from governor.errors import GovernorError
from governor.supervisor import start
from governor.supervisor.terms import Terms

TERMS = Terms("/nowhere", 7, 1.0, None, "")


class Supervisor:
    """Takes the end of its owner's socket for its own end, as the real one does."""

    def __init__(self, owner: socket.socket) -> None:
        self.owner, self.served = owner, False

    def begin(self) -> None:
        pass

    def serve(self) -> None:
        self.served = self.owner.recv(1) == b""


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The socket of an owner that has ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return ours


def test_an_owner_that_ended_meanwhile_is_noticed_in_order(
    owner: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(owner)
    monkeypatch.setattr(start, "_start", lambda *_: (TERMS, supervisor))
    with owner:
        assert start.main(TERMS, owner, str) == 0
    assert supervisor.served


def test_nobody_need_hear_that_it_failed(
    owner: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise GovernorError(28, "no room")

    monkeypatch.setattr(start, "_start", fail)
    with owner:
        assert start.main(TERMS, owner, str) == 1
