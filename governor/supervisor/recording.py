"""Write-ahead: what a client was told is recorded, and what cannot be recorded is not done."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from governor.supervisor.state import State
from governor.wire import client as wire
from governor.wire.codec import Message, encode

CHANGES = frozenset(
    {
        wire.Mount, wire.Remount, wire.Umount, wire.Mkdir, wire.Rename, wire.Rmdir, wire.Remove,
        wire.Write, wire.Attach, wire.AttachMany, wire.AttachAll, wire.Spawn,
    }
)  # fmt: skip
"""Requests that are refused when what they change could not be recorded."""

_RECORDS = 4096
"""Bytes that the records of a change need at most, but for the texts that come with it."""


class Recording:
    """Holds the answers of a turn until that is recorded. ``send(peer, answer)`` sends one.

    ``recorded()`` is called when everything is, so that nobody else need remember it.
    """

    def __init__(
        self,
        state: State,
        send: Callable[[bytes, Message], object],
        recorded: Callable[[], None],
    ) -> None:
        self._state = state
        self._recorder = state.recorder
        self._send = send
        self._recorded = recorded
        self._held: list[tuple[bytes, Message, bool]] = []

    def admit(self, request: Any) -> None:
        """Refuse a change that could not be recorded, before it happens; ENOSPC, EIO, ..."""
        if type(request) in CHANGES:
            texts = sum(len(value) for value in request if isinstance(value, str))
            self._recorder.require_room(_RECORDS + 4 * texts)

    def answer(self, peer: bytes, request: Any, answer: Message) -> None:
        """Send an answer once what it tells of is recorded. EINVAL: it cannot be sent."""
        encode(answer)
        self._held.append((peer, answer, type(request) in CHANGES))

    def turn(self) -> None:
        """Record what has changed in this turn. Who has waited for that gets an answer."""
        if not self._held:
            self._recorder.settle()
        held, self._held = self._held, []
        done = self._recorder.sync() if held else not self._recorder.failure
        if done:
            self._recorded()
        for peer, answer, changes in held:
            if changes and not done and isinstance(answer, wire.Result):
                failure = f"it has been carried out, but {self._recorder.failure}"
                answer = wire.Failure(answer.request, errno.EIO, failure)
            self._send(peer, answer)

    def tick(self) -> float | None:
        """Seconds until it is to be tried again, if something could not be recorded."""
        return self._recorder.tick()

    def close(self) -> None:
        """Everything has ended."""
        self._recorder.sync()
        self._state.journal.close()
