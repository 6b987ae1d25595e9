"""Functions and blocks of code whose jobs are under limits."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from governor.api.calls import Call, is_running
from governor.api.job import name_of
from governor.api.leaf import Leaf, Leaves
from governor.api.limits import Limits
from governor.api.running import Options, current
from governor.api.runs import Runs
from governor.errors import GovernorError

if TYPE_CHECKING:
    import contextvars
    from types import TracebackType

    from governor.api.container import Container
    from governor.api.governor import Governor
    from governor.api.streams import Streams
    from governor.results import JobResult

P = ParamSpec("P")
T = TypeVar("T")

Count = int | str | None
Cpus = str | int | Iterable[int] | None
Seconds = float | str | None
"""Limits as users write them; see `Limits.of`."""


def limited(
    *,
    tasks: Count = None,
    files: Count = None,
    cpus: Cpus = None,
    timeout: Seconds = None,
    governor: Governor | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have each call of a function run in a job of its own, in a container with these limits.

    The call returns what the function returns, and raises what it raises; `JobTimeout` after
    ``timeout``, `JobFailed` when its process is killed. What it leaves running is ended with it. A
    coroutine function stays one: the caller's loop goes on meanwhile, the function has a loop of
    its own. ``governor``: where; by default the one of this process. A limited function that
    calls itself is under its limits already. ``__governor_limits__`` are its limits.

    Raises GovernorError [EINVAL] for wrong limits, TypeError for a generator function: what it
    holds between two values could not be sent.
    """
    limits = Limits.of(tasks=tasks, files=files, cpus=cpus, timeout=timeout)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{name_of(function)} is a generator, which cannot run in a job")
        kind = _LimitedCoroutine if inspect.iscoroutinefunction(function) else _LimitedFunction
        return cast("Callable[P, T]", kind(function, limits, governor))

    return decorate


class _LimitedFunction:
    """A function whose calls are jobs."""

    __wrapped__: Callable[..., Any]
    __qualname__: str

    def __init__(
        self, function: Callable[..., Any], limits: Limits, governor: Governor | None
    ) -> None:
        functools.update_wrapper(self, function)
        self.__governor_limits__ = limits
        self._governor = governor

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_running(self):
            return self.__wrapped__(*args, **kwargs)
        call, options = self._call(args, kwargs)
        return _governor(self._governor)._call(call, name_of(self), options)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Call, Options]:
        return Call(self, args, kwargs), {"limits": self.__governor_limits__}

    def __governor_function__(self, *args: Any, **kwargs: Any) -> Any:
        """What a job calls: its limits hold already."""
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        """By its name where that leads here, as for functions; by its parts otherwise."""
        module = sys.modules.get(self.__module__)
        with contextlib.suppress(AttributeError):
            if self.__module__ != "__main__" and attrgetter(self.__qualname__)(module) is self:
                return self.__qualname__
        return object.__new__, (type(self),), vars(self) | {"_governor": None}


class _LimitedCoroutine(_LimitedFunction):
    """A coroutine function whose calls are jobs, each with a loop of its own."""

    def __init__(
        self, function: Callable[..., Any], limits: Limits, governor: Governor | None
    ) -> None:
        super().__init__(function, limits, governor)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_running(self):
            return await self.__wrapped__(*args, **kwargs)
        from governor.api.awaited import Governor

        call, options = self._call(args, kwargs)
        async with Governor(_governor(self._governor)) as gov:
            return await gov._call(call, name_of(self), options)

    def __governor_function__(self, *args: Any, **kwargs: Any) -> Any:
        import asyncio

        return asyncio.run(self.__wrapped__(*args, **kwargs))


def _governor(given: Governor | None) -> Governor:
    """The one that was named, that of the block around, or that of this process."""
    block = current.get()
    if given is not None:
        return given
    if block is not None:
        return block.governor
    from governor.api import default

    return default.governor()


class Limited(Runs):
    """One container for all that is started in a block; made by `governor.limits`.

    In the block (``with``, also of a coroutine), it is where jobs go that are told of no container:
    those of ``run``, ``call`` and limited functions, which may have limits of their own below
    it. What is started otherwise (``subprocess``, ``multiprocessing``, threads), and the code of
    the block itself, is not limited. At the end whatever still runs there is ended. ``timeout``
    is that of each job.
    """

    def __init__(self, limits: Limits, governor: Governor | None) -> None:
        self.limits = limits
        self._given = governor
        self._leaf: Leaf | None = None
        self._token: contextvars.Token[Limited | None] | None = None

    def __enter__(self) -> Self:
        if self._leaf is not None:
            raise GovernorError(errno.EBUSY, "these limits are in use; make others with limits()")
        outer = current.get()
        self.governor = _governor(self._given)
        within = outer.containers if outer is not None and outer.governor is self.governor else []
        self._leaf = Leaves(self.governor, within).make(self.limits, "block")
        self._token = current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._leaf is not None
        assert self._token is not None
        current.reset(self._token)
        self._leaf.remove()
        self._leaf = None

    @property
    def containers(self) -> list[Container]:
        """Where its jobs are, one in each hierarchy. EINVAL outside of the block."""
        if self._leaf is None:
            raise GovernorError(errno.EINVAL, "limits() hold within their with block only")
        return self._leaf.containers

    def _run(
        self, target: Any, args: tuple[object, ...], streams: Streams, options: Options
    ) -> JobResult:
        """Of `run` and `call`: here, in whatever block the caller is."""
        self.containers  # noqa: B018  # refuses outside of the block
        token = current.set(self)
        try:
            return self.governor._run(target, args, streams, options)
        finally:
            current.reset(token)


def limits(
    *,
    tasks: Count = None,
    files: Count = None,
    cpus: Cpus = None,
    timeout: Seconds = None,
    governor: Governor | None = None,
) -> Limited:
    """One container with these limits for what is started in a ``with`` block; see `Limited`.

    ``governor``: where; by default the one of this process. EINVAL: a wrong limit.
    """
    return Limited(Limits.of(tasks=tasks, files=files, cpus=cpus, timeout=timeout), governor)
