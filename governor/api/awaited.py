"""A governor as coroutines ask it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from governor.api.calls import Call
from governor.api.governor import WAIT_SLICE
from governor.api.governor import Governor as Blocking
from governor.api.job import name_of, spawn_request
from governor.api.lines import Lines
from governor.api.running import (
    Completed,
    Options,
    bytes_of,
    completed,
    placed,
    value_in,
)
from governor.api.runs import GRACE
from governor.api.streams import Pipe, Streams
from governor.client import DEADLINE
from governor.results import JobResult
from governor.wire import client as wire

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeVarTuple, Unpack

    from governor.api.job import Command

    Ts = TypeVarTuple("Ts")

T = TypeVar("T")

_AT_ONCE = 32
"""Jobs being started. Their streams wait at the supervisor, which keeps the last 128 sets."""


class Governor:
    """Runs jobs in coroutines of one event loop. ``async with`` starts and ends it.

    ``governor`` is the `governor.Governor` to use, which is not ended then; by default one of its
    own. That is in the attribute ``governor``, for all that is answered at once, such as
    ``mount``. Whatever many jobs are awaited, there is no thread for each.
    """

    def __init__(self, governor: Blocking | None = None) -> None:
        self._is_own = governor is None
        self._given = governor

    async def __aenter__(self) -> Self:
        if self._given is None:
            self.governor = await asyncio.to_thread(Blocking)
        else:
            self.governor = self._given
        self._lines = Lines(self.governor.directory, self.governor.client.gone)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        if self._is_own:
            await asyncio.to_thread(self.governor.close)

    @overload
    async def run(
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
    async def run(
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
    async def run(
        self,
        target: Command | Callable[..., object],
        *args: object,
        capture: Literal[True],
        text: Literal[True],
        input: bytes | str | None = None,
        check: bool = False,
        **options: Unpack[Options],
    ) -> Completed[str]: ...

    async def run(
        self,
        target: Command | Callable[..., object],
        *args: object,
        capture: bool = False,
        text: bool = False,
        input: bytes | str | None = None,
        check: bool = False,
        **options: Unpack[Options],
    ) -> Completed[Any]:
        """As `governor.Governor.run`, awaited.

        Cancelled, it ends the job with all its processes (TERM, KILL after ``grace`` seconds)
        before it goes on.
        """
        with Streams(bytes_of(input), capture) as streams:
            result = await self._run(target, args, streams, options)
            return completed(result, streams, text, check, options.get("name") or name_of(target))

    async def call(
        self, function: Callable[[Unpack[Ts]], T], *args: *Ts, **options: Unpack[Options]
    ) -> T:
        """As `governor.Governor.call`, awaited; cancelled as `run`."""
        value: T = await self._call(Call(function, args), name_of(function), options)
        return value

    async def _call(self, call: Call, name: str, options: Options) -> Any:
        with Streams(None, False, value=True) as streams:
            result = await self._run(call, (), streams, {"name": name, **options})
            return value_in(result, streams, name)

    async def _run(
        self, target: Any, args: tuple[object, ...], streams: Streams, options: Options
    ) -> JobResult:
        async with _placed(self.governor, options) as given:
            await self._turns.acquire()
            starting = asyncio.ensure_future(self._start(target, args, given | streams.given))
            try:
                id, *_ = await asyncio.shield(starting)
                streams.started()
                with _reading(streams.pipes):
                    return await self._end_of(id)
            except BaseException:
                # It may be just starting, and is ended whoever is impatient meanwhile.
                await _whatever(self._stop(starting, given.get("grace", GRACE)))
                raise

    async def _start(self, target: Any, args: tuple[object, ...], given: dict[str, Any]) -> Any:
        """Ask for a job. It is the caller's turn, which is over then."""
        try:
            return await self._lines.ask(spawn_request(self.governor.client, target, args, **given))
        finally:
            self._turns.release()

    async def _end_of(self, id: int) -> JobResult:
        while True:
            ended = await self._lines.ask(
                lambda n: wire.Wait(n, [id], WAIT_SLICE), WAIT_SLICE + DEADLINE
            )
            for _, *outcome in ended:
                return JobResult.read(outcome)

    async def _stop(self, starting: asyncio.Future[Any], grace: float) -> None:
        with contextlib.suppress(Exception):
            id, *_ = await starting
            await self._lines.ask(lambda n: wire.StopJobs(n, [id], grace), grace + DEADLINE)


@contextlib.asynccontextmanager
async def _placed(governor: Blocking, options: Options) -> AsyncIterator[dict[str, Any]]:
    """As `governor.api.run.placed`; containers are made and removed while the loop goes on."""
    if options.get("limits") is None:
        with placed(governor, options) as given:
            yield given
        return
    place = placed(governor, options)
    entering = asyncio.ensure_future(asyncio.to_thread(place.__enter__))
    try:
        yield await asyncio.shield(entering)
    finally:

        async def leave() -> None:
            with contextlib.suppress(Exception):
                await entering
                await asyncio.to_thread(place.__exit__, None, None, None)

        await _whatever(leave())


async def _whatever(work: Coroutine[Any, Any, None]) -> None:
    """Do it to the end, even if cancelled; whoever cancelled has to wait."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)


@contextlib.contextmanager
def _reading(pipes: Iterable[Pipe]) -> Iterator[None]:
    """Read pipes by the event loop; all that was written until the end."""
    loop = asyncio.get_running_loop()

    def read(pipe: Pipe) -> None:
        if not pipe.take():
            loop.remove_reader(pipe.end)

    for pipe in pipes:
        loop.add_reader(pipe.end, read, pipe)
    try:
        yield
    finally:
        for pipe in pipes:
            loop.remove_reader(pipe.end)
            pipe.take()
