"""Jobs, forks, moves and containers by the thousand, and what is left of them: nothing.

Run as ``python -m tests.stress.churn jobs|moves|forks|containers SIZE``; each prints a line.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from governor.api import Container, Governor
from governor.api.container import snapshot


def processes(gov: Governor) -> dict[str, int]:
    """Supervisor, spawner and agent, while no job runs."""
    found = {"supervisor": gov.pid}
    (spawner,) = _children(gov.pid)
    (agent,) = _children(spawner)
    return found | {"spawner": spawner, "agent": agent}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sizes(pids: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Resident KiB and descriptors of each."""
    return {
        name: (_resident(pid), len(os.listdir(f"/proc/{pid}/fd"))) for name, pid in pids.items()
    }


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() // 1024


def jobs(gov: Governor, size: int) -> str:
    """``size`` jobs of ten processes in a fifth as many containers of each of 5 hierarchies."""
    trees = [gov.mount(f"h{n}", [f"numtasks@h{n}"]) for n in range(5)]
    places = max(1, size // 5)
    rows = [[tree.mkdir(f"/c{n}") for tree in trees] for n in range(places)]
    for row in rows:
        for container in row:
            container["numtasks.limit"] = 60
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait"
    began = time.monotonic()
    running = [
        gov.spawn(["sh", "-c", script], containers=rows[n % places], name=f"j{n}")
        for n in range(size)
    ]
    while (there := gov.status().processes) < size * 10:
        if time.monotonic() - began > 300:
            break
    took = time.monotonic() - began
    most = max(int(str(c["numtasks.maxheld"])) for row in rows[:10] for c in row)
    for job in running:
        job.kill()
    for row in rows:
        for container in row:
            container.remove(kill=True)
    return f"{size} jobs, {there} processes at once after {took:.0f} s, most in a container {most}"


def forks(gov: Governor, size: int) -> str:
    """Fork and exit for ``size`` seconds, by jobs that end and begin again."""
    box = gov.mount("load", ["numtasks", "cpuacct"]).mkdir("/box")
    box["numtasks.limit"] = 100
    pids = processes(gov)
    script = "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done"
    begin = time.monotonic()
    count, before = 0, sizes(pids)
    while time.monotonic() - begin < size:
        row = [gov.spawn(["sh", "-c", script], containers=[box]) for _ in range(4)]
        for job in row:
            job.wait()
        count += len(row)
        if count == 40:  # the first ones fill caches
            before = sizes(pids)
    held = box["numtasks.held"]
    return f"{count} jobs, {count * 200} forks, held {held}, sizes {before} -> {sizes(pids)}"


def moves(gov: Governor, size: int) -> str:
    """``size`` moves of a process that forks all the time."""
    tree = gov.mount("load", ["numtasks"])
    boxes: list[Container] = [tree.mkdir("/a"), tree.mkdir("/b")]
    job = gov.spawn(["sh", "-c", "while :; do /bin/true; done"], containers=[boxes[0]])
    began = time.monotonic()
    for n in range(size):
        boxes[1 - n % 2].attach(job.pid)
    took = time.monotonic() - began
    job.kill()
    return f"{size} moves in {took:.1f} s: {size / took:.0f} per second"


def containers(gov: Governor, size: int) -> str:
    """``size`` containers made, read at once and removed."""
    tree = gov.mount("load", ["numtasks"])
    began = time.monotonic()
    made = [tree.mkdir(f"/c{n}") for n in range(size)]
    made_in, began = time.monotonic() - began, time.monotonic()
    there = len(snapshot(gov.client))
    read_in, began = time.monotonic() - began, time.monotonic()
    for container in made[: min(size, 500)]:
        container.rmdir()
    each = (time.monotonic() - began) / min(size, 500)
    return (
        f"{there} containers, made in {made_in:.1f} s, all read in {read_in:.1f} s, "
        f"{each * 1000:.1f} ms to remove one"
    )


LOADS = {"jobs": jobs, "forks": forks, "moves": moves, "containers": containers}


def run(name: str, size: int) -> str:
    """One load in a governor of its own; what came of it, in a line."""
    with Governor() as gov:
        return f"{name}: {LOADS[name](gov, size)}"


if __name__ == "__main__":
    print(run(sys.argv[1], int(sys.argv[2])))
