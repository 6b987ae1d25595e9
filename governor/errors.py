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


class ProtocolError(Exception):
    """Bytes that are not a message of ours: wrong version, unknown kind, wrong shape.

    ``peer`` and ``request`` say who sent them and with what number, as far as they tell.
    """

    peer: bytes | None = None
    request: int | None = None
