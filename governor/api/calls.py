"""A function called in a job: what it returns or raises comes back to the caller.

The job's standard input is the pipe on which it answers: the one way back that needs no other
file, and that nothing has to be found for. The function itself finds /dev/null there.
"""

from __future__ import annotations

import contextlib
import errno
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from governor.errors import GovernorError
from workers import stdin

_LENGTH = 8
"""Bytes of the number before an answer that says how long it is: a job may die while it writes."""

_running: object = None
"""In a job that carries out a call: the function that it calls."""


class RemoteTraceback(Exception):
    """Where in its job a function raised: the cause of the exception that comes back."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Call(NamedTuple):
    """A function and its arguments, as a job carries them out."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}

    def __call__(self) -> None:
        """Call it and answer, in the job. SystemExit and the like go their usual way."""
        global _running
        channel = stdin.take()
        _running = self.function
        try:
            # What `limited` has wrapped: the limits hold here already.
            function = getattr(self.function, "__governor_function__", self.function)
            answer: tuple[bool, Any, str] = (True, function(*self.args, **self.kwargs), "")
        except Exception as error:
            answer = (False, error, _trace(error))
        with open(channel, "wb") as file, contextlib.suppress(BrokenPipeError):
            data = _dumps(answer)
            file.write(len(data).to_bytes(_LENGTH, "little") + data)


def is_running(function: object) -> bool:
    """Whether this process carries out a call of this function. EBUSY: of another one."""
    if _running is None:
        return False
    if getattr(_running, "__qualname__", None) == getattr(function, "__qualname__", ""):
        return True
    raise GovernorError(
        errno.EBUSY, "a job cannot limit another call: filters of two governors do not nest"
    )


def is_complete(data: bytes | bytearray) -> bool:
    """Whether there is a whole answer; a job may have ended without, or within it."""
    head = data[:_LENGTH]
    return len(head) == _LENGTH and len(data) >= _LENGTH + int.from_bytes(head, "little")


def value_of(data: bytes | bytearray) -> Any:
    """What the function has returned. Raises what it raised, with its traceback as the cause."""
    try:
        returned, value, trace = pickle.loads(bytes(data[_LENGTH:]))
    except Exception as error:
        raise GovernorError(errno.EIO, f"the answer of a call cannot be read: {error!r}") from error
    if returned:
        return value
    raise value from RemoteTraceback(trace)


def _dumps(answer: tuple[bool, Any, str]) -> bytes:
    """Pickled; what cannot be is answered with the reason why, as an exception."""
    from multiprocess.reduction import ForkingPickler

    try:
        data = bytes(ForkingPickler.dumps(answer))
        pickle.loads(data)  # some exceptions are pickled and cannot be made again
        return data
    except Exception as error:
        returned, value, trace = answer
        if returned:
            reason: Exception = TypeError(f"the value of a call cannot be sent back: {error}")
        else:
            reason = RuntimeError(f"{type(value).__name__}: {value}")
        return bytes(ForkingPickler.dumps((False, reason, trace or _trace(error))))


def _trace(error: Exception) -> str:
    """The traceback below the call itself."""
    frames = error.__traceback__
    if frames is not None and frames.tb_frame.f_code is Call.__call__.__code__:
        frames = frames.tb_next
    sys.stdout.flush()
    return "".join(traceback.format_exception(type(error), error, frames))
