"""Policy: the forest, and what follows from it for the agent and for the figures."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from governor import registry
from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.forest import Forest, control_files
from governor.core.group import Group
from governor.core.hierarchy import Hierarchy
from governor.core.plan import Plan, compile_plan
from governor.core.usage import CpuLedger, Row
from governor.errors import GovernorError
from governor.results import ContainerReport
from governor.subsystem import Subsystem
from governor.supervisor.agent import AgentLink
from governor.supervisor.levels import Levels, Record
from governor.wire import agent as wire
from workers import membership
from workers.membership import Tag


class Hit(NamedTuple):
    """A bound of a container's counter was met; see `governor.wire.agent.Hit`."""

    container: Container
    counter: Counter
    bound: str
    times: int
    held: int
    pid: int


class Policy:
    """The forest with its plans, levels and CPU ledger, kept in step with the agent."""

    def __init__(self, agent: AgentLink, nonce: int) -> None:
        self._agent = agent
        self._nonce = nonce
        self.forest = Forest(registry.load)
        self.ledger = CpuLedger()
        self._plans: dict[int, Plan] = {}
        self._levels = Levels()
        self.on_hit: Callable[[Hit], None] = lambda hit: None
        """Called whenever bounds were met, at most ten times a second for each bound."""

    # -- hierarchies ---------------------------------------------------------------

    def mount(self, name: str, subsystems: list[str]) -> Hierarchy:
        """Activate a hierarchy; what runs already has no traps for its subsystems."""
        hierarchy = self.forest.mount(name, subsystems)
        for group in {tag.group for tag in self.members().values()}:
            self._levels.wanted(group, self.traps())
        self._sync_all()
        return hierarchy

    def umount(self, name: str) -> None:
        """Unmount a hierarchy; its counters go with it unless sub-containers keep it."""
        counters = list(own_counters(self.forest.hierarchy(name).root))
        if self.forest.umount(name):
            self._sync_all()
            for counter in counters:
                self._agent.drop_counter(counter)

    # -- plans ---------------------------------------------------------------------

    def use(self, group: Group) -> None:
        """Make the agent ready for processes of ``group``."""
        self._plans[group.id] = plan = compile_plan(group)
        self._agent.set_plan(group.id, plan, self._counters(group))

    def sync(self, container: Container) -> None:
        """Something about ``container`` changed: renew the plans of the groups it is above.

        When this returns, the change holds for the next call of every process.
        """
        if _take_stale(container):
            container = container.hierarchy.root
        for node in container.hierarchy.containers():  # others may borrow from it or lend to it
            for counter in own_counters(node):
                self._agent.renew(counter)
        for group in self.forest.groups:
            if group.id in self._plans and any(
                container in member.ancestors() for member in group.containers
            ):
                self.use(group)
        self._agent.flush()

    def _sync_all(self) -> None:
        """A hierarchy came or went: every plan may be another."""
        for group in self.forest.groups:
            if group.id in self._plans:
                self.use(group)
        self.refresh()

    def cpus(self, group: Group) -> list[int]:
        """The CPUs processes of ``group`` are confined to, empty for any."""
        return self._plans[group.id].confined.get("cpus", [])

    def at_limit(self, counter: int) -> str:
        """Which container is at which limit, in words."""
        found = self._find(counter)
        if found is None:
            return "a container is at its limit"
        container, own = found
        if own.interval:
            what = f"{own.limit} new {own.resource} in {own.interval:g} s"
        else:
            what = f"{own.bound} {own.resource}"
        return f"{container.label} is at its limit of {what}"

    def _find(self, id: int) -> tuple[Container, Counter] | None:
        """A counter and its container."""
        for hierarchy in self.forest.hierarchies.values():
            for container in hierarchy.containers():
                for counter in own_counters(container):
                    if counter.id == id:
                        return container, counter
        return None

    def hit(self, message: wire.Hit) -> None:
        """The agent tells of a bound that was met: pass it on, unless its container is gone."""
        found = self._find(message.counter)
        if found is not None:
            self.on_hit(Hit(*found, message.bound, message.times, message.held, message.pid))

    def traps(self) -> list[str]:
        """The facilities a new job's filter must trap: those of all bound subsystems."""
        return sorted({trap for subsystem in self._bound() for trap in subsystem.traps})

    def _bound(self) -> Iterator[Subsystem]:
        for hierarchy in self.forest.hierarchies.values():
            yield from hierarchy.subsystems.values()

    def _counters(self, group: Group) -> Iterator[Counter]:
        for container in group.containers:
            for node in container.ancestors():
                yield from own_counters(node)

    # -- processes -----------------------------------------------------------------

    def members(self) -> dict[int, Tag]:
        """Every governed process."""
        return membership.scan(self._nonce)

    def placed(self, group: int, trapped: Collection[str], tagged: bool = True) -> None:
        """A job was placed into ``group`` with these facilities trapped in it."""
        self._levels.placed(group, self.traps(), trapped, tagged)

    def attach(self, container: Container, pid: int) -> None:
        """Move a running process into ``container``. ESRCH: gone. EACCES: another user's."""
        tag = self._tag(pid)
        group = self.forest.groups.get(tag.group) if tag else None
        group = group or self.forest.group([])
        old = next(c for c in group.containers if c.hierarchy is container.hierarchy)
        if old is container and tag is not None:
            return
        target = self.forest.move(group, container, pid)
        self.use(target)
        moved = self._agent.move(pid, 0, target.id)
        if moved.errno:
            self._cancel(container, pid)
            raise GovernorError(moved.errno, f"process {pid} cannot move to {container.label}")
        if tag is None:
            self.placed(target.id, ())
            self.ledger.enter(pid, moved.start, target.id, moved.cpu, outside=True)
        else:
            self._levels.moved(group.id, target.id)
            self.ledger.move(pid, target.id, moved.cpu)
        for subsystem in container.hierarchy.subsystems.values():
            subsystem.attach(container, old, pid)

    def _tag(self, pid: int) -> Tag | None:
        if pid <= 0:
            raise GovernorError(errno.EINVAL, f"{pid} is not a process id")
        try:
            os.kill(pid, 0)
            tag = membership.read(pid)
        except ProcessLookupError:
            raise GovernorError(errno.ESRCH, f"there is no process {pid}") from None
        except PermissionError:
            raise GovernorError(errno.EACCES, f"process {pid} is another user's") from None
        if tag is not None and tag.nonce != self._nonce:
            raise GovernorError(errno.EBUSY, f"process {pid} belongs to another governor")
        return tag

    def _cancel(self, container: Container, pid: int) -> None:
        for subsystem in reversed(list(container.hierarchy.subsystems.values())):
            subsystem.cancel_attach(container, pid)

    def populate(self, starting: Collection[int]) -> None:
        """Count who is in each group; ``starting`` are groups of jobs not placed yet."""
        tasks: dict[int, int] = {}
        for group in [*(tag.group for tag in self.members().values()), *starting]:
            tasks[group] = tasks.get(group, 0) + 1
        self.forest.populate(tasks)

    # -- removal -------------------------------------------------------------------

    def rmdir(self, hierarchy: str, path: str) -> None:
        """Remove a container and forget all that was kept for it."""
        self.refresh()  # what was used in it belongs to its ancestors
        counters = list(own_counters(self.forest.lookup(hierarchy, path)))
        before = {group.id for group in self.forest.groups}
        container = self.forest.rmdir(hierarchy, path)
        for group in before - {group.id for group in self.forest.groups}:
            self._forget(group)
        for counter in counters:
            self._agent.drop_counter(counter)
        if _take_stale(container):
            self.sync(container.hierarchy.root)

    def _forget(self, group: int) -> None:
        self._agent.drop_plan(group)
        self.ledger.forget(group)
        self._levels.forget(group)
        self._plans.pop(group, None)

    # -- figures -------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring every figure up to date: counters by a recount, meters from the ledger."""
        if not self._plans:
            return
        counted = self._agent.count()
        by_id = {
            counter.id: counter
            for hierarchy in self.forest.hierarchies.values()
            for container in hierarchy.containers()
            for counter in own_counters(container)
        }
        for id, held, minheld, maxheld, failcnt, admitted in counted.counters:
            if id in by_id:
                counter = by_id[id]
                counter.held, counter.failcnt, counter.admitted = held, failcnt, admitted
                counter.minheld, counter.maxheld = minheld, maxheld
        for group in counted.unreadable:
            self._levels.unreadable(group)
        self.ledger.observe(Row(*row[:7]) for row in counted.rows)

    def settle_usage(self) -> None:
        """Add what has been used since the last time to the meters."""
        for group, used in self.ledger.drain().items():
            for meter in self._plans[group].meters if group in self._plans else ():
                meter.add(used)

    def report(self) -> list[ContainerReport]:
        """Every container of every hierarchy, as it is now."""
        reports = []
        records = self._levels.by_container(self.forest.groups)
        for hierarchy in self.forest.hierarchies.values():
            files = control_files(hierarchy)
            for container in hierarchy.containers():
                record = records.get(container, Record())
                level = {
                    name: record.level(subsystem)
                    for name, subsystem in hierarchy.subsystems.items()
                }
                values = {name: file.read(container) for name, file in files.items()}
                reports.append(ContainerReport(hierarchy.name, container.path, level, values))
        return reports


def own_counters(container: Container) -> Iterator[Counter]:
    """The counters that the subsystems keep for a container."""
    for subsystem in container.hierarchy.subsystems.values():
        yield from subsystem.counters(container)


def _take_stale(container: Container) -> bool:
    """Whether a subsystem wants all plans of this hierarchy renewed; asked once, it is done."""
    subsystems = container.hierarchy.subsystems.values()
    stale = any(subsystem.stale for subsystem in subsystems)
    for subsystem in subsystems:
        subsystem.stale = False
    return stale
