"""Moves between containers while hundreds of processes are there and some of them fork.

Run as ``python -m tests.stress.moves [MOVES]``. What is wrong fails an assertion.
"""

from __future__ import annotations

import sys
import time

from governor.api import Container, Governor, Job
from tests.programs import build
from tests.stress.watch import DEADLINE, Pen, Watch, children, descriptors, in_words

PROCESSES = 20
"""Of each job."""
JOBS = 10
FORKERS = 2
"""Jobs of which one process forks all the time."""
BOXES = 4


def run(gov: Governor, moves: int, jobs: int = JOBS) -> str:
    """The whole load; what came of it, in a line."""
    tree = gov.mount("load", ["numtasks"])
    boxes = [tree.mkdir(f"/box{n}") for n in range(BOXES)]
    for box in boxes:
        box["numtasks.limit"] = (PROCESSES + 2) * jobs
    watch = Watch(gov, boxes[:1])
    before, pen = watch.rest(), Pen()
    program = build.compile("load_job")
    there = [
        gov.spawn(
            [program, str(PROCESSES), str(int(n < FORKERS)), "7"],
            containers=[boxes[n % BOXES]],
            stdin=pen.stdin,
            stdout=pen.stdout,
        )
        for n in range(jobs)
    ]
    pen.hear(jobs)
    forked = forks(boxes)
    took, at = move_about(moves, there, boxes)
    forked = forks(boxes) - forked
    check_places(at, boxes)
    pen.open()
    assert {job.wait(DEADLINE).exit_code for job in there} == {7}
    for box in boxes:
        assert box["numtasks.held"] == 0
        box.rmdir()
    after = watch.rest()
    assert descriptors(after) == descriptors(before), (before, after)
    return (
        f"{moves} moves in {took:.1f} s, {moves / took:.0f} per second, among {jobs * PROCESSES} "
        f"processes that forked {forked} times; {in_words(before, after)}"
    )


def forks(boxes: list[Container]) -> int:
    """How many calls that make tasks have been admitted."""
    lines = [str(box["numtasks.stats"]).splitlines() for box in boxes]
    return sum(int(dict(map(str.split, text))["successes"]) for text in lines)


def move_about(
    moves: int, jobs: list[Job], boxes: list[Container]
) -> tuple[float, dict[int, Container]]:
    """Move each of the processes in turn, those that fork too, to another container each time.

    Returns the seconds that took, and where they are then.
    """
    pids = [pid for job in jobs for pid in (job.pid, *children(job.pid))][: len(jobs) * PROCESSES]
    at: dict[int, Container] = {}
    began = time.monotonic()
    for n in range(moves):
        pid = pids[n % len(pids)]
        at[pid] = box = boxes[(n // len(pids) + n) % len(boxes)]
        box.attach(pid)
    return time.monotonic() - began, at


def check_places(at: dict[int, Container], boxes: list[Container]) -> None:
    """Everybody is where it was moved last, and counts there; a fork may come on top of that."""
    for box in boxes:
        moved = {pid for pid, place in at.items() if place is box}
        assert moved <= set(box.tasks), (box, moved)
        assert int(str(box["numtasks.failcnt"])) == 0, box


if __name__ == "__main__":
    with Governor() as own:
        print("moves:", run(own, int(sys.argv[1]) if sys.argv[1:] else 10_000))
