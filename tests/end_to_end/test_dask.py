"""Tasks of Dask in containers, on a cluster of several worker processes."""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import governor.dask
from governor.serving import Serving
from tests.end_to_end.clusters import governed, local_cluster, node_of, worker_pids
from tests.process.helpers import DEADLINE, PYTHONPATH, ROOT, eventually, exists
from tests.programs import dask_tasks as tasks

if TYPE_CHECKING:
    from distributed import Client

pytestmark = [
    pytest.mark.once,
    # Dask's, when that takes a second.
    pytest.mark.filterwarnings("ignore:Creating scratch directories:UserWarning"),
]

WORKERS = 2
CPU = str(min(os.sched_getaffinity(0)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    scratch = tmp_path_factory.mktemp("dask")
    with local_cluster(scratch, n_workers=WORKERS, threads_per_worker=2) as client:
        governor.dask.install(client, metrics=0)
        yield client


def submit(client: Client, function: Callable[..., Any], *args: object, **keys: Any) -> Any:
    return client.submit(function, *args, pure=False, **keys)


def error_of(future: Any) -> BaseException:
    error = future.exception(DEADLINE)
    assert isinstance(error, BaseException)
    return error


def scrape(node: governor.dask.Node) -> list[str]:
    assert node.metrics is not None
    with urllib.request.urlopen(node.metrics, timeout=DEADLINE) as answer:
        text: str = answer.read().decode()
    return text.splitlines()


def only_file(place: Path) -> int:
    """The pid that `tasks.wait_here` has left."""
    eventually(lambda: any(place.glob("[0-9]*")), "the task runs")
    (path,) = place.glob("[0-9]*")
    return int(path.name)


# -- limits, usage, refusals -------------------------------------------------------


def test_limits_hold_and_come_back(client: Client) -> None:
    with governed(tasks=8, files=64, cpus=CPU):
        future = submit(client, tasks.affinity)
    assert future.result(DEADLINE) == CPU
    found = governor.dask.report(future)
    assert found is not None
    assert found.limits == (8, 64, CPU, None)
    assert found.usage.tasks_peak == 1
    assert found.usage.files_peak is not None
    assert 1 <= found.usage.files_peak <= 64
    assert (found.usage.refusals, found.exit_code, found.unenforced) == ((), 0, None)
    assert found.worker in worker_pids(client)
    assert {container.partition(":")[0] for container in found.containers} == {"load", "cpu"}


def test_a_fork_bomb_is_held_while_its_neighbour_finishes(client: Client, tmp_path: Path) -> None:
    end = tmp_path / "end"
    worker = next(iter(worker_pids(client)))
    with governed(tasks=8):
        bomb = submit(client, tasks.bomb, str(end), workers=[worker])
        neighbour = submit(client, tasks.commands, 20, workers=[worker])
    try:
        assert neighbour.result(DEADLINE) == 20
        assert not bomb.done()
    finally:
        end.touch()
    made, refused = bomb.result(DEADLINE)
    assert made == 7
    found = governor.dask.report(bomb)
    assert found is not None
    (refusal,) = found.usage.refusals
    assert (refusal.resource, refusal.limit, refusal.held) == ("tasks", 8, 8)
    assert refusal.times == refused > 0
    assert found.usage.tasks_peak == 8
    with governor.Governor.connect(governor.dask.nodes(client)[worker].directory) as operator:
        assert operator.status().processes == 0  # what it had forked is gone, too


def test_cpu_seconds_are_those_of_rusage(client: Client) -> None:
    with governed():
        future = submit(client, tasks.burn, 0.8)
    used = future.result(DEADLINE)
    found = governor.dask.report(future)
    assert found is not None
    assert found.usage.cpu_seconds == pytest.approx(used, rel=0.05)
    assert found.usage.wall_seconds >= found.usage.cpu_seconds * 0.95


def test_refusals_are_in_the_metrics_of_the_node(client: Client) -> None:
    for node in governor.dask.nodes(client).values():
        scrape(node)  # from now on it keeps the last figures of what ends
    with governed(files=10):
        future = submit(client, tasks.open_files, 40)
    error = error_of(future)
    assert isinstance(error, OSError)
    found = governor.dask.report(future)
    assert found is not None
    (refusal,) = found.usage.refusals
    assert (refusal.resource, refusal.limit) == ("files", 10)
    assert error.__notes__ == [f"open_files was refused {refusal}"]
    path = refusal.container.partition(":")[2]
    own = f'{{container="{path}",hierarchy="load"}}'
    lines = scrape(node_of(client, future))
    assert f"governor_numfiles_limit{own} 10.0" in lines
    assert f"governor_numfiles_held_max{own} 10.0" in lines
    assert f"governor_numfiles_failures_total{own} 1.0" in lines
    assert f'governor_job_exit_code{{id="{found.job}",name="open_files"}} 1.0' in lines


def test_what_has_no_governor_annotation_is_as_ever(client: Client) -> None:
    future = submit(client, os.getpid)
    assert future.result(DEADLINE) in worker_pids(client).values()
    assert governor.dask.report(future) is None


# -- values and exceptions ---------------------------------------------------------


def test_results_and_arguments_go_from_node_to_node(client: Client) -> None:
    here, there = worker_pids(client)
    offset = 3
    with governed(tasks=4):
        first = submit(client, lambda: bytes(range(256)) * 4096, workers=[here])
        second = submit(client, lambda data: len(data) + offset, first, workers=[there])
    assert second.result(DEADLINE) == 256 * 4096 + offset
    assert submit(client, len, first).result(DEADLINE) == 256 * 4096


def test_an_exception_shows_the_line_of_the_task(client: Client, tmp_path: Path) -> None:
    with governed():
        future = submit(client, tasks.fail_at_first, str(tmp_path))
        unsendable = submit(client, tasks.Unsendable)
        ended = submit(client, os._exit, 0)
        left = submit(client, sys.exit, 3)
        slow = submit(client, tasks.wait_for, "/nowhere/at/all")
        unread = submit(client, len, tasks.Unreadable())
    with pytest.raises(ValueError, match="the first time") as caught:
        future.result(DEADLINE)
    assert caught.traceback[-1].name == "fail_at_first"
    assert "of type Unsendable, cannot be sent: no way" in str(error_of(unsendable))
    assert "has ended before the task returned" in str(error_of(ended))
    assert str(error_of(left)) == "job exit failed with exit code 3"
    assert str(error_of(unread)) == "not here"
    client.cancel([slow])


def test_dask_tries_again(client: Client, tmp_path: Path) -> None:
    with governed(timeout="1m"):
        future = submit(client, tasks.fail_at_first, str(tmp_path), retries=1)
    assert future.result(DEADLINE) == "well"
    found = governor.dask.report(future)
    assert found is not None
    assert found.exit_code == 0
    rows = [row for _, row in client.get_events("governor") if row["key"] == future.key]
    assert [row["exit_code"] for row in rows] == [1, 0]


def test_a_timeout_is_an_exception(client: Client) -> None:
    with governed(timeout="0.5s"):
        future = submit(client, tasks.wait_for, "/nowhere/at/all")
    error = error_of(future)
    assert isinstance(error, governor.JobTimeout)
    assert error.result is not None
    assert error.result.timed_out


def test_too_few_files_to_begin_with_is_said(client: Client) -> None:
    with governed(files=3):
        future = submit(client, tasks.affinity)
    error = error_of(future)
    assert isinstance(error, governor.LimitExceeded)
    assert (error.resource, error.limit) == ("files", 3)


# -- what dies ---------------------------------------------------------------------


def test_a_cancelled_task_ends(client: Client, tmp_path: Path) -> None:
    with governed():
        future = submit(client, tasks.wait_here, str(tmp_path), str(tmp_path / "never"))
    pid = only_file(tmp_path)
    client.cancel([future])
    eventually(lambda: not exists(pid), "the job has ended")
    with governed():
        assert submit(client, tasks.commands, 1).result(DEADLINE) == 1


def test_a_killed_container_leaves_the_workers_alive(client: Client, tmp_path: Path) -> None:
    before = worker_pids(client)
    worker = next(iter(before))
    with governed(tasks=4):
        future = submit(
            client, tasks.wait_here, str(tmp_path), str(tmp_path / "never"), workers=[worker]
        )
        pid = only_file(tmp_path)
        directory = governor.dask.nodes(client)[worker].directory
        with governor.Governor.connect(directory) as operator:
            (path,) = (p.path for p in operator.where(pid) if p.hierarchy == "load")
        command = [sys.executable, "-m", "governor", "kill", "--dir", directory, "-s", "KILL"]
        subprocess.run([*command, f"load:{path}"], check=True, timeout=DEADLINE)
        assert "job wait_here was ended by signal 9" in str(error_of(future))
        assert submit(client, tasks.commands, 1, workers=[worker]).result(DEADLINE) == 1
    assert worker_pids(client) == before


def test_after_the_death_of_a_governor_there_is_another(client: Client, tmp_path: Path) -> None:
    worker, process = next(iter(worker_pids(client).items()))
    before = governor.dask.nodes(client)[worker]
    with governed():
        future = submit(
            client, tasks.wait_here, str(tmp_path), str(tmp_path / "never"), workers=[worker]
        )
        only_file(tmp_path)
        os.kill(before.pid, signal.SIGKILL)
        error = error_of(future)
        assert isinstance(error, governor.GovernorError)
        assert error.errno == errno.EIO
        assert submit(client, tasks.commands, 1, workers=[worker]).result(DEADLINE) == 1
    after = governor.dask.nodes(client)[worker]
    assert after.pid != before.pid
    assert after.metrics is not None
    assert worker_pids(client)[worker] == process


def test_a_killed_worker_takes_its_governor_with_it(client: Client, tmp_path: Path) -> None:
    end = tmp_path / "end"
    before = worker_pids(client)
    with governed(tasks=4):
        future = submit(client, tasks.wait_here, str(tmp_path), str(end))
    job = only_file(tmp_path)
    (worker,) = (w for w, keys in client.processing().items() if future.key in keys)
    node = governor.dask.nodes(client)[worker]
    os.kill(before[worker], signal.SIGKILL)
    eventually(lambda: not exists(job) and not exists(node.pid), "its governor has ended")
    eventually(lambda: not os.path.exists(node.directory), "its directory is gone")
    end.touch()
    assert future.result(DEADLINE) == "waited"
    client.wait_for_workers(WORKERS, timeout=DEADLINE)
    assert len({node.pid for node in governor.dask.nodes(client).values()}) == WORKERS


# -- mistakes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"task": 8}, "governor has no task; there are tasks, files, cpus, timeout"),
        ({"tasks": "many"}, 'tasks: "many" is not a count'),
        ({"cpus": "4095"}, "there are no CPUs 4095 here"),
        (8, "governor=8 is not like {'tasks': 8, 'cpus': '0'}"),
    ],
)
def test_a_wrong_annotation_is_the_tasks_error(
    client: Client, annotation: object, message: str
) -> None:
    import dask

    with dask.annotate(executor="governor", governor=annotation):
        error = error_of(submit(client, tasks.affinity))
    assert isinstance(error, governor.GovernorError)
    assert message in str(error)


