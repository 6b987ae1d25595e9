"""Limited tasks on a Dask cluster: good ones finish, greedy ones are held, nobody's worker dies.

    python examples/dask_cluster.py                         two workers on this machine
    python examples/dask_cluster.py tcp://scheduler:8786    a cluster that runs already

Needs ``pip install 'governor[dask]'``, also where the workers of that cluster run.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from typing import Any

import dask
from distributed import Client, LocalCluster

import governor.dask
from governor.dask import Report


def count_primes(below: int) -> str:
    """CPU time: primes by trial division."""
    primes: list[int] = []
    for number in range(2, below):
        if all(number % prime for prime in primes if prime * prime <= number):
            primes.append(number)
    return f"{len(primes)} primes"


def pipelines(times: int) -> str:
    """Processes: programs that are started one after the other, a few at a time."""
    for _ in range(times):
        subprocess.run("ls / | sort | wc -l", shell=True, check=True, stdout=subprocess.DEVNULL)
    return f"{times} pipelines"


def fork_bomb() -> str:
    """Forks a hundred times, whatever the system says to that."""
    forks = 0
    for _ in range(100):
        try:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            forks += 1
        except BlockingIOError:
            time.sleep(0.01)
    return f"{forks} forks, then EAGAIN"


def file_hog() -> str:
    """Opens files until that fails, which it takes no notice of."""
    opened = [open(os.devnull) for _ in range(1000)]  # noqa: SIM115
    return f"{len(opened)} files"


def sleeper() -> None:
    """Never ends by itself."""
    time.sleep(3600)


TASKS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (count_primes, (30_000,), {"tasks": 2, "cpus": str(min(os.sched_getaffinity(0)))}),
    (pipelines, (12,), {"tasks": 8, "files": 64}),
    (fork_bomb, (), {"tasks": 8}),
    (file_hog, (), {"files": 32}),
    (sleeper, (), {"timeout": "1s"}),
]


def main(address: str = "") -> None:
    """Run the tasks on the cluster at this address, or on one that is made for them."""
    if address:
        try:
            client = Client(address, timeout=10)
        except OSError:
            sys.exit(f"no scheduler answers at {address}")
        with client:
            run(client)
        return
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            dashboard_address=":0",
            worker_dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        run(client)


def run(client: Client) -> None:
    """Submit everything at once, and say what became of it."""
    governor.dask.install(client, metrics=9464)
    for worker, node in governor.dask.nodes(client).items():
        print(f"{short(worker):17} governor {node.pid}, metrics at {node.metrics}")
    futures = []
    for task, arguments, limits in TASKS:
        with dask.annotate(executor="governor", governor=limits):
            futures.append(client.submit(task, *arguments, pure=False))
    print(f"\n{'task':13}{'worker':17}{'CPU s':>6}{'tasks':>7}{'files':>7}  outcome")
    for (task, _, _), future in zip(TASKS, futures, strict=True):
        error = future.exception()
        outcome = getattr(error, "strerror", None) or error or future.result()
        show(task.__name__, outcome, governor.dask.report(future))
    print(f"\nworkers alive: {len(client.run(os.getpid))}")


def short(worker: str) -> str:
    """The address of a worker, without how it is spoken to."""
    return worker.partition("//")[2]


def show(name: str, outcome: object, report: Report | None) -> None:
    """A line of the table, and one for each limit that was met."""
    assert report is not None
    used = report.usage
    files = "" if used.files_peak is None else used.files_peak
    figures = f"{used.cpu_seconds:6.2f}{used.tasks_peak:7}{files:>7}"
    print(f"{name:13}{short(report.worker):17}{figures}  {outcome}")
    for refusal in used.refusals:
        print(f"  refused {refusal}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
