"""What ``governor run`` adds to a command: whole processes, from start to end."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from governor.errors import GovernorError

TRUE: Final = "true"
PYTHON: Final = "python3 -c pass"
GOVERNED: Final = "governor run -- true"

# What the installed console script does, so that the benchmark works in a source tree too.
_ENTRY = "from governor.cli import entry; entry()"

COMMANDS: Final[dict[str, list[str]]] = {
    TRUE: ["/bin/true"],
    PYTHON: [sys.executable, "-c", "pass"],
    GOVERNED: [sys.executable, "-c", _ENTRY, "run", "--", "/bin/true"],
}


def measure(rounds: int, progress: Callable[[str], None]) -> dict[str, list[float]]:
    """Return the wall nanoseconds of every command, ``rounds`` of each, taking turns.

    Raises GovernorError [EIO] when a command does not succeed.
    """
    names = list(COMMANDS)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for command in COMMANDS.values():
        _time(command)
    for turn in range(rounds):
        progress(f"start-up {turn + 1} of {rounds}")
        for name in names[turn % 3 :] + names[: turn % 3]:
            samples[name].append(_time(COMMANDS[name]))
    return samples


def _time(command: list[str]) -> float:
    """Return the nanoseconds from before the start of ``command`` until it is reaped."""
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, os.environ)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    taken = time.perf_counter_ns() - start
    if status:
        raise GovernorError(errno.EIO, f"{' '.join(command)} ended with {status}")
    return float(taken)
