"""A badly behaved student: opens whatever can be opened, and succeeds only when refused.

Four processes open files, pipes, sockets and more, and close some only when they are
refused, to begin again. It exits with 0 when every process was refused with EMFILE.

It is harmless all the same: each process stays below BOUND open files and below its own
RLIMIT_NOFILE, so that only a limit on them all can refuse it, and ends after a few seconds.
"""

from __future__ import annotations

import errno
import itertools
import os
import resource
import socket
import time
from collections.abc import Callable

PROCESSES = 4
BOUND = 1000
SECONDS = 4.0
PAUSE = 0.02

# Each makes one or two open files and returns their descriptors.
WAYS: list[Callable[[], list[int]]] = [
    lambda: [os.open("/dev/null", os.O_RDONLY)],
    lambda: [*os.pipe()],
    lambda: [socket.socket().detach()],
    lambda: [end.detach() for end in socket.socketpair()],
    lambda: [os.eventfd(0)],
    lambda: [os.memfd_create("hog")],
    lambda: [os.pidfd_open(os.getpid())],
]


def hog() -> int:
    """Open files for SECONDS; return how often that was refused."""
    bound = min(BOUND, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 64)
    ways = itertools.cycle(WAYS)
    held: list[int] = []
    refused = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and len(held) < bound:
        try:
            held += next(ways)()
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            refused += 1
            drop(held, len(held) // 2)
            time.sleep(PAUSE)
    drop(held, len(held))
    return refused


def drop(held: list[int], count: int) -> None:
    """Close the last ``count`` descriptors."""
    for _ in range(count):
        os.close(held.pop())


def hog_in_child(report: int) -> None:
    """Fork a child that hogs and writes its number of refusals to ``report``."""
    if os.fork() == 0:
        os.write(report, b"%d\n" % hog())
        os._exit(0)


def main() -> int:
    """Hog with all processes; return 0 when every one was refused."""
    reader, writer = os.pipe()
    for _ in range(PROCESSES):
        hog_in_child(writer)
    os.close(writer)
    with os.fdopen(reader) as reports:
        refused = [int(line) for line in reports]
    for _ in range(PROCESSES):
        os.wait()
    if len(refused) < PROCESSES or 0 in refused:
        print(f"was not refused by all: refusals in each process: {refused}")
        return 1
    print(f"was refused {sum(refused)} open files with EMFILE in {PROCESSES} processes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
