"""What clients may ask for: one method per verb, each either done whole or refused."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from governor.core.container import Container
from governor.errors import GovernorError
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.stdio import StdioDesk
from governor.wire import client as wire

Reply = Callable[[Any], None]
"""Answers the request; called at once, or when what was asked for has happened."""


class _Waiter:
    """A client waiting for one of several jobs to end."""

    def __init__(self, jobs: set[int], deadline: float | None, reply: Reply) -> None:
        self.jobs = jobs
        self.deadline = deadline
        self.reply = reply


class Verbs:
    """Carries out requests on the policy and the jobs."""

    def __init__(self, policy: Policy, jobs: Jobs, desk: StdioDesk) -> None:
        self._policy = policy
        self._jobs = jobs
        self._desk = desk
        self._waiters: list[_Waiter] = []

    def carry_out(self, request: Any, reply: Reply) -> None:
        """Carry out one request; GovernorError when it is refused."""
        match request:
            case wire.Mount(_, name, subsystems):
                hierarchy = self._policy.mount(name, subsystems)
                reply([hierarchy.name, list(hierarchy.subsystems)])
            case wire.Umount(_, name):
                self.refresh()
                self._policy.umount(name)
                reply(None)
            case wire.Mkdir(_, hierarchy, path):
                reply(self._policy.forest.mkdir(hierarchy, path).path)
            case wire.Rmdir(_, hierarchy, path):
                self._populate()
                self._policy.rmdir(hierarchy, path)
                reply(None)
            case wire.Lookup(_, hierarchy, path):
                reply(self._container(hierarchy, path).path)
            case wire.Read(_, hierarchy, path, file):
                reply(self._read(self._container(hierarchy, path), file))
            case wire.Write(_, hierarchy, path, file, value):
                container = self._container(hierarchy, path)
                self._populate()  # some values may be written only where no process is
                self._policy.forest.write(container, file, value)
                self._policy.sync(container)
                reply(None)
            case wire.Attach(_, hierarchy, path, pid):
                self._policy.attach(self._container(hierarchy, path), pid)
                reply(None)
            case wire.Tasks(_, hierarchy, path):
                reply(self._tasks(self._container(hierarchy, path)))
            case wire.Snapshot(_):
                self.refresh()
                reply([list(report) for report in self._policy.report()])
            case wire.Spawn():
                self._spawn(request, reply)
            case wire.Wait(_, jobs, timeout):
                self._wait(jobs, timeout, reply)
            case wire.Signal(_, job, number):
                self._jobs.send_signal(self._jobs.get(job), number)
                reply(None)
            case wire.StopJobs(_, jobs, grace):
                self._jobs.stop(jobs, grace, lambda: reply(None))

    # -- containers ----------------------------------------------------------------

    def _container(self, hierarchy: str, path: str) -> Container:
        return self._policy.forest.lookup(hierarchy, path)

    def _populate(self) -> None:
        self._policy.populate(self._jobs.starting())

    def refresh(self) -> None:
        """Bring every figure up to date."""
        self._policy.refresh()
        self._jobs.catch_up()
        self._policy.settle_usage()

    def _read(self, container: Container, file: str) -> int | str:
        control_file = self._policy.forest.control_file(container, file)
        self.refresh()
        return control_file.read(container)

    def _tasks(self, container: Container) -> list[int]:
        groups = {g.id for g in self._policy.forest.groups if container in g.containers}
        return sorted(pid for pid, tag in self._policy.members().items() if tag.group in groups)

    # -- jobs ----------------------------------------------------------------------

    def _spawn(self, request: wire.Spawn, reply: Reply) -> None:
        containers = [self._container(h, path) for h, path in request.containers.items()]
        if not request.argv and not request.callable:
            raise GovernorError(errno.EINVAL, f"job {request.name!r} has no command")
        group = self._policy.forest.group(containers)
        self._policy.use(group)
        with self._desk.collect(request.token) as stdio:
            job = self._jobs.spawn(
                request, group.id, stdio, lambda pid, _: reply([job.id, pid, job.traps])
            )

    def _wait(self, ids: list[int], timeout: float | None, reply: Reply) -> None:
        jobs = [self._jobs.get(id) for id in ids]
        done = [[job.id, *job.result] for job in jobs if job.result is not None]
        if done or not jobs or timeout == 0:
            reply(done)
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        self._waiters.append(_Waiter(set(ids), deadline, reply))

    def ended(self, job: Job) -> None:
        """A job has ended: tell those who wait for it."""
        assert job.result is not None
        for waiter in [waiter for waiter in self._waiters if job.id in waiter.jobs]:
            self._waiters.remove(waiter)
            waiter.reply([[job.id, *job.result]])

    def tick(self) -> float | None:
        """Answer those who have waited long enough; seconds until the next of them."""
        now = time.monotonic()
        for waiter in [w for w in self._waiters if w.deadline is not None and now >= w.deadline]:
            self._waiters.remove(waiter)
            waiter.reply([])
        due = [waiter.deadline for waiter in self._waiters if waiter.deadline is not None]
        return max(0.0, min(due) - now) if due else None
