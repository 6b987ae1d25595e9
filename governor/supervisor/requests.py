"""Requests of clients: each is carried out by its handler, and answered."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from governor.errors import GovernorError, ProtocolError
from governor.supervisor.answers import Handler
from governor.supervisor.nonsense import Nonsense
from governor.transport import Server
from governor.wire import client as wire
from governor.wire.codec import Message

if TYPE_CHECKING:
    from governor.supervisor.recording import Recording

IN_A_ROW = 64
"""Requests that are carried out before jobs and agent are looked at again."""


class Requests:
    """Has ``handlers`` do what clients ask for. ``recording`` holds answers until they are true."""

    def __init__(
        self, clients: Server, handlers: Mapping[type, Handler], recording: Recording | None
    ) -> None:
        self._clients = clients
        self._handlers = handlers
        self._recording = recording
        self._nonsense = Nonsense()

    def serve(self) -> None:
        """Carry out those that have arrived, but not too many."""
        for _ in range(IN_A_ROW):
            try:
                received = self._clients.receive()
            except ProtocolError as error:
                self._refuse_nonsense(error)
                continue
            if received is None:
                return
            self._serve(*received)

    def _refuse_nonsense(self, error: ProtocolError) -> None:
        """A request can be answered that has a number, whatever else is wrong with it."""
        if error.peer is not None and error.request is not None:
            self._clients.send(error.peer, wire.Failure(error.request, errno.EINVAL, str(error)))
        else:
            self._nonsense.tell(error)

    def _serve(self, peer: bytes, request: Any) -> None:
        def reply(value: Any) -> None:
            self._answer(peer, request, value)

        try:
            _check_times(request)
            if self._recording is not None:
                self._recording.admit(request)
            self._handlers[type(request)](request, reply)
        except GovernorError as error:
            reply(error)
        except Exception as error:  # a mistake of ours, or of a subsystem, ends no job
            import traceback

            traceback.print_exc()
            reply(GovernorError(errno.EIO, f"governor has failed: {error!r}; see its own messages"))

    def _answer(self, peer: bytes, request: Any, value: Any) -> None:
        if isinstance(value, GovernorError):
            answer: Message = wire.Failure(request.request, value.errno, value.message)
        else:
            answer = wire.Result(request.request, value)
        try:
            if self._recording is None:
                self._clients.send(peer, answer)
            else:
                self._recording.answer(peer, request, answer)
        except GovernorError as error:  # there is something in it that cannot be sent
            self._answer(peer, request, error)


def _check_times(request: Any) -> None:
    """Refuse what is no number, as it is neither before nor after any time; EINVAL."""
    for name, value in zip(request._fields, request, strict=True):
        if isinstance(value, float) and value != value:
            raise GovernorError(errno.EINVAL, f"{name} cannot be {value}")
