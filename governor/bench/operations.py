"""The operations: what one does, by the names `loop.c` and ``--only`` know them by."""

from __future__ import annotations

from typing import Final, NamedTuple


class Operation(NamedTuple):
    """``probe`` is how many times a first, calibrating run does it."""

    name: str
    title: str
    probe: int


LOOPS: Final = (
    Operation("fork", "fork+wait", 30),
    Operation("vfork", "vfork+exec+wait", 10),
    Operation("thread", "thread create+join", 100),
    Operation("open", "open+close", 500),
    Operation("socket", "socket+close", 500),
    Operation("getppid", "untrapped getppid", 20_000),
)
"""What a job's program does; each is a loop of `loop.c`."""
LOOP_NAMES: Final = frozenset(operation.name for operation in LOOPS)

CROWD: Final = 100
"""Processes that are moved together."""

ATTACH: Final = Operation("attach", "move of a process", 4)
MIGRATE: Final = Operation("migrate", f"move of {CROWD} processes", 1)
CONTROLS: Final = (
    ATTACH,
    MIGRATE,
    Operation("mkdir", "mkdir+rmdir", 2),
    Operation("limit", "limit change to effect", 2),
    Operation("read", "read of all counters", 1),
    Operation("scrape", "scrape of the metrics", 1),
)
"""What is done to containers from outside."""

START: Final = Operation("start", "start of a job", 1)
"""From before a job is asked for until the main function of its program begins."""
SPAWN: Final = Operation("spawn", "start and end of a job", 1)
"""`true`, from before its start until its end is known."""
JOBS: Final = Operation("jobs", "open+close of all jobs", 500)
"""By several jobs at once: the time from the first's beginning to the last's end, by all calls."""
BUILD: Final = Operation("build", "make -j4", 1)
"""Of a small project in C, from before its start until its end is known."""
LOOKUP: Final = Operation("lookup", "lookup of a group", 1000)
"""Of a group by its containers, as a job that is placed and a process that is moved need it."""

OPERATIONS: Final = (*LOOPS, *CONTROLS, START, SPAWN, JOBS, BUILD, LOOKUP)
NAMES: Final = tuple(operation.name for operation in OPERATIONS)
_TITLES: Final = {operation.name: operation.title for operation in OPERATIONS}


def title(name: str) -> str:
    """Return the title of an operation, or its name when only a later version knows it."""
    return _TITLES.get(name, name)


def named(*names: str) -> tuple[Operation, ...]:
    """Return the operations of these names, in the order of OPERATIONS."""
    return tuple(operation for operation in OPERATIONS if operation.name in names)
