"""Jobs: what is known of each, and the table of all."""

from __future__ import annotations

import errno
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from governor.errors import GovernorError
from governor.results import JobResult, Refusal, Value
from governor.supervisor.changes import Changes
from governor.wire.client import Spawn
from workers.membership import MAX_JOB

ENDED_MAX = 10_000
"""Jobs that are remembered after their end, for those who ask for a result; the oldest go first."""


class Job:
    """A job the supervisor looks after. ``result`` is set when its first process has ended."""

    __slots__ = (
        "base_cpu",
        "began",
        "began_at",
        "deadline",
        "ended_in",
        "error",
        "grace",
        "group",
        "id",
        "listener",
        "name",
        "pid",
        "placed",
        "ready",
        "refusal",
        "refused",
        "report",
        "result",
        "start",
        "started",
        "timed_out",
        "timeout",
        "traps",
    )

    def __init__(self, id: int, spec: Spawn, group: int, traps: list[str]) -> None:
        self.id = id
        self.name = spec.name
        self.group = group
        self.traps = traps
        self.grace = spec.grace
        self.timeout = spec.timeout
        self.pid = 0
        self.start = 0
        """When its process was started, in clock ticks since boot."""
        self.ready = False
        """Whether the agent has been asked to place it."""
        self.placed = False
        self.report: socket.socket | None = None
        self.listener: int | None = None
        self.refusal = ""
        self.refused: dict[int, Refusal] = {}
        """What it was refused so far, by counter."""
        self.ended_in = 0
        """The group that its first process ended in; 0: nobody knows."""
        self.error: str | None = None
        self.base_cpu = 0
        self.began = time.monotonic()
        self.began_at = time.time()
        self.deadline: float | None = None
        self.timed_out = False
        self.result: JobResult | None = None
        self.started: Callable[[Job], None] | None = None
        """Who is to be told when it is in its containers, or has failed."""

    @classmethod
    def recorded(cls, work: Any) -> Job:
        """A job of another supervisor, as that has recorded it; without listener and result."""
        job = cls.__new__(cls)
        job.id, job.name, job.group, job.traps = work.id, work.name, work.group, work.traps
        job.grace, job.timeout, job.deadline = work.grace, work.timeout, work.deadline
        job.pid, job.start, job.base_cpu = work.pid, work.start, work.base_cpu
        job.began, job.began_at = work.clock, work.began
        job.ready = job.placed = work.placed
        job.report, job.listener, job.result, job.started = None, None, None, None
        job.refusal, job.error, job.timed_out = work.refusal, work.error, work.timed_out
        job.refused, job.ended_in = {}, 0
        return job

    def tell_started(self) -> None:
        """Tell who is to be told, which is once."""
        started, self.started = self.started, None
        if started is not None:
            started(self)

    def told(self) -> dict[str, Value]:
        """What events tell of it."""
        return {"job": self.id, "name": self.name, "pid": self.pid}


class Jobs:
    """All jobs there are, and those that have ended lately."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self.last = 0
        """The id that was given last."""
        self.by_id: dict[int, Job] = {}
        self._by_pid: dict[int, Job] = {}
        self._running: dict[int, Job] = {}
        self._listening: dict[int, Job] = {}
        """Those with a task under their filter, even if it is long after their end."""
        self._timed: dict[int, Job] = {}
        """Those that run and have a time by which they have to end."""
        self._lately_ended: deque[int] = deque()
        self.succeeded = 0
        self.failed = 0
        """How many have ended with exit code 0, and with another, in this supervisor's time."""

    # -- looking -------------------------------------------------------------------

    def get(self, id: int) -> Job:
        """The job with this id; ESRCH, also for one that ended so long ago that it is forgotten."""
        job = self.by_id.get(id)
        if job is None:
            raise GovernorError(errno.ESRCH, f"there is no job {id}")
        return job

    def of(self, pid: int) -> Job | None:
        """The job whose first process this is."""
        return self._by_pid.get(pid)

    def is_running(self, id: int) -> bool:
        """Whether there is such a job, and its first process is there, or about to be."""
        return id in self._running

    def running(self) -> list[Job]:
        """Those whose first process is there, or about to be."""
        return list(self._running.values())

    @property
    def count_running(self) -> int:
        """How many these are."""
        return len(self._running)

    def listening(self) -> list[Job]:
        """Those that have a listener."""
        return list(self._listening.values())

    def timed(self) -> list[Job]:
        """Those that run and have a time by which they have to end."""
        return list(self._timed.values())

    def starting(self) -> list[int]:
        """Groups that jobs are about to be placed in."""
        return [job.group for job in self._running.values() if not job.placed]

    def groups(self) -> list[int]:
        """Groups that jobs were started in of which something is left, wherever it is now."""
        return [job.group for jobs in (self._running, self._listening) for job in jobs.values()]

    # -- changing ------------------------------------------------------------------

    def new_id(self) -> int:
        """A number that nothing carries which is left of any job."""
        while True:
            self.last = self.last % MAX_JOB + 1
            if self.last not in self.by_id and self.last not in self._listening:
                return self.last

    def add(self, job: Job) -> None:
        """This one is about to start."""
        self.by_id[job.id] = self._running[job.id] = job

    def restore(self, job: Job, alive: bool) -> None:
        """Go on with a job; ``alive``: its first process is there, or its end will be reported."""
        self.by_id[job.id] = job
        if job.result is not None:
            self._lately_ended.append(job.id)
        elif alive:
            self._running[job.id] = self._by_pid[job.pid] = job
            if job.deadline is not None:
                self._timed[job.id] = job

    def forked(self, job: Job, pid: int) -> None:
        """This is its first process."""
        job.pid = pid
        self._by_pid[pid] = job

    def reaped(self, pid: int) -> Job | None:
        """The job whose first process this was."""
        return self._by_pid.pop(pid, None)

    def listens(self, job: Job, listener: int) -> None:
        """This is the listener of a job's filter."""
        job.listener = listener
        self._listening[job.id] = job

    def listens_no_more(self, job: Job) -> None:
        """No task is left under its filter."""
        job.listener = None
        del self._listening[job.id]

    def limit(self, job: Job, deadline: float) -> None:
        """It has to end by then."""
        job.deadline = deadline
        self._timed[job.id] = job

    def limit_no_more(self, job: Job) -> None:
        """It need not end by any time, or is about to."""
        self._timed.pop(job.id, None)

    def leave(self, job: Job) -> None:
        """Its first process is not there any more, whoever else may be."""
        self._running.pop(job.id, None)
        self._timed.pop(job.id, None)
        if self._by_pid.get(job.pid) is job:  # the number may be another's by now
            del self._by_pid[job.pid]

    def remember(self, job: Job) -> None:
        """Count and keep one that has ended, instead of others that ended long ago.

        Those stay of which processes live on under the id.
        """
        if job.result is not None and job.result.exit_code == 0:
            self.succeeded += 1
        else:
            self.failed += 1
        self._lately_ended.append(job.id)
        for _ in range(len(self._lately_ended) - ENDED_MAX):
            id = self._lately_ended.popleft()
            if self.by_id[id].listener is None:
                self._changes.job(self.by_id.pop(id))
            else:
                self._lately_ended.append(id)
