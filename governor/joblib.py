"""joblib on governed processes.

::

    governor.joblib.register()
    with joblib.parallel_config(backend="governor", n_jobs=4, tasks=8, files=100):
        joblib.Parallel()(joblib.delayed(work)(item) for item in items)

Wants joblib: ``pip install 'governor[joblib]'``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import joblib
from joblib._parallel_backends import AutoBatchingMixin, FallbackToBackend, SequentialBackend
from joblib.parallel import ParallelBackendBase

from governor.api import default
from governor.api.environment import set_environment
from governor.api.executor import Executor, Future
from governor.api.leaf import Leaf, Leaves
from governor.api.limits import Limits

if TYPE_CHECKING:
    from governor.api.governor import Governor

NAME = "governor"
_JOBLIBS = frozenset({"context", "max_nbytes", "mmap_mode", "temp_folder", "verbose"})
"""What joblib tells every backend: how its own share large arrays."""
_GRACE = 0.1
"""Seconds between TERM and KILL for tasks whose results nobody wants any more."""


def register(*, make_default: bool = False) -> None:
    """Make ``backend="governor"`` known to joblib, and the default if asked for."""
    joblib.register_parallel_backend(NAME, Backend, make_default=make_default)


class Backend(AutoBatchingMixin, ParallelBackendBase):
    """Tasks are carried out by the workers of a `governor.Executor`.

    ``tasks``, ``files``, ``cpus``, ``timeout``: limits of each task, as for `governor.limited`;
    with them every call is a task, unless a ``batch_size`` makes one of several, and goes to a
    process even with ``n_jobs=1``. ``governor``: where; by default that of this process. A
    parallel loop within a task is carried out by its threads, which count as its tasks.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **options
        )
        self._executor: Executor | None = None
        self._leaf: Leaf | None = None
        self._limits = Limits()
        self._workers = 1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks are carried out at once; -1 for one on each CPU, -2 for one less."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        cpus = len(os.sched_getaffinity(0))
        return n_jobs if n_jobs > 0 else max(cpus + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        **options: Any,
    ) -> int:
        """Start what is needed for one loop; how many tasks joblib may hand over at once."""
        given = {**self.backend_kwargs, **options}
        governor: Governor | None = given.pop("governor", None)
        self._limits = Limits.of(**{k: v for k, v in given.items() if k not in _JOBLIBS})
        self.parallel = parallel
        self._workers = self.effective_n_jobs(n_jobs)
        unlimited = self._limits == Limits()
        # Another governor within a task could not enforce anything.
        if self.nesting_level or (unlimited and self._workers == 1):
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self._start(governor or default.governor(), None if unlimited else self._limits)
        # joblib would carry out everything here, without limits, if there was one only.
        return max(self._workers, 2)

    def _start(self, governor: Governor, limits: Limits | None) -> None:
        """Workers in a container of their own, so that all of them can be ended."""
        self._leaf = Leaves(governor).make(Limits(), "joblib")
        self._executor = Executor(
            self._workers,
            container=self._leaf.containers,
            limits=limits,
            initializer=set_environment,
            initargs=(self._environment(),),
            governor=governor,
        )

    def _environment(self) -> dict[str, str]:
        """How many threads libraries may use: with a limit of tasks one, unless told otherwise.

        OpenBLAS makes them as soon as it is imported, and fails when they are refused.
        """
        variables = dict(self._prepare_worker_env(self._workers))
        if self._limits.tasks is not None and self.inner_max_num_threads is None:
            variables |= {name: os.environ.get(name, "1") for name in self.MAX_NUM_THREADS_VARS}
        return variables

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], None] | None = None
    ) -> Future[Any]:
        """Hand over a batch of calls."""
        assert self._executor is not None
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(cast("Callable[[Any], None]", callback))
        return future

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """What a batch has come to; raises what it raised."""
        return future.result()

    def compute_batch_size(self) -> int:
        """One call when each has limits; as many as are worth the way otherwise."""
        return 1 if self._limits != Limits() else cast("int", super().compute_batch_size())

    def terminate(self) -> None:
        """The loop is over: let workers and their container go."""
        if self._executor is not None and self._leaf is not None:
            self._executor.shutdown()
            self._leaf.remove(_GRACE)
        self._executor = self._leaf = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A call has failed, or time is up: end what else is being carried out."""
        if self._executor is not None and self._leaf is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._leaf.remove(_GRACE)
        self.terminate()
        if ensure_ready:
            self.configure(self._workers, self.parallel)
