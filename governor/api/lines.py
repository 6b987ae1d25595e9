"""Many questions to a supervisor at once, from one event loop."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
from collections.abc import Callable
from typing import Any

from governor.client import DEADLINE
from governor.errors import GovernorError
from governor.transport import CLIENTS, UNREAD_MAX, Peer
from governor.wire import client as wire
from governor.wire.codec import Message

_AT_ONCE = UNREAD_MAX // 2
"""Questions on one line: more answers than a supervisor may have unread there would be lost."""


class _Line:
    """A connection with the questions that are open on it."""

    def __init__(self, directory: str, loop: asyncio.AbstractEventLoop) -> None:
        self._peer = Peer(os.path.join(directory, CLIENTS), wire.FROM_SUPERVISOR)
        self._loop = loop
        self._fd = self._peer.fileno()
        self.open: dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self._fd, self._read)

    def send(self, number: int, message: Message) -> asyncio.Future[Any]:
        future = self.open[number] = self._loop.create_future()
        self._peer.send(message)
        self._read()  # the descriptor tells of changes only; see `Peer.fileno`
        return future

    def _read(self) -> None:
        while (answer := self._peer.receive()) is not None:
            future = self.open.pop(getattr(answer, "request", 0), None)
            if future is None or future.done():
                continue
            if isinstance(answer, wire.Failure):
                future.set_exception(GovernorError(answer.errno, answer.message))
            else:
                future.set_result(getattr(answer, "value", None))

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self._peer.close()
        for future in self.open.values():
            if not future.done():
                future.set_exception(_gone())
        self.open.clear()


class Lines:
    """As many connections to the supervisor in ``directory`` as its questions need.

    ``gone``: a descriptor that is readable when the supervisor has ended. To be used in one
    event loop, that in which it was made.
    """

    def __init__(self, directory: str, gone: int) -> None:
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._lines: list[_Line] = []
        self._gone = os.dup(gone)  # a loop watches a number once, and others watch this one
        self._is_closed = False
        self._loop.add_reader(self._gone, self.close)

    async def ask(self, request: Callable[[int], Message], timeout: float | None = DEADLINE) -> Any:
        """Send ``request(number)`` and await its answer's value; errors as for `Client.ask`."""
        if self._is_closed:
            raise _gone()
        line = next((line for line in self._lines if len(line.open) < _AT_ONCE), None)
        if line is None:
            line = _Line(self._directory, self._loop)
            self._lines.append(line)
        number = next(self._numbers)
        future = line.send(number, request(number))
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise GovernorError(errno.ETIMEDOUT, "the supervisor does not answer") from None

    def close(self) -> None:
        """Ask no more; whatever waits for an answer is refused."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._gone)
        os.close(self._gone)
        for line in self._lines:
            line.close()


def _gone() -> GovernorError:
    return GovernorError(errno.EIO, "the supervisor has ended")
