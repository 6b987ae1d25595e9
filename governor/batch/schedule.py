"""Which job of a batch may start next, given what has ended. No I/O, and no clock of its own.

A job may start once all that it comes after have succeeded, while fewer than so many run at once,
in the whole and under each of its bounds. Of those that may, the one of the highest priority is
next, and of these the first. A job that does not succeed takes with it all that come after it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

_WAITING: Final = "waiting"
_READY: Final = "ready"
_RUNNING: Final = "running"
_DELAYED: Final = "delayed"
_DONE: Final = "done"
_FAILED: Final = "failed"
_SKIPPED: Final = "skipped"

_Place = tuple[int, int]
"""Where a job is in a queue: higher priorities first, then the order of the file."""


class Task(NamedTuple):
    """What matters of a job here. ``bounds``: under which of the schedule's it counts."""

    name: str
    after: tuple[str, ...] = ()
    priority: int = 0
    bounds: tuple[str, ...] = ()


class Skipped(NamedTuple):
    """A job that will not be started, since the job ``because`` has not succeeded."""

    name: str
    because: str


class _Gate:
    """What tasks that come after the same others wait for: so many of these yet.

    All jobs of one table may come after all of another; without gates that would be millions of
    pairs.
    """

    def __init__(self, left: int) -> None:
        self.left = left
        self.followers: list[str] = []


class Schedule:
    """The state of every job: each is waiting, ready, running, delayed, or at its end.

    ``tasks`` come in the file's order and contain no cycle; ``bounds``: how many may run at once
    under each name; those in ``done`` have succeeded before.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        parallel: int,
        bounds: Mapping[str, int],
        done: Collection[str] = (),
    ) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._names = list(self._tasks)
        self._places = {
            task.name: (-task.priority, number) for number, task in enumerate(self._tasks.values())
        }
        self._room = parallel
        self._running = 0
        self._rooms = dict(bounds)
        self._ready: list[_Place] = []
        # Ready, but under a bound that is full. While there is room, the best of them is in
        # _ready, or none is left: so a start costs a logarithm, however many are kept waiting.
        self._parked: dict[str, list[_Place]] = {bound: [] for bound in bounds}
        self._delays: list[tuple[float, str]] = []
        self._halted = False
        self._states = {name: _DONE if name in done else _WAITING for name in self._names}
        self._left = sum(state == _WAITING for state in self._states.values())
        self._gates: dict[str, list[_Gate]] = {name: [] for name in self._names}
        self._set_gates()

    # -- what is asked ---------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not self._running and (self._halted or not self._left)

    @property
    def left(self) -> int:
        """How many jobs have not ended and do not run."""
        return self._left - self._running

    @property
    def delayed(self) -> int:
        """How many of these wait for their next attempt."""
        return len(self._delays)

    def due(self) -> float | None:
        """Return when the next of these may start, None when nobody waits for that."""
        return self._delays[0][0] if self._delays and not self._halted else None

    # -- what happens ----------------------------------------------------------------

    def next(self, now: float) -> str | None:
        """Take the job that is to be started at this moment; None: none may start."""
        while self._delays and self._delays[0][0] <= now:
            self._make_ready(heapq.heappop(self._delays)[1])
        while self._ready and self._room > 0 and not self._halted:
            place = heapq.heappop(self._ready)
            name = self._names[place[1]]
            bounds = self._tasks[name].bounds
            full = next((bound for bound in bounds if self._rooms[bound] <= 0), None)
            if full is not None:
                heapq.heappush(self._parked[full], place)
            else:
                self._states[name] = _RUNNING
                self._occupy(bounds, 1)
            for bound in bounds:
                self._unpark(bound)
            if full is None:
                return name
        return None

    def ended(self, name: str, succeeded: bool) -> list[Skipped]:
        """Note the end of a running job; those that are skipped for it, causes before effects."""
        self._leave(name)
        return self._end(name, succeeded)

    def retry(self, name: str, at: float) -> None:
        """Note that a running job is to be started again, not before ``at``."""
        self._leave(name)
        self._states[name] = _DELAYED
        heapq.heappush(self._delays, (at, name))

    def halt(self) -> None:
        """Start nothing more."""
        self._halted = True

    # -- how -------------------------------------------------------------------------

    def _occupy(self, bounds: Iterable[str], jobs: int) -> None:
        """Count so many jobs more, or fewer, that run."""
        self._running += jobs
        self._room -= jobs
        for bound in bounds:
            self._rooms[bound] -= jobs

    def _leave(self, name: str) -> None:
        """Let others have the room of a job that ran."""
        bounds = self._tasks[name].bounds
        self._occupy(bounds, -1)
        for bound in bounds:
            self._unpark(bound)

    def _unpark(self, bound: str) -> None:
        if self._parked[bound] and self._rooms[bound] > 0:
            heapq.heappush(self._ready, heapq.heappop(self._parked[bound]))

    def _set_gates(self) -> None:
        gates: dict[tuple[str, ...], _Gate] = {}
        for task in self._tasks.values():
            if self._states[task.name] == _DONE:
                continue
            gate = gates.get(task.after)
            if gate is None:
                before = {name for name in task.after if self._states[name] != _DONE}
                gate = gates[task.after] = _Gate(len(before))
                for name in before:
                    self._gates[name].append(gate)
            gate.followers.append(task.name)
            if not gate.left:
                self._make_ready(task.name)

    def _make_ready(self, name: str) -> None:
        self._states[name] = _READY
        heapq.heappush(self._ready, self._places[name])

    def _end(self, name: str, succeeded: bool) -> list[Skipped]:
        """End a job, and all that will not be started for it."""
        self._states[name] = _DONE if succeeded else _FAILED
        self._left -= 1
        if succeeded:
            for gate in self._gates[name]:
                gate.left -= 1
                if not gate.left:
                    for follower in gate.followers:
                        self._make_ready(follower)
            return []
        skipped: list[Skipped] = []
        causes = [name]
        for cause in causes:  # which grows
            for gate in self._gates[cause]:
                for follower in gate.followers:
                    self._states[follower] = _SKIPPED
                    self._left -= 1
                    skipped.append(Skipped(follower, cause))
                    causes.append(follower)
                gate.followers = []
        return skipped


def graph(after: Mapping[str, tuple[str, ...]]) -> dict[object, tuple[object, ...]]:
    """Return the graph of jobs and what they come after, for `graphlib.TopologicalSorter`.

    Between are nodes that are no names: what several come after is a node of its own.
    """
    nodes: dict[object, tuple[object, ...]] = {name: (before,) for name, before in after.items()}
    return nodes | {before: before for before in after.values()}


def order(tasks: Iterable[Task], done: Collection[str] = ()) -> list[str]:
    """Return the order in which jobs start when one runs at a time and all succeed."""
    tasks = list(tasks)
    schedule = Schedule(tasks, 1, {bound: 1 for task in tasks for bound in task.bounds}, done)
    started: list[str] = []
    while (name := schedule.next(0.0)) is not None:
        started.append(name)
        schedule.ended(name, True)
    return started
