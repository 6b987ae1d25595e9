"""How much memory a governor takes: its processes, and what a container and a task add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from governor.bench import crowd
from governor.bench.governed import governed
from governor.bench.helpers import Programs
from governor.bench.shape import Shape
from governor.bench.site import Weight

RUNS: Final = 6
"""Governors that are weighed: the fewest that give an interval."""
TASKS: Final = 1_000
CONTAINERS: Final = 10_000
"""Containers that are made, each with its limits; of fewer, one weighs what is allocated ahead."""

SUPERVISOR: Final = "supervisor"
FULL: Final = "supervisor, containers"
CONTAINER: Final = "container"
TASK: Final = "task"
TASK_OF_MANY: Final = "task, many hierarchies"

TITLES: Final = {
    SUPERVISOR: "supervisor when it has started",
    "agent": "agent when it has started",
    "spawner": "spawner when it has started",
    FULL: f"supervisor with {CONTAINERS:,} containers",
    CONTAINER: "for each container",
    TASK: "for each process",
    TASK_OF_MANY: f"the same in {crowd.LARGEST} hierarchies",
}
"""What is weighed; all but the last two are of the processes alone or of one of them."""

Memory = dict[str, list[float]]
"""Bytes, one value for each run, by the names of TITLES."""


def measure(programs: Programs, containers: int, progress: Callable[[str], None]) -> Memory:
    """Weigh governors before and after so many containers, and TASKS processes, are made.

    Raises GovernorError when one fails.
    """
    found: Memory = {name: [] for name in TITLES}
    for run in range(RUNS):
        progress(f"memory: run {run + 1} of {RUNS}")
        before, filled, busy = _weigh(programs, 1, containers)
        sizes = {**before._asdict(), FULL: filled.supervisor}
        sizes[CONTAINER] = (sum(filled) - sum(before)) / containers
        sizes[TASK] = (sum(busy) - sum(filled)) / TASKS
        _, filled, busy = _weigh(programs, crowd.LARGEST, 0)
        sizes[TASK_OF_MANY] = (sum(busy) - sum(filled)) / TASKS
        for name, size in sizes.items():
            found[name].append(size)
    return found


def _weigh(programs: Programs, hierarchies: int, containers: int) -> tuple[Weight, Weight, Weight]:
    """Return what a governor weighs when it has started, with containers, and with processes."""
    with governed(programs, Shape(hierarchies=hierarchies, depth=1)) as governor:
        before = governor.weigh()
        governor.fill(containers)
        filled = governor.weigh()
        governor.idle(TASKS)
        return before, filled, governor.weigh()
