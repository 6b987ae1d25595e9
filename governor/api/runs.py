"""Running something to its end: with its output, or for its value.

What it takes is imported when it is used, since ``governor run`` uses none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, overload

from governor.api.job import name_of

if TYPE_CHECKING:
    from typing import Literal, TypeVar, TypeVarTuple, Unpack

    from governor.api.calls import Call
    from governor.api.job import Command, Job
    from governor.api.running import Completed, Options
    from governor.api.streams import Streams
    from governor.results import JobResult

    T = TypeVar("T")
    Ts = TypeVarTuple("Ts")

GRACE = 2.0
"""Seconds between TERM and KILL."""


class Runs:
    """What a `Governor` can run to its end."""

    if TYPE_CHECKING:

        def spawn(self, target: Any, *args: Any, **options: Any) -> Job:
            """See `Governor.spawn`."""

        def stop(self, jobs: Iterable[Job], grace: float = GRACE) -> None:
            """See `Governor.stop`."""

    @overload
    def run(
        self,
        target: Command | Callable[..., object],
        *args: object,
        capture: Literal[False] = False,
        text: bool = False,
        input: bytes | str | None = None,
        check: bool = False,
        **options: Unpack[Options],
    ) -> Completed[None]: ...

    @overload
    def run(
        self,
        target: Command | Callable[..., object],
        *args: object,
        capture: Literal[True],
        text: Literal[False] = False,
        input: bytes | str | None = None,
        check: bool = False,
        **options: Unpack[Options],
    ) -> Completed[bytes]: ...

    @overload
    def run(
        self,
        target: Command | Callable[..., object],
        *args: object,
        capture: Literal[True],
        text: Literal[True],
        input: bytes | str | None = None,
        check: bool = False,
        **options: Unpack[Options],
    ) -> Completed[str]: ...

    def run(
        self,
        target: Command | Callable[..., object],
        *args: object,
        capture: bool = False,
        text: bool = False,
        input: bytes | str | None = None,
        check: bool = False,
        **options: Unpack[Options],
    ) -> Completed[Any]:
        """Run a program, or a callable with ``args``, as a job, and wait for its end.

        ``capture``: keep its output, as bytes or with ``text`` as UTF-8. ``input``: what it reads.
        ``check``: raise `JobTimeout` or `JobFailed` unless it ends with 0. The rest is as for
        `Governor.spawn`; see `Options` for ``limits``. What the job leaves running when its first
        process has ended goes on, unless it has ``limits``; its output is not waited for. Ctrl-C,
        or any exception here, ends the job.
        """
        from governor.api.running import bytes_of, completed
        from governor.api.streams import Streams

        with Streams(bytes_of(input), capture) as streams:
            result = self._run(target, args, streams, options)
            return completed(result, streams, text, check, options.get("name") or name_of(target))

    def call(
        self, function: Callable[[Unpack[Ts]], T], *args: *Ts, **options: Unpack[Options]
    ) -> T:
        """Call a function in a job; returns what it returns, and raises what it raises.

        Where it was raised is said by the exception's cause. `JobTimeout` after the timeout,
        `JobFailed` when the job ends without an answer: killed, or by ``sys.exit``. The function
        finds nothing on its standard input. ``options`` are those of `run`.
        """
        from governor.api.calls import Call

        value: T = self._call(Call(function, args), name_of(function), options)
        return value

    def _call(self, call: Call, name: str, options: Options) -> Any:
        from governor.api.running import value_in
        from governor.api.streams import Streams

        with Streams(None, False, value=True) as streams:
            result = self._run(call, (), streams, {"name": name, **options})
            return value_in(result, streams, name)

    def _run(
        self, target: Any, args: tuple[object, ...], streams: Streams, options: Options
    ) -> JobResult:
        from governor.api.running import placed
        from governor.api.streams import Pump

        with placed(self, options) as given:
            job = self.spawn(target, *args, **{**given, **streams.given})
            try:
                streams.started()
                with Pump(streams.pipes):
                    return job.wait()
            except BaseException:
                self.stop([job], given.get("grace", GRACE))
                raise
