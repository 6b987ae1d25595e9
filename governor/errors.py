"""The errors governor raises: an errno for programs, one clear line for people."""

from __future__ import annotations

import os


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


class WorkerDied(GovernorError):
    """ECHILD: the process that carried out a task of an executor has ended over it.

    ``job`` names it; ``signal`` has ended it, or it has ended itself with ``exit_code``; None is
    not known. ``containers``: where it was, as ``hierarchy:/path``.
    """

    def __init__(
        self,
        errno: int,
        message: str,
        job: str = "",
        signal: int | None = None,
        exit_code: int | None = None,
        containers: tuple[str, ...] = (),
    ) -> None:
        super().__init__(errno, message)
        self.args = (errno, message, job, signal, exit_code, containers)
        self.job = job
        self.signal = signal
        self.exit_code = exit_code
        self.containers = containers


class TaskTimeout(WorkerDied):
    """ETIMEDOUT: a task of an executor has been ended since it took longer than its limit."""


class ProtocolError(Exception):
    """Bytes that are not a message of ours: wrong version, unknown kind, wrong shape.

    ``peer`` and ``request`` say who sent them and with what number, as far as they tell.
    """

    peer: bytes | None = None
    request: int | None = None
