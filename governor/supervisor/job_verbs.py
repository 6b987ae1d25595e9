"""What clients may do with jobs."""

from __future__ import annotations

import errno
import time

from governor.errors import GovernorError
from governor.supervisor.answers import Handler, Reply, at_once
from governor.supervisor.job_ends import JobEnds
from governor.supervisor.job_starts import JobStarts
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.stdio import StdioDesk
from governor.wire import client as wire

WAITING_MAX = 10_000
"""Clients that wait at once at most; who goes away is not noticed before the job ends."""


class _Waiter:
    """A client waiting for one of several jobs to end."""

    def __init__(self, jobs: set[int], deadline: float | None, reply: Reply) -> None:
        self.jobs = jobs
        self.deadline = deadline
        self.reply = reply


class JobVerbs:
    """Carries out requests on jobs."""

    def __init__(
        self, policy: Policy, jobs: Jobs, starts: JobStarts, ends: JobEnds, desk: StdioDesk
    ) -> None:
        self._policy = policy
        self._jobs = jobs
        self._starts = starts
        self._desk = desk
        self._waiters: list[_Waiter] = []
        self.handlers: dict[type, Handler] = {
            wire.Spawn: self._spawn,
            wire.Wait: self._wait,
            wire.Signal: at_once(lambda r: ends.send_signal(jobs.get(r.job), r.signal)),
            wire.StopJobs: lambda r, reply: ends.stop(r.jobs, r.grace, lambda: reply(None)),
        }

    def _spawn(self, request: wire.Spawn, reply: Reply) -> None:
        forest = self._policy.forest
        # Collected whatever comes of it: nobody else will.
        with self._desk.collect(request.token) as stdio:
            containers = [forest.lookup(h, path) for h, path in request.containers.items()]
            if not request.argv and not request.callable:
                raise GovernorError(errno.EINVAL, f"job {request.name!r} has no command")
            group = self._policy.admit(containers)
            try:
                self._starts.spawn(
                    request, group.id, stdio, lambda job: reply([job.id, job.pid, job.traps])
                )
            except Exception:
                self._policy.withdraw(group.id)
                raise

    def _wait(self, request: wire.Wait, reply: Reply) -> None:
        jobs = [self._jobs.get(id) for id in request.jobs]
        done = [[job.id, *job.result.row()] for job in jobs if job.result is not None]
        if done or not jobs or request.timeout == 0:
            reply(done)
            return
        if len(self._waiters) >= WAITING_MAX:
            raise GovernorError(errno.EAGAIN, f"{WAITING_MAX} wait for jobs already")
        timeout = request.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        self._waiters.append(_Waiter(set(request.jobs), deadline, reply))

    def ended(self, job: Job) -> None:
        """A job has ended: tell those who wait for it."""
        assert job.result is not None
        for waiter in [waiter for waiter in self._waiters if job.id in waiter.jobs]:
            self._waiters.remove(waiter)
            waiter.reply([[job.id, *job.result.row()]])

    def tick(self) -> float | None:
        """Answer those who have waited long enough; seconds until the next of them."""
        now = time.monotonic()
        for waiter in [w for w in self._waiters if w.deadline is not None and now >= w.deadline]:
            self._waiters.remove(waiter)
            waiter.reply([])
        due = [waiter.deadline for waiter in self._waiters if waiter.deadline is not None]
        return max(0.0, min(due) - now) if due else None
