"""Recording: what has changed in a turn of the supervisor's loop, as one frame of the journal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from governor.core.container import Container
from governor.core.hierarchy import Hierarchy
from governor.core.usage import Kept
from governor.journal.file import Journal
from governor.journal.records import (
    Combination,
    Figures,
    Gone,
    Member,
    Meters,
    Node,
    Numbers,
    Orphan,
    Past,
    Record,
    Refused,
    Spent,
    Tree,
    Work,
)
from governor.subsystem import Subsystem
from governor.supervisor.agent import AgentLink
from governor.supervisor.bounds import own_counters
from governor.supervisor.changes import Changes
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.told import tell

T = TypeVar("T")

_MOVED = 256
"""Bytes at most, for each process, that the records of a move need: twice a `Member`."""
TRY_AGAIN = 1.0
"""Seconds between two attempts to record what could not be recorded."""


class Recorder(Changes):
    """Collects what is to be recorded; `settle` records it.

    ``numbers`` are those by which hierarchies and containers are recorded.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.numbers: dict[Hierarchy | Container, int] = {}
        self.last = 0
        """The number that was given last."""
        self._policy: Policy
        self._jobs: Jobs
        self._agent: AgentLink
        self._hierarchies: dict[Hierarchy, None] = {}
        self._containers: dict[Container, None] = {}
        self._groups: dict[int, None] = {}
        self._changed_jobs: dict[Job, None] = {}
        self._processes: set[int] = set()
        self._members: set[int] = set()
        self._orphans: set[int] = set()
        self._figures: dict[int, Figures] = {}
        self._last_id = 0
        self._looked = False
        self._failing = False
        self._next_try = 0.0

    def bind(self, policy: Policy, jobs: Jobs, agent: AgentLink) -> None:
        """Where what has changed can be looked at, as it is from now on."""
        self._policy, self._jobs, self._agent = policy, jobs, agent
        self._last_id = policy.forest.last_id
        self._members = set(self.journal.all(Member))
        self._orphans = set(self.journal.all(Orphan))
        self._figures = self.journal.all(Figures)
        self._looked = True

    # -- what has changed ----------------------------------------------------------

    def hierarchy(self, hierarchy: Hierarchy) -> None:
        """With its root."""
        self._hierarchies[hierarchy] = None
        self._containers[hierarchy.root] = None

    def container(self, container: Container) -> None:
        """Whatever it is that has changed of it."""
        self._containers[container] = None

    def group(self, id: int) -> None:
        """Whatever it is that has changed of it."""
        self._groups[id] = None

    def job(self, job: Job) -> None:
        """Whatever it is that has changed of it."""
        self._changed_jobs[job] = None

    def process(self, pid: int) -> None:
        """Whatever it is that has changed of it."""
        self._processes.add(pid)

    def figures(self) -> None:
        """Everything has been looked at."""
        self._looked = True

    def require_room_for(self, processes: int) -> None:
        """As much as their records will need."""
        self.require_room(_MOVED * processes)

    def flush(self) -> None:
        """Written, so that it outlives this process; not yet the machine."""
        self.settle()

    # -- recording -----------------------------------------------------------------

    def require_room(self, size: int) -> None:
        """Refuse a client's change that could not be recorded; ENOSPC, EIO, ..."""
        if self._failing:
            self._try_again()
        self.journal.require_room(size)

    def settle(self) -> None:
        """Record all that has changed, at once."""
        self.journal.put(list(self._changes()))

    def sync(self) -> bool:
        """Record all that has changed for good; whether that was possible."""
        self.settle()
        self.journal.sync()
        if self.journal.failure is not None and time.monotonic() >= self._next_try:
            self._try_again()
        self._tell()
        return self.journal.failure is None

    def tick(self) -> float | None:
        """Seconds until it is to be tried again, if something could not be recorded."""
        if self.journal.failure is None:
            return None
        return max(0.0, self._next_try - time.monotonic())

    @property
    def failure(self) -> str:
        """Why not everything is recorded; empty when it is."""
        failure = self.journal.failure
        return "" if failure is None else self.journal.refusal(failure).message

    def _try_again(self) -> None:
        self.journal.write_anew()
        self._next_try = time.monotonic() + TRY_AGAIN
        self._tell()

    def _tell(self) -> None:
        failing = self.journal.failure is not None
        if failing == self._failing:
            return
        self._failing = failing
        what = self.failure if failing else "everything is recorded again"
        self._policy.events.publish("unrecorded" if failing else "recorded", reason=what)
        print(f"governor: {what}", file=sys.stderr, flush=True)

    # -- the records ---------------------------------------------------------------

    def _changes(self) -> Iterator[Record]:
        if self._policy.forest.last_id != self._last_id:
            self._find_new_counters()
        yield from _drained(self._hierarchies, self._tree)
        yield from _drained(self._containers, self._node)
        yield from _drained(self._groups, self._combination)
        yield from _drained(self._changed_jobs, self._work)
        yield from self._usage()
        forest, jobs = self._policy.forest, self._jobs
        yield Numbers(0, forest.last_id, forest.groups.last, jobs.last)

    def number(self, thing: Hierarchy | Container) -> int:
        """The number of a hierarchy or a container."""
        if thing not in self.numbers:
            self.last += 1
            self.numbers[thing] = self.last
        return self.numbers[thing]

    def _find_new_counters(self) -> None:
        """Some begin when they are first needed, in containers that nobody has named."""
        new = self._policy.forest.last_id - self._last_id
        named = sum(c.id > self._last_id for node in self._containers for c in own_counters(node))
        if named < new:
            for hierarchy in self._policy.forest.hierarchies.values():
                for node in hierarchy.containers():
                    if any(counter.id > self._last_id for counter in own_counters(node)):
                        self.container(node)
        self._last_id = self._policy.forest.last_id

    def _is_there(self, hierarchy: Hierarchy) -> bool:
        forest = self._policy.forest
        if hierarchy is forest.unbound:
            return bool(hierarchy.subsystems)
        return forest.hierarchies.get(hierarchy.name) is hierarchy

    def _tree(self, hierarchy: Hierarchy) -> Iterator[Record]:
        number = self.number(hierarchy)
        if not self._is_there(hierarchy):
            del self.numbers[hierarchy]
            yield Gone(number, "Tree")
            return
        yield Tree(
            number,
            hierarchy.name,
            hierarchy.mounted,
            hierarchy is self._policy.forest.unbound,
            hierarchy.labels,
            hierarchy.release_agent,
        )

    def _node(self, container: Container) -> Iterator[Record]:
        parent, hierarchy = container.parent, container.hierarchy
        number = self.number(container)
        there = parent is None or parent.children.get(container.name) is container
        if not there or not self._is_there(hierarchy):
            del self.numbers[container]
            yield Gone(number, "Node")
            yield Gone(number, "Meters")
            yield Gone(number, "Past")
            return
        if parent is None:
            yield from self._tree(hierarchy)  # its release agent is a file of the root
        yield Node(
            number,
            self.number(hierarchy),
            self.number(parent) if parent is not None else 0,
            container.name,
            container.notify_on_release,
            container.auto_remove,
            container.occupied,
            {kind: _saved(s, container) for kind, s in hierarchy.subsystems.items()},
        )
        yield from self._meters(container)
        past = self._policy.levels.kept.get(container)
        if past is not None:
            yield Past(number, *past.dump())

    def _meters(self, container: Container) -> Iterator[Record]:
        totals = [
            [kind, meter.total, meter.user]
            for kind, subsystem in container.hierarchy.subsystems.items()
            for meter in subsystem.meters(container)
        ]
        if totals:
            yield Meters(self.number(container), totals)

    def _places(self, group: int) -> tuple[tuple[Container, ...], bool] | None:
        """The containers of a group, and whether it was released."""
        found = self._policy.forest.groups.get(group)
        if found is not None:
            return found.containers, False
        released = self._policy.released.get(group)
        return None if released is None else (released, True)

    def _combination(self, id: int) -> Iterator[Record]:
        places = self._places(id)
        if places is None:
            yield Gone(id, "Combination")
            return
        containers, released = places
        nodes = [self.number(container) for container in containers]
        yield Combination(id, nodes, released, *self._policy.levels.record(id).dump())

    def _work(self, job: Job) -> Iterator[Record]:
        if self._jobs.by_id.get(job.id) is not job:
            yield Gone(job.id, "Work")
            if job.refused:
                yield Gone(job.id, "Refused")
            return
        if job.refused:
            yield Refused(job.id, [[counter, *row] for counter, row in job.refused.items()])
        yield Work(
            job.id,
            job.name,
            job.group,
            job.pid,
            job.start,
            job.traps,
            job.grace,
            job.timeout,
            job.deadline,
            job.began_at,
            job.began,
            job.placed,
            job.timed_out,
            job.listener is not None,
            job.base_cpu,
            job.refusal,
            job.error,
            job.result.row() if job.result is not None else [],
        )

    # -- figures -------------------------------------------------------------------

    def _usage(self) -> Iterator[Record]:
        ledger = self._policy.ledger
        if self._looked:
            self._looked = False
            self._processes.update(ledger.live, ledger.orphans, self._members, self._orphans)
            yield from self._counted()
        for pid in self._processes:
            yield from self._member(pid)
        self._processes.clear()
        nodes: dict[Container, None] = {}
        for group in ledger.changed:
            total = ledger.total(group)
            if total is None:
                yield Gone(group, "Spent")
                continue
            yield Spent(group, list(total.retired), list(total.published))
            for container in (self._places(group) or ((), False))[0]:
                nodes.update(dict.fromkeys(container.ancestors()))
        ledger.changed.clear()
        for node in nodes:
            yield from self._meters(node)

    def _member(self, pid: int) -> Iterator[Record]:
        ledger = self._policy.ledger
        for kind, kept, known in (
            (Member, ledger.kept(pid), self._members),
            (Orphan, ledger.kept_orphan(pid), self._orphans),
        ):
            if kept is not None:
                known.add(pid)
                yield kind(pid, *_plain(kept))
            elif pid in known:
                known.discard(pid)
                yield Gone(pid, kind.__name__)

    def _counted(self) -> Iterator[Record]:
        counters = self._agent.counters
        for id, counter in counters.items():
            figures = Figures(
                id, counter.minheld, counter.maxheld, counter.failcnt, counter.admitted
            )
            if self._figures.get(id) != figures:
                self._figures[id] = figures
                yield figures
        for id in [id for id in self._figures if id not in counters]:
            del self._figures[id]
            yield Gone(id, "Figures")


def _saved(subsystem: Subsystem, container: Container) -> object:
    """What a subsystem wants to be kept; nothing when that cannot be written."""
    saved = tell(subsystem, "save", container)
    if _is_plain(saved):
        return saved
    print(f"governor: save() of {subsystem.label} gave {saved!r}", file=sys.stderr)
    return None


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str | float)


def _drained(changed: dict[T, None], records: Callable[[T], Iterable[Record]]) -> Iterator[Record]:
    for thing in changed:
        yield from records(thing)
    changed.clear()


def _plain(kept: Kept) -> tuple[int, int, int, list[int], list[int], bool, bool]:
    return (
        kept.start,
        kept.ppid,
        kept.group,
        list(kept.base),
        list(kept.use),
        kept.outside,
        kept.discards,
    )
