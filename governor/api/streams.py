"""What a job is given to read, and what it writes, while it runs."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_AT_ONCE = 1 << 16
"""Bytes read in one go: what a pipe holds, unless somebody has changed that (pipe(7))."""


class Pipe:
    """A pipe that a job writes to. What has been read of it so far is in ``data``."""

    def __init__(self) -> None:
        self.end, self.theirs = os.pipe()
        os.set_blocking(self.end, False)
        self.data = bytearray()

    def take(self) -> bool:
        """Read what is there, without waiting; False at the end, when nobody can write any more."""
        try:
            while read := os.read(self.end, _AT_ONCE):
                self.data += read
        except BlockingIOError:
            return True
        return False

    def close_theirs(self) -> None:
        """The job has it; with our copy open the end would never be seen."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def close(self) -> None:
        """Read no more: whoever writes from now on gets SIGPIPE."""
        self.close_theirs()
        if self.end >= 0:
            os.close(self.end)
            self.end = -1


class Streams:
    """The streams of one run that lead to this process; others are as ``spawn`` was told.

    ``input``: what the job reads. It is in a file without a name, since nobody has to stand by
    and write then. ``capture``: keep standard output and error. ``value``: standard input is
    where a call answers instead (see `governor.api.calls`).
    """

    def __init__(self, input: bytes | None, capture: bool, value: bool = False) -> None:
        self.given: dict[str, int] = {}
        self.pipes: list[Pipe] = []
        self._input: int | None = None
        self.output = self._pipe("stdout") if capture else None
        self.errors = self._pipe("stderr") if capture else None
        self.value = self._pipe("stdin") if value else None
        if input is not None:
            self._input = self.given["stdin"] = _file_of(input)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.started()
        for pipe in self.pipes:
            pipe.close()

    def started(self) -> None:
        """The job has its streams."""
        for pipe in self.pipes:
            pipe.close_theirs()
        if self._input is not None:
            os.close(self._input)
            self._input = None

    def _pipe(self, name: str) -> Pipe:
        pipe = Pipe()
        self.pipes.append(pipe)
        self.given[name] = pipe.theirs
        return pipe


def _file_of(data: bytes) -> int:
    descriptor = os.memfd_create("input")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class Pump:
    """Reads pipes in a thread while this one waits for the job; without pipes there is none.

    Whoever leaves its ``with`` has everything that was written until then. It does not wait for
    the end of the pipes, which whatever the job leaves running may keep open.
    """

    def __init__(self, pipes: Iterable[Pipe]) -> None:
        self._pipes = list(pipes)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._pipes:
            self._over = os.eventfd(0)
            self._thread = threading.Thread(target=self._pump, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            os.eventfd_write(self._over, 1)
            self._thread.join()
            os.close(self._over)
            for pipe in self._pipes:
                pipe.take()

    def _pump(self) -> None:
        poll = select.poll()
        poll.register(self._over, select.POLLIN)
        pipes = {pipe.end: pipe for pipe in self._pipes}
        for end in pipes:
            poll.register(end, select.POLLIN)
        while True:
            for end, _ in poll.poll():
                if end == self._over:
                    return
                if not pipes[end].take():
                    with contextlib.suppress(KeyError):
                        poll.unregister(end)
