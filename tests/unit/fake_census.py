"""A simulated kernel behind the agent's books: what is true, and what the census shows of it.

Forks and opens that were let through are *in flight* until they happen. Between two questions
of the agent anything may happen: ``between`` holds what, as numbers that choose among what can.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

from workers.bills import Demand
from workers.census import Census
from workers.membership import Tag
from workers.resources import NONE_KNOWN
from workers.tasks import Reservation

NONCE = 1

FORK: Demand = (("tasks", 1),)
PIPE: Demand = (("files", 2),)
OPEN: Demand = (("files", 1),)
CLONE_WITH_PIDFD: Demand = (("tasks", 1), ("files", 1))

RESOURCES = {1: "tasks", 2: "tasks", 3: "tasks", 4: "tasks", 5: "tasks", 6: "files", 7: "files"}
"""Counters 1 (root), 2, 3 of a hierarchy, 4 (root), 5 of another; files 6 (root), 7."""

COUNTS = {
    1: {"tasks": [2, 1, 5, 4], "files": [7, 6]},
    2: {"tasks": [2, 1, 4], "files": [6]},
    3: {"tasks": [3, 1, 5, 4], "files": [7, 6]},
    4: {"tasks": [1, 4], "files": [6]},
}
"""What the processes of each group count in, the container before its ancestors."""

GROUPS = {id: {g for g, c in COUNTS.items() if id in c[r]} for id, r in RESOURCES.items()}


class Process:
    """A process: its threads (0 threads: a zombie) and what its descriptors point to."""

    def __init__(self, pid: int, group: int) -> None:
        self.pid = pid
        self.group = group
        self.threads = {pid}
        self.descriptors: list[int] = []

    @property
    def tasks(self) -> int:
        return max(1, len(self.threads))


class Flight:
    """A call that was told to go on; ``demand`` is what it will make."""

    def __init__(self, process: Process, demand: dict[str, int], thread: bool) -> None:
        self.process = process
        self.demand = demand
        self.thread = thread


class FakeCensus(Census):
    """The kernel, and the census taken of it."""

    def __init__(self) -> None:
        self.unreadable = set()
        self.processes: dict[int, Process] = {}
        self.flights: dict[int, Flight] = {}
        self.doubted: set[int] = set()
        """Threads of whose calls there is no evidence yet that they are over."""
        self.asleep: set[int] = set()
        """Threads in flight that have their file and sleep, such as in an accept."""
        self.slow_to_count: set[str] = set()
        self.between: list[int] = []
        self.watch: Callable[[], None] = lambda: None
        self._ids = itertools.count(100).__next__

    # -- what the agent sees -------------------------------------------------------

    def members(self) -> dict[int, Tag]:
        self._pass_time()
        return {p.pid: Tag(NONCE, 1, p.group) for p in self.processes.values()}

    def threads(self, pid: int) -> list[int]:
        return sorted(self.processes[pid].threads) if pid in self.processes else []

    def count(self, resource: str, pids: Sequence[int]) -> int:
        self._pass_time()
        there = [self.processes[pid] for pid in pids if pid in self.processes]
        return held(resource, there)

    def at_most(
        self, resource: str, pids: Sequence[int], threads: Mapping[int, int] = NONE_KNOWN
    ) -> int | None:
        if resource == "tasks":
            return sum(threads[pid] for pid in pids) if set(pids) <= threads.keys() else None
        self._pass_time()
        return sum(len(self.processes[pid].descriptors) for pid in pids if pid in self.processes)

    def one_each(self, resource: str) -> bool:
        return resource == "tasks" and not self.slow(resource)

    def holds(self, resource: str, pids: Sequence[int], groups: Set[int], amount: int) -> bool:
        if not self.one_each(resource):
            return False
        self._pass_time()
        there = [pid for pid in pids if pid in self.processes]
        return sum(self.processes[pid].group in groups for pid in there) >= amount

    def leaving(self, resource: str) -> int:
        return 0

    def slow(self, resource: str) -> bool:
        return resource in self.slow_to_count

    def movable(self, resource: str) -> bool:
        return resource == "files"

    def settled(self, reservation: Reservation, resource: str) -> bool:
        self._pass_time()
        return reservation.tid not in self.flights and reservation.tid not in self.doubted

    def firm(self, reservation: Reservation, resource: str) -> bool:
        self._pass_time()
        return resource == "files" and reservation.tid in self.asleep

    # -- what is true --------------------------------------------------------------

    def live(self, resource: str, groups: set[int]) -> int:
        """How much of a resource exists now."""
        there = [p for p in self.processes.values() if p.group in groups]
        return held(resource, there) + self._in_flight(resource, groups, asleep=True)

    def coming(self, resource: str, groups: set[int]) -> int:
        """How much more there will be if every call in flight succeeds."""
        return self._in_flight(resource, groups, asleep=False)

    def _in_flight(self, resource: str, groups: set[int], asleep: bool) -> int:
        return sum(
            flight.demand.get(resource, 0)
            for tid, flight in self.flights.items()
            if flight.process.group in groups and (tid in self.asleep) is asleep
        )

    # -- what happens --------------------------------------------------------------

    def start(self, group: int) -> Process:
        process = Process(self._ids(), group)
        self.processes[process.pid] = process
        return process

    def callers(self) -> list[int]:
        """Threads that may make a call now."""
        return [t for p in self.processes.values() for t in p.threads if t not in self.flights]

    def process_of(self, tid: int) -> Process:
        return next(p for p in self.processes.values() if tid in p.threads)

    def land(self, tid: int, succeeds: bool = True) -> None:
        """A call in flight happens, or fails after all."""
        flight = self.flights.pop(tid)
        self.asleep.discard(tid)
        if not succeeds:
            return
        process = flight.process
        for _ in range(flight.demand.get("files", 0)):
            process.descriptors.append(self._ids())
        if flight.demand.get("tasks"):
            if flight.thread:
                process.threads.add(self._ids())
            else:
                self.start(process.group).descriptors = list(process.descriptors)

    def exit(self, process: Process) -> None:
        """A process dies of a signal: nothing of it is left but a zombie."""
        for tid in process.threads:
            self.flights.pop(tid, None)
            self.asleep.discard(tid)
        process.threads = set()
        process.descriptors = []

    def reap(self, process: Process) -> None:
        del self.processes[process.pid]

    def events(self) -> Iterator[Callable[[], None]]:
        """Everything that may happen by itself now, in an order that is always the same."""
        for tid in list(self.flights):
            yield lambda tid=tid: self.land(tid)  # type: ignore[misc]
            yield lambda tid=tid: self.land(tid, False)  # type: ignore[misc]
            if "tasks" not in self.flights[tid].demand:
                yield lambda tid=tid: self.asleep.add(tid)  # type: ignore[misc]
        for process in list(self.processes.values()):
            act = self.exit if process.threads else self.reap
            yield lambda process=process, act=act: act(process)  # type: ignore[misc]

    def _pass_time(self) -> None:
        self.watch()
        if self.between:
            choice = self.between.pop()
            events = list(self.events())
            if choice and events:
                events[choice % len(events)]()
                self.watch()


def held(resource: str, processes: Sequence[Process]) -> int:
    """What these processes hold together: tasks, or distinct files."""
    if resource == "tasks":
        return sum(process.tasks for process in processes)
    return len({file for process in processes for file in process.descriptors})
