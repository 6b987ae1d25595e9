"""Starting jobs: from what a client wants to the worker that is asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from governor.core.group import Group
from governor.errors import GovernorError
from governor.supervisor.job_progress import JobProgress
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.spawner_link import SpawnerLink
from governor.supervisor.spawner_requests import Request
from governor.wire.client import Spawn
from governor.wire.codec import encode
from governor.wire.job import JobSpec
from workers import seccomp, shim
from workers.syscalls import table


class JobStarts:
    """Asks the spawner for workers; what becomes of them is for ``progress``."""

    def __init__(
        self, jobs: Jobs, spawner: SpawnerLink, policy: Policy, progress: JobProgress
    ) -> None:
        self._jobs = jobs
        self._spawner = spawner
        self._policy = policy
        self._progress = progress
        self._filters: dict[tuple[str, ...], bytes] = {}

    def spawn(
        self, spec: Spawn, group: int, stdio: list[int], started: Callable[[Job], None]
    ) -> Job:
        """Start a job; ``started(job)`` follows when it is in its containers, or has failed."""
        job = Job(self._jobs.new_id(), spec, group, self._policy.traps())
        try:
            there = self._progress.open_report(job)
        except OSError as error:
            raise _no_room(job, error) from None
        try:
            self._request(job, spec, [*stdio, there.fileno()])
        except BaseException:
            self._progress.close_report(job)
            raise
        finally:
            there.close()
        job.started = started
        self._jobs.add(job)
        self._policy.changes.job(job)
        return job

    def spawn_helper(self, argv: list[str], env: dict[str, str], group: Group) -> None:
        """Start a program of the governor's own, such as a release agent; nobody waits for it."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        spec = Spawn(
            request=0,
            name=os.path.basename(argv[0]),
            argv=[os.fsencode(argument) for argument in argv],
            callable=b"",
            env={os.fsencode(name): os.fsencode(value) for name, value in env.items()},
            cwd=b"/",
            umask=0o022,
            pgid=0,
            modules=[],
            containers={},
            timeout=None,
            grace=1.0,
            token="",
        )
        try:
            self.spawn(spec, group.id, [null, null, 2], lambda job: None)
        finally:
            os.close(null)

    def renew(self, request: Request) -> None:
        """Start a job's worker again, where it is not known whether there is one already.

        That one has heard no `Go` and never will, so it ends. Raises OSError.
        """
        job = self._jobs.by_id[request.job]
        self._progress.close_report(job)
        with self._progress.open_report(job) as there:
            os.dup2(there.fileno(), request.descriptors[-1], inheritable=False)

    def _request(self, job: Job, spec: Spawn, descriptors: list[int]) -> None:
        """Ask the spawner for a worker. GovernorError: there is no room for its description."""
        try:
            description = self._describe(job, spec)
        except OSError as error:
            raise _no_room(job, error) from None
        try:
            self._spawner.start_worker(job.id, [description, *descriptors])
        except OSError as error:
            raise _no_room(job, error) from None
        finally:
            os.close(description)

    def _describe(self, job: Job, spec: Spawn) -> int:
        """The specification in a memory file: arguments and environment may be megabytes."""
        job_spec = JobSpec(
            argv=spec.argv,
            callable=spec.callable,
            env=_with_shim(spec.env) if job.traps else spec.env,
            cwd=spec.cwd,
            umask=spec.umask,
            filter=self._filter(job.traps),
            cpus=self._policy.plans.confined(job.group, "cpus"),
            pgid=spec.pgid,
            modules=spec.modules,
        )
        descriptor = os.memfd_create("governor-job", os.MFD_CLOEXEC)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(encode(job_spec))
        return descriptor

    def _filter(self, traps: list[str]) -> bytes:
        key = tuple(traps)
        if key not in self._filters:
            self._filters[key] = seccomp.build(frozenset(traps), table())
        return self._filters[key]


def _no_room(job: Job, error: OSError) -> GovernorError:
    """The supervisor is out of something itself, descriptors mostly."""
    number = error.errno or errno.EIO
    return GovernorError(number, f"job {job.name} cannot be started: {os.strerror(number)}")


def _with_shim(env: dict[bytes, bytes]) -> dict[bytes, bytes]:
    decoded = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    return {os.fsencode(n): os.fsencode(v) for n, v in shim.environment(decoded).items()}
