"""One message of every kind, with every field set to something telling, and all catalogues."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import governor.wire
from governor.wire import agent, client, job, pool, spawner
from governor.wire.codec import Catalogue, Message

SAMPLES: dict[str, list[Message]] = {
    "agent.FROM_AGENT": [
        agent.Hello(pid=4242),
        agent.Placed(job=3, counter=0, errno=16, cpu=12_345_678, start=987_654),
        agent.MovedAll(
            request=9,
            errno=0,
            pid=0,
            counter=0,
            moved=[[4242, 3, 7, 12_345_678, 10_000_000, 987_654, 1]],
        ),
        agent.Pong(request=11),
        agent.Figures(
            request=10,
            counters=[[1, 5, 0, 8, 0, 9], [2, 0, 0, 0, 2**40, 0]],
            rows=[[4242, 987_654, 1, 7, 10**9, 20_000_000, 0, 3]],
            unreadable=[7],
        ),
        agent.Entering(ticket=1, pid=4242, child=False),
        agent.Entered(ticket=1, entered=True, cpu=10**9, start=987_654),
        agent.Resumed(request=12, tickets=[1, 5]),
        agent.Refusals(figures=[[1, 3], [4, 2317]]),
        agent.Trapped(
            calls=[[56, 10], [257, 4000]],
            answers=[[9_000_000, *[0] * 13, 1], [0] * 15],
            recounts=3,
            recounting=400_000,
        ),
        agent.JobHit(counter=1, bound="barrier", job=7, times=2317, held=64, pid=4242),
        agent.JobRefusals(figures=[[7, 1, 2317, 64], [8, 4, 1, 9]]),
    ],
    "agent.ON_CHANNEL": [agent.Listening(job=3)],
    "agent.TO_AGENT": [
        agent.SetCounter(id=1, resource="tasks", limit=2**63 - 1),
        agent.SetBarrier(id=1, barrier=60),
        agent.SetInterval(id=1, interval=2.5),
        agent.SetLender(id=2, lender=1, guarantee=16),
        agent.Reset(id=1, figure="maxheld"),
        agent.DropCounter(id=1),
        agent.SetPlan(
            group=7,
            charges={"tasks": [1]},
            counts={"tasks": [1, 2], "files": []},
            confined={"cpus": [0, 3]},
        ),
        agent.DropPlan(group=7),
        agent.Place(job=3, pid=4242, group=7, traps=["files", "tasks"]),
        agent.MoveAll(
            request=9, processes=[[4242, 0, 0, 8], [4243, 3, 7, 8]], groups=[[7, 8]], within=True
        ),
        agent.Count(request=10),
        agent.Ping(request=11),
        agent.Stop(),
        agent.Enter(ticket=1, group=9),
        agent.Adopt(job=7, group=3, traps=["tasks", "affinity"]),
        agent.Resume(request=12),
        agent.Tell(request=13),
        agent.JobEnded(job=7),
        agent.CountSome(request=14, counters=[1, 300]),
    ],
    "client.TO_SUPERVISOR": [
        client.Mount(request=1, name="load", subsystems=["numtasks", "numfiles"]),
        client.Umount(request=2, name="load"),
        client.Mkdir(request=3, hierarchy="load", path="/students/bärbel"),
        client.Rmdir(request=4, hierarchy="load", path="/students"),
        client.Lookup(request=5, hierarchy="load", path="/"),
        client.Read(request=6, hierarchy="load", path="/a", file="numtasks.held"),
        client.Write(request=7, hierarchy="load", path="/a", file="numtasks.limit", value=64),
        client.Attach(request=8, hierarchy="load", path="/a", pid=4242),
        client.AttachMany(request=8, hierarchy="load", path="/a", pids=[4242, 4243], within=True),
        client.AttachAll(
            request=8,
            hierarchy="load",
            path="/a",
            source_hierarchy="load",
            source="/b",
            recursive=True,
            within=False,
        ),
        client.Tasks(request=9, hierarchy="load", path="/a"),
        client.Snapshot(request=10),
        client.Look(request=10, endings=[".held", ".limit"]),
        client.Scrape(request=10, shapes={"load": 7}, keep=60.0),
        client.Spawn(
            request=11,
            name="make",
            argv=[b"make", b"-j8", b"\xff"],
            callable=b"",
            env={b"PATH": b"/usr/bin", b"\xfe": b"\x00"},
            cwd=b"/tmp",
            umask=0o022,
            pgid=0,
            modules=["/usr/lib"],
            containers={"load": "/a", "cpu": "/"},
            timeout=1.5,
            grace=2.0,
            token="t0",
        ),
        client.Wait(request=12, jobs=[1, 2], timeout=None),
        client.Signal(request=13, job=1, signal=15),
        client.StopJobs(request=14, jobs=[1], grace=0.5),
        client.Shutdown(request=15, grace=2.0),
        client.Remount(request=16, name="load", subsystems=["numtasks@projects"]),
        client.Hierarchies(request=17),
        client.List(request=18, hierarchy="load", path="/a"),
        client.Rename(request=19, hierarchy="load", path="/a/b", name="c"),
        client.Remove(
            request=20, hierarchy="load", path="/a", recursive=True, kill=True, grace=1.5
        ),
        client.Where(request=21, pid=4242),
        client.Kill(request=22, hierarchy="load", path="/a", signal=15, recursive=False),
        client.Processes(request=23, hierarchy="load", path="/a", recursive=True),
        client.Jobs(request=24),
        client.Follow(request=25, after=-1, timeout=30.0),
        client.Log(request=23, keeper="4711", after=41, timeout=10.0),
        client.Status(request=26),
        client.State(request=27),
    ],
    "client.STDIO": [client.Stdio(token="t0")],
    "client.FROM_SUPERVISOR": [
        client.Result(request=1, value=["load", 1, None, {"a": 2.5}, b"\x00", True]),
        client.Failure(request=2, errno=16, message="subsystem 'numtasks' is bound"),
    ],
    "job.FROM_WORKER": [
        job.Ready(refusal="a filter is there already"),
        job.Failed(errno=2, step="run nosuch"),
    ],
    "job.TO_WORKER": [job.Bind(nodes=[0, 2]), job.Go()],
    "job.SPEC": [
        job.JobSpec(
            argv=[b"true"],
            callable=b"\x80\x04",
            env={b"A": b"\xff"},
            cwd=b"/",
            umask=0o077,
            filter=bytes(range(16)),
            cpus=[0, 1],
            pgid=77,
            modules=[],
        )
    ],
    "spawner.TO_SPAWNER": [
        spawner.StartAgent(endpoint="/run/governor/agents"),
        spawner.StartWorker(job=3),
        spawner.Probe(number=7),
        spawner.Keep(kind="listener", id=3),
        spawner.Drop(kind="listener", id=3),
        spawner.Recorded(ends=2),
        spawner.Quit(),
    ],
    "spawner.FROM_SPAWNER": [
        spawner.Started(job=3, pid=4242, errno=0),
        spawner.UserTime(ns=123_456_000),
        spawner.Reaped(pid=4242, job=3, group=7, status=256, cpu=10**9, start=987_654),
        spawner.Buried(pid=4242),
        spawner.Alive(number=7),
        spawner.Kept(kind="listener", id=3),
        spawner.Running(job=3, pid=4242),
        spawner.Inherited(nonce=77),
    ],
    "pool.TO_NURSERY": [pool.Fork(worker=3), pool.Learn()],
    "pool.FROM_NURSERY": [
        pool.Forked(worker=3, pid=4242, errno=0),
        pool.Ended(worker=3, status=9),
    ],
}


def catalogues() -> dict[str, Catalogue]:
    """Every catalogue of every module of `governor.wire`, by ``module.NAME``."""
    return dict(_catalogues())


def _catalogues() -> Iterator[tuple[str, Catalogue]]:
    for module in pkgutil.iter_modules(governor.wire.__path__):
        members = vars(importlib.import_module(f"governor.wire.{module.name}"))
        for name, value in members.items():
            if isinstance(value, Catalogue):
                yield f"{module.name}.{name}", value


ALL = [(name, message) for name, messages in SAMPLES.items() for message in messages]
