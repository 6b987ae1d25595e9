"""A task with limits of its own: in a job of its own, in containers of its own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import threading
from collections.abc import Iterator
from errno import EAGAIN

from governor.api.executor.task import Task
from governor.api.executor.terms import Terms
from governor.api.governor import Governor
from governor.api.job import Job
from governor.api.leaf import Leaf
from governor.api.limits import Limits, Usage
from governor.errors import GovernorError, JobTimeout, WorkerDied
from governor.results import JobResult
from workers import calls, frames

_PATIENCE = 5.0
"""Seconds in which a worker that has answered ends."""


class Alone:
    """One task on its way; `carry_out` returns when its future is done."""

    def __init__(self, task: Task, limits: Limits, terms: Terms) -> None:
        self._task = task
        self._limits = limits
        self._terms = terms
        self._job: Job | None = None
        self._interrupted = False
        self.thread: threading.Thread | None = None
        """What carries it out."""

    def interrupt(self) -> None:
        """Send it what Ctrl-C sends, as soon as it is there."""
        self._interrupted = True
        if self._job is not None:
            with contextlib.suppress(GovernorError):
                self._job.signal(signal.SIGINT)

    def carry_out(self) -> frames.Frame | None:
        """Do everything; what the initializer has raised, if it was that. Leftovers are killed."""
        try:
            governor = self._terms.governor()
            head, packed = self._task.pack()
            name = re.sub(r"\W+", "", self._task.name) or "task"
            leaf = self._terms.leaves(governor).make(self._limits, name)
            with _removed(leaf):
                frame, end = self._run(governor, leaf, head, packed.data)
                usage = _usage(leaf, frame, end)
        except BaseException as error:
            self._task.fail(error)
            return None
        if frame is None:
            self._task.fail(self._death(leaf, end), usage)
        elif frame.head.kind == frames.UNREADY:
            return frame
        else:
            self._task.answer(frame, usage)
        return None

    def _run(
        self, governor: Governor, leaf: Leaf, head: frames.Head, data: bytes | memoryview
    ) -> tuple[frames.Frame | None, JobResult | None]:
        """The answer, if there is one, and how its process has ended, if that is known."""
        here, theirs = socket.socketpair()
        with here:
            with theirs:
                self._job = governor.spawn(
                    calls.from_stdin,
                    self._terms.prepare,
                    1,
                    self._terms.key,
                    name=self._task.name,
                    containers=leaf.containers,
                    stdin=theirs.fileno(),
                    timeout=self._limits.timeout,
                )
            if self._interrupted:
                self.interrupt()
            with contextlib.suppress(OSError):  # it has ended, which is told below
                frames.send(here, head, b"", data)
            frame = _answer(here, self._job.pid)
        return frame, self._wait(self._job)

    def _wait(self, job: Job) -> JobResult | None:
        with contextlib.suppress(TimeoutError, GovernorError):
            return job.wait(_PATIENCE)
        return None

    def _death(self, leaf: Leaf, end: JobResult | None) -> GovernorError:
        """What to raise in the place of an answer."""
        assert self._job is not None
        containers = tuple(f"{c.hierarchy.name}:{c.path}" for c in leaf.containers)
        if end is not None and end.timed_out:
            return JobTimeout(self._task.name, end)
        if end is not None and end.error:
            return GovernorError(EAGAIN, end.error)
        return WorkerDied(self._task.name, f"job {self._job.id}", containers, end)


@contextlib.contextmanager
def _removed(leaf: Leaf) -> Iterator[None]:
    try:
        yield
    finally:
        leaf.remove(grace=0.0)


def _answer(end: socket.socket, pid: int) -> frames.Frame | None:
    """The answer, or None from a worker that has ended without any.

    The socket may be open in what a task has left running, so its process is looked at as well.
    """
    end.setblocking(False)
    inbox = frames.Inbox(end)
    poll = select.poll()
    poll.register(end, select.POLLIN)
    with _pidfd(pid) as process, contextlib.suppress(EOFError):
        if process is None:
            return inbox.read()
        poll.register(process, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            frame = inbox.read()
            if frame is not None or process in ready:
                return frame
    return None


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int | None]:
    """A descriptor that is readable when a process has ended, None if it has gone already."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _usage(leaf: Leaf, frame: frames.Frame | None, end: JobResult | None) -> Usage:
    wall = frame.head.wall if frame is not None else end.wall_seconds if end is not None else 0.0
    usage = leaf.usage(wall)
    if end is not None and end.refusals:  # of the containers above as well
        usage = usage._replace(refusals=end.refusals)
    least = frame.head.cpu if frame is not None else 0.0
    return usage._replace(cpu_seconds=max(usage.cpu_seconds, least))
