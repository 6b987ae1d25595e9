"""Who has no descriptor left has seen nothing, and says so: it never takes that for an absence."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator

import pytest

from governor import transport
from workers import affinity, census, files, membership, privilege, signals, spaces, tasks
from workers.syscalls import read_memory, table

PID = os.getpid()

LOOKS: dict[str, Callable[[], object]] = {
    "members": lambda: membership.scan(1),
    "threads": lambda: census.Census(1, table()).threads(PID),
    "process of a thread": lambda: tasks.process_of(PID),
    "run time": lambda: tasks.run_ns(PID),
    "settled": lambda: tasks.settled(tasks.reserve(PID), ()),
    "asleep": lambda: tasks.sleeps_in(PID, ()),
    "call": lambda: tasks.call_of(PID),
    "signals": lambda: signals.pending(PID),
    "what is behind a descriptor": lambda: files.details((PID, 0)),
    "capabilities": lambda: privilege.privileged(PID),
    "break": lambda: spaces.heap_end(PID),
    "memory": lambda: read_memory(PID, 0, 8),
    "wish for processors": lambda: affinity.emulate(PID, (PID, 8, 1), lambda pid: None, bool),
}


@pytest.fixture
def exhausted() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("look", LOOKS)
def test_it_is_no_absence(exhausted: None, look: str) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        LOOKS[look]()


def test_the_last_descriptor_is_taken() -> None:
    """By our caller, who has left it open: there is room for all that are allowed then."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1, before[1]))
    try:
        transport.make_room()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(taken)
