"""The errors governor raises: an errno for programs, one clear line for people."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from governor.results import JobResult, Refusal


class GovernorError(Exception):
    """An operation was refused.

    ``errno`` is the number the same operation on the control filesystem would give
    (``errno.EBUSY``, ``errno.ENOENT``, ...); ``message`` names the thing and what is allowed.
    """

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)
        self.errno = errno
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} ({os.strerror(self.errno)})"


class NotRunning(GovernorError):
    """ENOENT: no governor runs where one was looked for."""


class JobFailed(GovernorError):
    """A job did not succeed: ``result`` says how it ended, and what it was refused. ECHILD.

    ``name`` is what the job was called.
    """

    number = errno.ECHILD

    def __init__(self, name: str, result: JobResult | None) -> None:
        super().__init__(self.number, _ending(name, result))
        self.name = name
        self.result = result

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.result)


class JobTimeout(JobFailed):
    """A job had not ended by its time, and was ended. ETIMEDOUT."""

    number = errno.ETIMEDOUT


class LimitExceeded(JobFailed):
    """A job did not succeed, and was refused more of a resource than its container may have.

    ``container`` is ``hierarchy:/path``; ``limit`` and ``held`` are what they were the last time.
    Whatever the job was refused more is in ``result.refusals``. ``errno`` is what the job itself
    saw: EMFILE for files, EAGAIN for everything else.
    """

    def __init__(
        self,
        container: str,
        resource: str,
        limit: int,
        held: int,
        name: str = "",
        result: JobResult | None = None,
    ) -> None:
        self.container = container
        self.resource = resource
        self.limit = limit
        self.held = held
        self.number = errno.EMFILE if resource == "files" else errno.EAGAIN
        super().__init__(name, result)
        if result is None:
            self.message = f"{container} is at its limit of {limit} {resource}"
            self.args = (self.number, self.message)

    def __reduce__(self) -> tuple[object, ...]:
        known = self.container, self.resource, self.limit, self.held, self.name, self.result
        return type(self), known

    @classmethod
    def of(cls, refusals: Sequence[Refusal], name: str, result: JobResult | None = None) -> Self:
        """Of these refusals, the one that was met most often."""
        worst = max(refusals, key=lambda refusal: refusal.times)
        return cls(worst.container, worst.resource, worst.limit, worst.held, name, result)


class WorkerDied(JobFailed):
    """The process that carried out a task of an executor has ended over it. ECHILD.

    ``name`` is the task's, ``job`` that of the process, which was in ``containers``, each as
    ``hierarchy:/path``. How it has ended is in ``signal`` and ``exit_code``; None is not known.
    """

    def __init__(
        self, name: str, job: str, containers: tuple[str, ...], result: JobResult | None
    ) -> None:
        super().__init__(name, result)
        self.job = job
        self.containers = containers
        self.signal = result and result.signal
        self.exit_code = result and result.exit_code
        where = f" in {', '.join(containers)}" if containers else ""
        self.message = f"{job}{where}, which carried out {name}, {_end(result)}"
        self.args = (self.number, self.message)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.job, self.containers, self.result)


def explain(error: BaseException, name: str, refusals: Sequence[Refusal]) -> None:
    """Say of the exception of job ``name`` which limits that has met before.

    In notes to people, and to programs by a `LimitExceeded` as its context.
    """
    for refusal in refusals:
        error.add_note(f"{name} was refused {refusal}")
    if refusals and error.__context__ is None and not isinstance(error, JobFailed):
        error.__context__ = LimitExceeded.of(refusals, name)


class ProtocolError(Exception):
    """Bytes that are not a message of ours: wrong version, unknown kind, wrong shape.

    ``peer`` and ``request`` say who sent them and with what number, as far as they tell.
    """

    peer: bytes | None = None
    request: int | None = None


def _ending(name: str, result: JobResult | None) -> str:
    """How a job ended, in words."""
    job = f"job {name}" if name else "the job"
    if result is None:
        return f"{job} failed"
    if result.error and not result.timed_out:
        return result.error
    if result.timed_out:
        how = f"{job} timed out after {result.wall_seconds:.1f} s"
    elif result.signal is not None:
        how = f"{job} was ended by signal {result.signal}"
    else:
        how = f"{job} failed with exit code {result.exit_code}"
    refused = "; ".join(map(str, result.refusals))
    return f"{how}; it was refused {refused}" if refused else how


def _end(result: JobResult | None) -> str:
    """How a process has ended that was not to."""
    if result is None:
        return "has ended, nobody knows how"
    if result.signal is None:
        return f"has ended itself with exit code {result.exit_code}"
    return f"was ended by signal {result.signal}"
