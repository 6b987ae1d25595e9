"""A task: a call, its future, and what becomes of it."""

from __future__ import annotations

import concurrent.futures
import errno
import time
from collections.abc import Callable
from concurrent.futures.process import _RemoteTraceback
from typing import Any, TypeVar

from governor.api.limits import Limits, Usage
from governor.errors import explain
from governor.results import Refusal
from workers import frames, pickles

T = TypeVar("T")

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A function, its arguments, its arguments by name."""


class Future(concurrent.futures.Future[T]):
    """The future of a task of an executor; ``usage`` is there as soon as it has ended."""

    usage: Usage | None = None


class Task:
    """A call that is to be carried out once; ``limits``: in a process and containers of its own."""

    def __init__(self, call: Call, limits: Limits | None) -> None:
        self.future: Future[Any] = Future()
        self.limits = limits
        self.name = getattr(call[0], "__name__", type(call[0]).__name__)
        self._call: Call | None = call
        self._begun = 0.0

    def begin(self) -> bool:
        """Say that it runs, the first time; False when it was cancelled before that."""
        if not self._begun:
            if not self.future.set_running_or_notify_cancel():
                return False
            self._begun = time.monotonic()
        return True

    def cancel(self) -> bool:
        """Cancel it, if it has not begun."""
        cancelled = not self._begun and self.future.cancel()
        if cancelled:
            self.future.set_running_or_notify_cancel()
        return cancelled

    def seconds(self) -> float:
        """How long ago it was begun."""
        return time.monotonic() - self._begun

    def pack(self) -> tuple[frames.Head, pickles.Packed]:
        """The call as a frame. Raises whatever pickling it raises."""
        packed = pickles.pack_call(self._call)
        return frames.Head(len(packed.data), 0, frames.TASK, packed.whole), packed

    def answer(
        self,
        frame: frames.Frame,
        usage: Usage | None = None,
        refusals: Callable[[], tuple[Refusal, ...]] = tuple,
    ) -> None:
        """End with what a worker has sent.

        ``refusals`` is asked when it failed as if something had been refused, without `usage`.
        """
        head = frame.head
        raised = head.kind != frames.RETURNED
        try:
            value = pickles.unpack(frame.data, head.whole)
        except BaseException as error:
            what = "raised" if raised else "returned"
            error.add_note(f"raised when what {self.name} has {what} was received")
            value, raised = error, True
        if usage is None:
            found = refusals() if raised and _is_refusal(value) else ()
            usage = Usage(head.cpu, head.wall, None, None, found)
        if raised:
            self.fail(value, usage, frame.words)
        else:
            self.future.usage = usage
            self._call = None
            self.future.set_result(value)

    def fail(self, error: BaseException, usage: Usage | None = None, words: str = "") -> None:
        """End with an exception; ``words`` is the traceback of where it was raised."""
        self.future.usage = usage or Usage(0.0, self.seconds(), None, None, ())
        if words:
            error.__cause__ = remote_traceback(words)
        explain(error, self.name, self.future.usage.refusals)
        self._call = None
        self.future.set_exception(error)


def remote_traceback(words: str) -> BaseException:
    """What ProcessPoolExecutor, too, gives exceptions of other processes as their cause."""
    cause: BaseException = _RemoteTraceback(f'\n"""\n{words}"""')  # type: ignore[arg-type]
    return cause


def _is_refusal(error: BaseException) -> bool:
    """Whether an exception is what a limit of tasks or files leads to in Python."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.EAGAIN, errno.EMFILE) or str(error) == "can't start new thread"
