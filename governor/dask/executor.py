"""The executor that a Dask worker gives tasks to that are annotated ``executor="governor"``."""

from __future__ import annotations

import concurrent.futures
import errno
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from governor.dask.call import Call
from governor.errors import GovernorError

if TYPE_CHECKING:
    from distributed import Worker

    from governor.dask.station import Station


class Executor(concurrent.futures.Executor):
    """Runs each task as a job. A thread for each waits for it: the worker's threads, no more.

    Dask calls `submit` in its event loop, with the function that carries tasks out and times
    them, and the task. That function gets, instead of the task, a `Call` of it.
    """

    def __init__(self, worker: Worker, station: Station) -> None:
        self._worker = worker
        self._station = station
        self._calls: dict[Any, Call] = {}
        self._threads = concurrent.futures.ThreadPoolExecutor(worker.state.nthreads, "governor")

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """As Dask calls it: ``fn(task, data, ...)``. EOPNOTSUPP: the task makes an actor."""
        task, *others = args
        key = task.key
        if key in self._worker.state.actors:
            raise GovernorError(
                errno.EOPNOTSUPP, "an actor lives in its worker; executor='governor' is for tasks"
            )
        annotations = self._worker.state.tasks[key].annotations or {}
        call = Call(task, annotations.get("governor"), self._station.find, self._tell)
        self._calls[key] = call
        future = self._threads.submit(fn, call, *others, **kwargs)
        future.add_done_callback(lambda _: self._forget(key, call))
        return future

    def _tell(self, row: dict[str, Any]) -> None:
        # Sent before the news that the task has ended, on the same way.
        self._worker.log_event("governor", row)

    def _forget(self, key: Any, call: Call) -> None:
        if self._calls.get(key) is call:
            del self._calls[key]

    def cancel(self, key: Any) -> None:
        """Have the job of a task ended, if there is one; the event loop does not wait for it."""
        call = self._calls.get(key)
        if call is not None:
            threading.Thread(target=call.cancel, name="governor-cancel", daemon=True).start()

    def close(self) -> None:
        """End all jobs; returns when they have ended."""
        for call in list(self._calls.values()):
            call.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
