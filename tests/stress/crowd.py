"""Many jobs at once, of several processes each, in containers of several hierarchies.

Run as ``python -m tests.stress.crowd [JOBS]``. What is wrong fails an assertion.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from governor.api import Container, Governor, Job
from governor.api.container import snapshot
from tests.programs import build
from tests.stress.watch import DEADLINE, Pen, Watch, children, descriptors, in_words

HIERARCHIES = 5
PROCESSES = 10
STATUSES = 97
"""Different exit statuses that jobs are told to end with."""


class Crowd(NamedTuple):
    """How many of what."""

    jobs: int
    containers: int
    """In all hierarchies together."""


def places(gov: Governor, crowd: Crowd) -> list[list[Container]]:
    """The containers of each hierarchy, with room for one job more than will come."""
    rows = []
    each = crowd.containers // HIERARCHIES
    room = (-(-crowd.jobs // each) + 1) * PROCESSES
    for number in range(HIERARCHIES):
        cpu = ["cpuacct"] if number == 0 else []
        tree = gov.mount(f"h{number}", [f"numtasks@h{number}", *cpu])
        rows.append([tree.mkdir(f"/c{n}") for n in range(each)])
        for container in rows[-1]:
            container["numtasks.limit"] = room
    return rows


def places_of(job: int, rows: list[list[Container]]) -> list[Container]:
    """Where a job belongs: those that share one container are apart in the next hierarchy."""
    each = len(rows[0])
    return [row[(job + number * (job // each)) % each] for number, row in enumerate(rows)]


def run(gov: Governor, crowd: Crowd) -> str:
    """The whole load; what came of it, in a line."""
    program = build.compile("load_job")
    rows = places(gov, crowd)
    watch = Watch(gov, places_of(0, rows))
    before = watch.rest()
    pen = Pen()
    began = time.monotonic()
    jobs = [
        gov.spawn(
            [program, str(PROCESSES), "0", str(n % STATUSES)],
            containers=places_of(n, rows),
            stdin=pen.stdin,
            stdout=pen.stdout,
        )
        for n in range(crowd.jobs)
    ]
    spawned = time.monotonic() - began
    pen.hear(crowd.jobs)
    there = time.monotonic() - began
    check_counts(gov, jobs, rows)
    most, began = watch.look(), time.monotonic()
    pen.open()
    for n, job in enumerate(jobs):
        result = job.wait(DEADLINE)
        assert (result.exit_code, result.unenforced) == (n % STATUSES, None), (n, result)
    ended, began = time.monotonic() - began, time.monotonic()
    check_zero(gov)
    after = watch.rest()
    assert descriptors(after) == descriptors(before), (before, after)
    for row in rows:
        for container in row:
            container.rmdir()
    removed = time.monotonic() - began
    return (
        f"{crowd.jobs} jobs of {PROCESSES} processes: spawned in {spawned:.1f} s, all there after "
        f"{there:.1f} s, ended in {ended:.1f} s, containers removed in {removed:.1f} s; at most "
        f"{in_words(before, most)}; afterwards {in_words(before, after)}"
    )


def check_counts(gov: Governor, jobs: list[Job], rows: list[list[Container]]) -> None:
    """What is held is what the kernel shows of the jobs' processes, in each container."""
    alive: dict[tuple[str, str], int] = {}
    for n, job in enumerate(jobs):
        processes = 1 + len(children(job.pid))
        assert processes == PROCESSES, (n, processes)
        for container in places_of(n, rows):
            place = container.hierarchy.name, container.path
            alive[place] = alive.get(place, 0) + processes
            root = container.hierarchy.name, "/"
            alive[root] = alive.get(root, 0) + processes
    for report in snapshot(gov.client):
        held, limit = report.files["numtasks.held"], report.files["numtasks.limit"]
        assert held == alive.get((report.hierarchy, report.path), 0), report
        assert report.files["numtasks.failcnt"] == 0, report
        assert limit == "max" or int(report.files["numtasks.maxheld"]) <= int(limit), report
        assert set(report.level.values()) == {"enforced"}, report


def check_zero(gov: Governor) -> None:
    """Nothing is held anywhere, and no process is left."""
    for report in snapshot(gov.client):
        assert report.files["numtasks.held"] == 0, report
    status = gov.status()
    assert (status.processes, status.jobs) == (0, 0), status


if __name__ == "__main__":
    with Governor() as own:
        print("crowd:", run(own, Crowd(int(sys.argv[1]) if sys.argv[1:] else 1000, 200)))
