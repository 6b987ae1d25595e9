"""Clusters of Dask for the tests, and what they ask their workers."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import governor.dask
from tests.capabilities import need
from tests.process.helpers import DEADLINE, nothing_left

if TYPE_CHECKING:
    from distributed import Client


def need_dask() -> None:
    """Skip where the extra is not installed."""
    there = importlib.util.find_spec("distributed") is not None
    need(there, "dask.distributed is not installed: pip install 'governor[dask]'")


@contextlib.contextmanager
def local_cluster(scratch: Path, **options: Any) -> Iterator[Client]:
    """Workers as processes of this machine; nothing may be left of them or their governors."""
    need_dask()
    import dask.config
    from distributed import Client, LocalCluster, Nanny

    class PatientNanny(Nanny):
        """Lets a worker end its governor: others kill one that takes four seconds to close."""

        async def close(self, timeout: float | None = None, reason: str = "nanny-close") -> Any:
            return await super().close(timeout or DEADLINE, reason)

    if options.get("processes", True):
        options["worker_class"] = PatientNanny
    resource_tracker.ensure_running()  # multiprocessing's own, which stays
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        pytest.MonkeyPatch.context() as patch,
        nothing_left(patch),
        dask.config.set(temporary_directory=str(scratch)),  # the scheduler's, too
        LocalCluster(
            dashboard_address=":0",
            worker_dashboard_address=None,
            silence_logs=logging.CRITICAL,
            **options,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def governed(**limits: object) -> Iterator[None]:
    """What is submitted in here runs with these limits."""
    import dask

    with dask.annotate(executor="governor", governor=limits):
        yield


def worker_pids(client: Client) -> dict[str, int]:
    """The process of each worker."""
    pids: dict[str, int] = client.run(os.getpid)
    return pids


def node_of(client: Client, future: Any) -> governor.dask.Node:
    """The governor of the worker that has run a task."""
    report = governor.dask.report(future)
    assert report is not None
    return governor.dask.nodes(client)[report.worker]
