"""governor.Executor, and its views with limits."""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from governor.api import default
from governor.api.container import Container
from governor.api.executor.pool import Pool
from governor.api.executor.task import Future, Task
from governor.api.executor.terms import Terms
from governor.api.governor import Governor
from governor.api.limits import Limits
from governor.api.running import containers_here
from workers.calls import chunk

P = ParamSpec("P")
T = TypeVar("T")

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_at_exit = False


class _Submitting(concurrent.futures.Executor):
    """What an executor and its views have in common."""

    _pool: Pool
    _limits: Limits | None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called by a worker.

        A function with limits of its own (`governor.limited`) is called under these.
        RuntimeError after `shutdown`; BrokenExecutor when the initializer has failed.
        """
        if _at_exit:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        limits, function = _limits_of(fn, self._limits)
        task = Task((function, args, kwargs), limits)
        self._pool.add(task)
        return task.future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[T]:
        """As `map`, in order. ``chunksize``: so many calls are one task. TimeoutError, ValueError.

        ``more``: ``buffersize``, where concurrent.futures has it (Python 3.14).
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **more)
        limits, function = _limits_of(fn, self._limits)
        task = partial(chunk, function)
        rows = _batched(zip(*iterables, strict=False), chunksize)
        view = self if limits is self._limits else Limited(self, self._pool, limits)
        lists = super(_Submitting, view).map(task, rows, timeout=timeout, **more)
        return _chained(lists)

    def limited(
        self,
        *,
        tasks: int | str | None = None,
        files: int | str | None = None,
        cpus: str | int | Iterable[int] | None = None,
        timeout: float | str | None = None,
    ) -> Limited:
        """A view of this executor whose tasks have these limits, each of them for itself.

        Each is carried out in a process and in containers of its own, and counted there. Without
        any limit it is only counted. EINVAL: what is not a limit.
        """
        limits = Limits.of(tasks=tasks, files=files, cpus=cpus, timeout=timeout)
        return Limited(self, self._pool, limits.over(self._limits or Limits()))


class Executor(_Submitting):
    """An executor of concurrent.futures whose workers are governed processes.

    ``max_workers``: tasks that are carried out at once, by default as many as there are CPUs for
    this process. ``container``: where the workers are, a container or one of each of several
    hierarchies, by default that of the block `governor.limits`. ``limits``: what each task has, as
    for `limited`. ``initializer`` is called with ``initargs`` in each worker.
    ``max_tasks_per_child``: after so many a worker is replaced. ``governor``: whose jobs the
    workers are, by default that of the container or else one of this process, which is started at
    first use and ends with it.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        container: Container | Iterable[Container] | None = None,
        limits: Limits | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
        governor: Governor | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = len(os.sched_getaffinity(0))
        _check(max_workers, initializer, max_tasks_per_child)
        if container is None:
            container = containers_here(governor)
        containers = [container] if isinstance(container, Container) else list(container)
        self._limits = limits
        self._max_workers = max_workers
        find = _finder(governor, containers)
        calls = max_tasks_per_child or 0
        terms = Terms(max_workers, calls, initializer, initargs, containers, find)
        self._pool = Pool(terms)
        _pools.add(self._pool)
        # Who lets go of an executor has its tasks carried out, and nothing left afterwards.
        weakref.finalize(self, self._pool.finish).atexit = False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; cancel those that have not begun, wait for all others.

        What they have left running is ended then: TERM, and KILL after two seconds.
        """
        self._pool.finish(cancel_futures)
        if wait:
            self._pool.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut down. After a Ctrl-C what has not begun is cancelled and what runs interrupted."""
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if interrupted:
            self._pool.finish(cancel=True)
            self._pool.interrupt()
        self.shutdown(wait=True, cancel_futures=interrupted)


class Limited(_Submitting):
    """A view of an executor: its tasks have limits. See `Executor.limited`."""

    def __init__(self, executor: _Submitting, pool: Pool, limits: Limits | None) -> None:
        self._executor = executor
        self._pool = pool
        self._limits = limits

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor down that this is a view of."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)

    def __enter__(self) -> Self:
        return self


def _check(
    max_workers: int, initializer: Callable[..., object] | None, max_tasks_per_child: int | None
) -> None:
    """Refuse what ProcessPoolExecutor refuses, in the same way."""
    if max_workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")
    if max_tasks_per_child is not None:
        if not isinstance(max_tasks_per_child, int):
            raise TypeError("max_tasks_per_child must be an integer")
        if max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")


def _finder(governor: Governor | None, containers: list[Container]) -> Callable[[], Governor]:
    if governor is not None:
        return lambda: governor
    if containers:
        return lambda: containers[0].governor
    return default.governor


def _limits_of(
    fn: Callable[..., T], limits: Limits | None
) -> tuple[Limits | None, Callable[..., T]]:
    """What to call under which limits; a function's own come first."""
    own: Limits | None = getattr(fn, "__governor_limits__", None)
    if own is None:
        return limits, fn
    function: Callable[..., T] | None = getattr(fn, "__governor_function__", None)
    if function is None:
        function = fn.__wrapped__  # type: ignore[attr-defined]
    return own.over(limits or Limits()), function


def _batched(rows: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    from itertools import islice

    while batch := list(islice(rows, size)):
        yield batch


def _chained(lists: Iterator[list[T]]) -> Iterator[T]:
    for values in lists:
        values.reverse()
        while values:
            yield values.pop()


def _finish_all() -> None:
    """Before the interpreter goes: carry out what there is, as ProcessPoolExecutor does.

    A Ctrl-C that ends the program has reached no worker, since those are in no terminal.
    """
    global _at_exit
    _at_exit = True
    raised = getattr(sys, "last_value", None)
    interrupted = isinstance(raised, KeyboardInterrupt) and not hasattr(sys, "ps1")
    for pool in list(_pools):
        pool.finish(cancel=interrupted)
        if interrupted:
            pool.interrupt()
    for pool in list(_pools):
        pool.join()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()
    _pools.clear()


# Before threads are joined, since ours waits for this.
threading._register_atexit(_finish_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget_all)
