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

CONTROLS: Final = (
    Operation("attach", "move of a process", 4),
    Operation("mkdir", "mkdir+rmdir", 2),
    Operation("limit", "limit change to effect", 2),
    Operation("read", "read of all counters", 1),
    Operation("scrape", "scrape of the metrics", 1),
)
"""What is done to containers from outside."""

SPAWN: Final = Operation("spawn", "start and end of a job", 1)
"""`true`, from before its start until its end is known."""

OPERATIONS: Final = (*LOOPS, *CONTROLS, SPAWN)
NAMES: Final = tuple(operation.name for operation in OPERATIONS)
TITLES: Final = {operation.name: operation.title for operation in OPERATIONS}


def named(*names: str) -> tuple[Operation, ...]:
    """Return the operations of these names, in the order of OPERATIONS."""
    return tuple(operation for operation in OPERATIONS if operation.name in names)
