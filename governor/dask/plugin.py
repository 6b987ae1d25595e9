"""What makes a Dask worker govern."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dask.utils import key_split
from distributed import WorkerPlugin
from distributed.protocol.pickle import dumps

from governor.dask.executor import Executor
from governor.dask.station import Station

if TYPE_CHECKING:
    from distributed import Worker

    from governor.serving import Serving

NAME = "governor"
"""Of the plugin, of the executor, of the annotation with limits, and of the events' topic."""


class GovernorPlugin(WorkerPlugin):
    """Gives each worker a governor, which ends with it, and an executor ``governor``.

    ``metrics``: a port, or a `governor.serving.Serving`, as for `governor.Governor`; of several
    workers on a machine, the first takes that port, the others the next ones that are free.
    A worker that cannot have a governor fails to start: tasks never run unlimited in its place.
    """

    name = NAME
    station: Station | None = None

    def __init__(self, metrics: int | Serving | None = None) -> None:
        self._metrics = metrics

    async def setup(self, worker: Worker) -> None:
        """Start a governor. Raises GovernorError."""
        self._worker = worker
        self.station = await asyncio.to_thread(Station, self._metrics)
        self._executor = Executor(worker, self.station)
        worker.executors[NAME] = self._executor

    async def teardown(self, worker: Worker) -> None:
        """End it, and all its jobs."""
        if self.station is None:
            return
        if worker.executors.pop(NAME, None):
            await asyncio.to_thread(self._executor.close)
            self._executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.station.close)

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """See what begins without its limits, and end the job of what nobody wants any more."""
        if finish == "executing":
            self._warn(key)
        elif start == "executing" and finish == "released":
            self._executor.cancel(key)

    def _warn(self, key: Any) -> None:
        task = self._worker.state.tasks[key]
        annotations = task.annotations or {}
        if NAME in annotations and annotations.get("executor") != NAME:
            reason = f"there is no annotation executor={NAME!r}"
        elif annotations.get("executor") == NAME and getattr(task.run_spec, "is_coro", False):
            reason = "Dask calls coroutines in the worker's event loop"
        else:
            return
        warning = f"{key_split(key)} runs without limits: {reason}"
        # To every client, as distributed.warn does from within a task.
        message = {"message": dumps(warning), "category": dumps(RuntimeWarning)}
        self._worker.log_event("warn", message)
