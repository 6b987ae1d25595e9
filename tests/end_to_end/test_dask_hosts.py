"""Tasks of Dask in containers on several hosts, which are network namespaces here."""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import governor.dask
from governor.serving import Serving
from tests.end_to_end.clusters import governed, need_dask
from tests.end_to_end.hosts import Hosts
from tests.process.helpers import DEADLINE, eventually, exists, nothing_left
from tests.programs import dask_tasks as tasks

if TYPE_CHECKING:
    from distributed import Client

PORT = 9464


class Cluster(NamedTuple):
    """A scheduler on a host, and on each of two others a worker: its address and its process."""

    client: Client
    workers: dict[str, int]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_dask()
    from distributed import Client

    with pytest.MonkeyPatch.context() as patch, nothing_left(patch):
        patch.setenv("DASK_TEMPORARY_DIRECTORY", str(tmp_path_factory.mktemp("dask")))
        with Hosts(3) as hosts:
            scheduler = f"tcp://{hosts.address(0)}:8786"
            quiet = ["--no-dashboard", "--host"]
            dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-jupyter"]
            hosts.start(0, *dask, *quiet, hosts.address(0), "--port", "8786")
            dask = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny"]
            started = [
                hosts.start(host, *dask, "--nthreads", "2", *quiet, hosts.address(host))
                for host in (1, 2)
            ]
            with Client(scheduler, timeout=DEADLINE) as client:
                client.wait_for_workers(2, timeout=DEADLINE)
                governor.dask.install(client, metrics=Serving(PORT, "0.0.0.0"))
                pids: dict[str, int] = client.run(os.getpid)
                assert set(pids.values()) == {process.pid for process in started}
                yield Cluster(client, pids)
                governors = [node.pid for node in governor.dask.nodes(client).values()]
        # A worker without a nanny does not wait for its own when it is told to end.
        eventually(lambda: not any(map(exists, governors)), "the governors have ended")


def test_tasks_are_limited_where_they_land(cluster: Cluster, tmp_path: Path) -> None:
    end = tmp_path / "end"
    here, there = cluster.workers
    cpu = str(min(os.sched_getaffinity(0)))
    with governed(tasks=8, cpus=cpu):
        bomb = cluster.client.submit(tasks.bomb, str(end), workers=[here])
        network = {
            worker: cluster.client.submit(
                os.readlink, "/proc/self/ns/net", workers=[worker], pure=False
            )
            for worker in cluster.workers
        }
        neighbours = [
            cluster.client.submit(tasks.commands, 10, workers=[worker], pure=False)
            for worker in cluster.workers
        ]
        affinity = cluster.client.submit(tasks.affinity, workers=[there])
        burnt = cluster.client.submit(tasks.burn, 0.8, workers=[there])
    for worker, future in network.items():
        pid = cluster.workers[worker]
        assert future.result(DEADLINE) == os.readlink(f"/proc/{pid}/ns/net")
        assert os.readlink("/proc/self/ns/net") != future.result()
    assert affinity.result(DEADLINE) == cpu
    assert [future.result(DEADLINE) for future in neighbours] == [10, 10]
    assert not bomb.done()
    end.touch()
    assert bomb.result(DEADLINE)[0] == 7
    found = governor.dask.report(bomb)
    assert found is not None
    assert found.worker == here
    assert [refusal.resource for refusal in found.usage.refusals] == ["tasks"]
    used = burnt.result(DEADLINE)
    found = governor.dask.report(burnt)
    assert found is not None
    assert found.usage.cpu_seconds == pytest.approx(used, rel=0.05)


def test_each_host_serves_its_metrics_at_the_same_port(cluster: Cluster) -> None:
    with governed(tasks=5):
        futures = [
            cluster.client.submit(tasks.commands, 1, workers=[worker], pure=False)
            for worker in cluster.workers
        ]
        cluster.client.gather(futures)
    for worker, node in governor.dask.nodes(cluster.client).items():
        host = worker.removeprefix("tcp://").partition(":")[0]
        assert (node.host, node.metrics) == (host, f"http://{host}:{PORT}/metrics")
        assert node.metrics is not None
        with urllib.request.urlopen(node.metrics, timeout=DEADLINE) as answer:
            assert 'name="commands"' in answer.read().decode()


@pytest.mark.stress  # a worker that dies is tried on one machine each time
def test_a_host_that_dies_takes_its_jobs_with_it(cluster: Cluster, tmp_path: Path) -> None:
    end = tmp_path / "end"
    with governed(tasks=4):
        future = cluster.client.submit(tasks.wait_here, str(tmp_path), str(end))
    eventually(lambda: any(tmp_path.glob("[0-9]*")), "the task runs")
    (job,) = (int(path.name) for path in tmp_path.glob("[0-9]*"))
    (worker,) = (w for w, keys in cluster.client.processing().items() if future.key in keys)
    governors = {worker: node.pid for worker, node in governor.dask.nodes(cluster.client).items()}
    os.kill(cluster.workers[worker], signal.SIGKILL)
    eventually(lambda: not exists(job) and not exists(governors[worker]), "its jobs have ended")
    end.touch()
    assert future.result(DEADLINE) == "waited"
    found = governor.dask.report(future)
    assert found is not None
    assert found.worker != worker
