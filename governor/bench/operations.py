"""The operations that are timed, by the names `loop.c` and ``--only`` know them by."""

from __future__ import annotations

from typing import Final, NamedTuple

STARTUP: Final = "startup"
"""Whole processes rather than a loop: see `governor.bench.startup`."""


class Operation(NamedTuple):
    """One loop of `loop.c`; ``probe`` is how many rounds a first, calibrating run does."""

    name: str
    title: str
    probe: int


OPERATIONS: Final = (
    Operation("fork", "fork+wait", 30),
    Operation("thread", "thread create+join", 100),
    Operation("open", "open+close", 500),
    Operation("getppid", "untrapped getppid", 20_000),
)


NAMES: Final = (*(operation.name for operation in OPERATIONS), STARTUP)


def parse_only(text: str) -> list[str]:
    """Return the names in a text such as ``fork,open``; raises ValueError for another name."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in NAMES:
            allowed = ", ".join(NAMES)
            raise ValueError(f'no operation "{name}": allowed are {allowed}')
    return [name for name in NAMES if name in names]