def test_actors_are_refused(client: Client) -> None:
    with governed(), pytest.raises(governor.GovernorError, match="an actor lives in its worker"):
        submit(client, tasks.Actor, actor=True).result(DEADLINE)


@pytest.mark.filterwarnings("ignore:.* runs without limits:RuntimeWarning")
def test_what_is_not_limited_gives_a_warning(client: Client) -> None:
    import dask

    with dask.annotate(governor={"tasks": 8}):
        submit(client, tasks.commands, 1).result(DEADLINE)
    with governed(tasks=8):
        submit(client, tasks.coroutine).result(DEADLINE)
    said = [pickle.loads(row["message"]) for _, row in client.get_events("warn")]
    assert said == [
        "commands runs without limits: there is no annotation executor='governor'",
        "coroutine runs without limits: Dask calls coroutines in the worker's event loop",
    ]


def test_without_the_plugin_dask_says_so(tmp_path: Path) -> None:
    with local_cluster(tmp_path, n_workers=1, processes=False) as client, governed(tasks=8):
        future = submit(client, tasks.affinity)
        assert "Invalid executor 'governor'" in str(error_of(future))
        for question in (lambda: governor.dask.report(future), lambda: governor.dask.nodes(client)):
            with pytest.raises(governor.GovernorError, match=r"call governor\.dask\.install"):
                question()
        elsewhere = Serving(9464, "203.0.113.7")
        with pytest.raises(governor.GovernorError, match="no address of this machine"):
            governor.dask.install(client, metrics=elsewhere)
        governor.dask.install(client)
        assert submit(client, tasks.commands, 1).result(DEADLINE) == 1
        (node,) = governor.dask.nodes(client).values()
        assert node.metrics is None


