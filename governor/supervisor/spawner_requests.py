"""What the spawner has been asked to fork, with the descriptors that go along, until it answers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from governor.wire.spawner import StartAgent, StartWorker

UNANSWERED_MAX = 32
"""Requests under way at once, so that their descriptors and the channel's room are bounded."""


class Request(NamedTuple):
    """What the spawner is to fork, with descriptors of our own."""

    message: StartWorker | StartAgent
    descriptors: list[int]

    @property
    def job(self) -> int:
        """The job, 0 for an agent."""
        return self.message.job if isinstance(self.message, StartWorker) else 0

    def close(self) -> None:
        """Close its descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class Requests:
    """Those that wait to be sent, and those that wait for an answer."""

    def __init__(self) -> None:
        self._unsent: deque[Request] = deque()
        self._asked: deque[Request] = deque()

    @property
    def awaited(self) -> bool:
        """Whether the spawner owes an answer."""
        return bool(self._asked)

    def add(self, message: StartWorker | StartAgent, descriptors: Sequence[int]) -> None:
        """Keep a request, with copies. Raises OSError: no room for descriptors."""
        request = Request(message, [])
        try:
            for descriptor in descriptors:
                request.descriptors.append(os.dup(descriptor))
        except OSError:
            request.close()
            raise
        self._unsent.append(request)

    def due(self) -> Iterator[Request]:
        """Those that are to be sent now, one at a time."""
        while self._unsent and len(self._asked) < UNANSWERED_MAX:
            self._asked.append(self._unsent.popleft())
            yield self._asked[-1]

    def answered(self, job: int) -> None:
        """The spawner has forked for this job, or failed to."""
        for request in self._asked:
            if request.job == job:
                self._asked.remove(request)
                request.close()
                break

    def take_back(self, renew: Callable[[Request], None]) -> list[tuple[Request, OSError]]:
        """The spawner has died: all that it owes an answer to is to be sent again.

        ``renew``: called for each of them, the last one first. Those for which it raised OSError
        are dropped and returned, with that.
        """
        failed = []
        while self._asked:
            request = self._asked.pop()
            try:
                renew(request)
                self._unsent.appendleft(request)
            except OSError as error:
                request.close()
                failed.append((request, error))
        return failed

    def close(self) -> None:
        """Nobody is asked any more."""
        for request in (*self._asked, *self._unsent):
            request.close()
