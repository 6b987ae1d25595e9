"""Running something to its end: with its output, or for its value."""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypedDict, TypeVar

from governor.api.calls import is_complete, value_of
from governor.api.limits import Limits
from governor.api.streams import Streams
from governor.errors import JobFailed, explain
from governor.results import JobResult

if TYPE_CHECKING:
    from typing import TypeVarTuple

    from governor.api.container import Container
    from governor.api.governor import Governor
    from governor.api.job import Stream
    from governor.api.limited import Limited

    Ts = TypeVarTuple("Ts")

T = TypeVar("T")
Output = TypeVar("Output", bytes, str, None)

current: contextvars.ContextVar[Limited | None] = contextvars.ContextVar("limited", default=None)
"""The innermost block `governor.limits` that this code is in."""


class Options(TypedDict, total=False):
    """What can be said of a job beside what it is; as for `Governor.spawn`.

    ``limits``: it gets a container of its own with these, which is removed at its end with all
    that still runs in it.
    """

    name: str | None
    containers: Iterable[Container]
    limits: Limits | None
    cwd: str | os.PathLike[str] | None
    env: Mapping[str, str] | None
    stdin: Stream
    stdout: Stream
    stderr: Stream
    timeout: float | None
    grace: float
    foreground: bool


class Completed(NamedTuple, Generic[Output]):
    """A job that has run to its end: its result, and its output if that was captured."""

    result: JobResult
    stdout: Output
    stderr: Output

    @property
    def exit_code(self) -> int:
        """That of the job; see `JobResult`."""
        return self.result.exit_code


def containers_here(governor: Governor | None) -> list[Container]:
    """Where what is started belongs: in the block `limits` around it, unless that is another's."""
    block = current.get()
    return block.containers if block is not None and governor in (None, block.governor) else []


@contextlib.contextmanager
def placed(governor: Any, options: Options) -> Iterator[dict[str, Any]]:
    """The options of `Governor.spawn` for these, in the containers where the job belongs.

    Those of the block `limits` around it, unless it is told where to go; and its own, when it has
    limits of its own, until it has ended.
    """
    given: dict[str, Any] = dict(options)
    limits: Limits | None = given.pop("limits", None)
    block = current.get()
    if block is not None and block.governor is governor and not given.get("containers"):
        given["containers"] = block.containers
        limits = (limits or Limits())._replace(timeout=None if limits is None else limits.timeout)
        if given.get("timeout") is None:
            given["timeout"] = block.limits.timeout
    if limits is None or limits == Limits():
        yield given
        return
    if limits.timeout is not None:
        given["timeout"] = min(limits.timeout, given.get("timeout") or limits.timeout)
    if limits._replace(timeout=None) == Limits():
        yield given
        return
    from governor.api.leaf import Leaves

    leaves = Leaves(governor, list(given.get("containers", ())))
    with leaves.make(limits, given.get("name") or "job") as leaf:
        given["containers"] = leaf.containers
        yield given


def bytes_of(input: bytes | str | None) -> bytes | None:
    """What a job is given to read."""
    return input.encode() if isinstance(input, str) else input


def completed(
    result: JobResult, streams: Streams, text: bool, check: bool, name: str
) -> Completed[Any]:
    """How a run has ended. With ``check`` raises what it failed with."""
    output: bytes | str | None = None
    errors: bytes | str | None = None
    if streams.output is not None and streams.errors is not None:
        output, errors = bytes(streams.output.data), bytes(streams.errors.data)
        if text:
            output, errors = output.decode(errors="replace"), errors.decode(errors="replace")
    if check:
        result.check(name)
    return Completed(result, output, errors)


def value_in(result: JobResult, streams: Streams, name: str) -> Any:
    """What a call has answered; raises what it failed with."""
    assert streams.value is not None
    if result.timed_out or not is_complete(streams.value.data):
        result.check(name)
        raise JobFailed(name, result)  # it has ended itself, as by os._exit
    try:
        return value_of(streams.value.data)
    except Exception as error:
        explain(error, name, result.refusals)
        raise