# -- documents ---------------------------------------------------------------------


def test_the_page_shows_what_runs(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/dask.md").read_text()
    (example,) = (b for b in re.findall(r"```python\n(.*?)```", page, re.S) if "annotate" in b)
    exec(example, {"client": client, "governor": governor})
    assert re.search(r"Usage\(cpu_seconds=.*refusals=\(\)\)", capsys.readouterr().out)


@pytest.mark.parametrize("here", [True, pytest.param(False, marks=pytest.mark.stress)])
def test_the_example_runs(client: Client, here: bool) -> None:
    """On a cluster that runs already; and by itself, which takes longer."""
    cluster: Any = client.cluster
    address = [cluster.scheduler_address] if here else []
    command = [sys.executable, str(ROOT / "examples/dask_cluster.py"), *address]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    output = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    rows = dict(re.findall(r"^(\w+) +[\d.]+:\d+ +(.*)$", output, re.M))
    assert rows["count_primes"].endswith("  3245 primes")
    assert rows["pipelines"].endswith("  12 pipelines")
    assert rows["fork_bomb"].endswith("  7 forks, then EAGAIN")
    assert rows["file_hog"].endswith("  Too many open files")
    assert re.search(r"job sleeper timed out after [1-9][\d.]* s$", rows["sleeper"])
    assert re.search(r"refused tasks at load:/fork_bomb\S+ \d+ times \(limit 8, held 8\)", output)
    assert output.endswith("workers alive: 2\n")
