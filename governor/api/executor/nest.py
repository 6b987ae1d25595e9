"""The executor's end of its nursery, the job that forks its workers."""

from __future__ import annotations

import contextlib

from governor.api.executor.terms import Terms
from governor.api.executor.worker import Worker
from governor.api.governor import Governor
from governor.errors import GovernorError
from governor.results import JobResult
from governor.wire.codec import Message
from governor.wire.pool import FROM_NURSERY, Fork, Learn
from workers import channel, nursery

_PATIENCE = 2.0
"""Seconds in which idle workers end by themselves."""


class Nest:
    """Started as a job; raises GovernorError when that is refused."""

    def __init__(self, governor: Governor, terms: Terms) -> None:
        self._governor = governor
        self._end, theirs = channel.pair()
        try:
            with theirs:
                self._job = governor.spawn(
                    nursery.main,
                    terms.prepare,
                    terms.calls,
                    terms.key,
                    name="executor",
                    containers=terms.containers,
                    stdin=theirs.fileno(),
                )
        except BaseException:
            self._end.close()
            raise
        self._learned = False

    def fileno(self) -> int:
        """Readable when there is something to `hear`."""
        return self._end.fileno()

    def fork(self, worker: Worker) -> None:
        """Have a process forked for this worker; one that has died says nothing more."""
        with worker.theirs:
            channel.send(self._end, Fork(worker.number), [worker.theirs.fileno()])

    def learn(self) -> None:
        """Have workers to come ready for calls that multiprocess has pickled."""
        if not self._learned:
            self._learned = True
            channel.send(self._end, Learn())

    def hear(self) -> Message | None:
        """What has happened, None when it has died."""
        received = channel.receive(self._end, FROM_NURSERY)
        return received and received[0]

    def result(self) -> JobResult | None:
        """How it has ended; None if nobody knows."""
        with contextlib.suppress(GovernorError, TimeoutError):
            return self._job.wait(_PATIENCE)
        return None

    def abandon(self) -> None:
        """Hang up, as in a fork that it does not belong to."""
        self._end.close()

    def close(self) -> None:
        """End it, its workers and whatever tasks have left running."""
        self._end.close()
        self.result()
        with contextlib.suppress(GovernorError):
            self._governor.stop([self._job])
