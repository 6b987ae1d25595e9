"""Requests from any thread, each answered or given up in time."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from governor.client import Client
from governor.errors import GovernorError
from governor.wire.codec import Message

LANES = 8
"""Threads, each with a connection, so as many requests can be under way at once."""

PATIENCE = 5.0
"""Seconds that a request waits for its answer. While it does, nothing can kill its process."""

IMPATIENCE = 0.5
"""Seconds instead, from when the supervisor did not answer until it answers again.

A listing of a hundred names would otherwise take minutes to fail.
"""


class Lanes:
    """Lends libfuse's threads connections to the supervisor.

    To Python each call that comes out of libfuse is a new thread, so what belongs to a thread,
    such as a client's socket, would be made anew for every request and never closed.
    """

    def __init__(
        self, client: Client, patience: float = PATIENCE, impatience: float = IMPATIENCE
    ) -> None:
        self._client = client
        self._patience = patience
        self._impatience = impatience
        self._answers = True
        self._pool = ThreadPoolExecutor(LANES, "governor-fs")

    def ask(self, request: Callable[[int], Message], /) -> Any:
        """As `Client.ask`; ETIMEDOUT also when no lane has become free in time."""
        seconds = self._patience if self._answers else self._impatience
        future = self._pool.submit(self._client.ask, request, seconds)
        try:
            value = future.result(seconds)
        except TimeoutError:
            future.cancel()
            self._answers = False
            raise GovernorError(errno.ETIMEDOUT, "the supervisor does not answer") from None
        except GovernorError as error:
            self._answers = error.errno != errno.ETIMEDOUT
            raise
        self._answers = True
        return value
