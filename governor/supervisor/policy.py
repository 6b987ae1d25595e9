"""Policy: the forest, and what follows from it for the agent."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.forest import Forest, bound
from governor.core.group import Group
from governor.core.hierarchy import Hierarchy
from governor.core.usage import CpuLedger, Use
from governor.errors import GovernorError
from governor.results import Value
from governor.subsystem import Subsystem
from governor.supervisor.agent import AgentLink
from governor.supervisor.bounds import Bounds, own_counters
from governor.supervisor.changes import Changes
from governor.supervisor.corefiles import CORE_FILES
from governor.supervisor.events import Events
from governor.supervisor.host import ProcessHost
from governor.supervisor.levels import Levels
from governor.supervisor.loading import expand, load
from governor.supervisor.members import Members
from governor.supervisor.plans import Plans
from governor.supervisor.told import tell
from workers import cpu
from workers.tasks import living

RELEASED_MAX = 64
"""How many released groups are kept for processes whose end has not been reported yet."""


class Policy:
    """The forest with its plans, levels and CPU ledger, kept in step with the agent."""

    def __init__(
        self, agent: AgentLink, nonce: int, events: Events, changes: Changes | None = None
    ) -> None:
        self._agent = agent
        self.events = events
        self.changes = changes or Changes()
        self.host = ProcessHost(self)
        self.forest = Forest(self._load, CORE_FILES, tell)
        self.members = Members(nonce, self.forest)
        self.bounds = Bounds(self.forest, events)
        self.ledger = CpuLedger()
        self.levels = Levels()
        self.plans = Plans(agent, events)
        self.watched: set[Container] = set()
        """Containers that are to be released when the last process or child has left."""
        self.machinery = {os.getpid()}
        """Supervisor and spawner, which with the agent are in no container: all wait for them."""
        self.released: dict[int, tuple[Container, ...]] = {}
        """Groups released lately, the oldest first; the parent in the place of what is gone."""
        self.leaving: Callable[[Container], None] = lambda container: None
        """Called with a container that is about to be removed."""

    def _load(self, label: str) -> Subsystem:
        subsystem = load(label)
        subsystem.host = self.host
        return subsystem

    # -- hierarchies ---------------------------------------------------------------

    def mount(self, name: str, labels: list[str]) -> Hierarchy:
        """Activate a hierarchy; what runs already has no traps for its subsystems."""
        hierarchy = self.forest.mount(name, expand(labels))
        self._bound("mount", hierarchy)
        return hierarchy

    def remount(self, name: str, labels: list[str]) -> Hierarchy:
        """Bind these subsystems instead of those that were."""
        before = list(own_counters(self.forest.hierarchy(name).root))
        hierarchy = self.forest.remount(name, expand(labels))
        self._bound("remount", hierarchy)
        self._drop_gone(before, hierarchy)
        return hierarchy

    def _bound(self, kind: str, hierarchy: Hierarchy) -> None:
        for group in {tag.group for tag in self.members.all().values()}:
            self.levels.wanted(group, self.traps())
        self.plans.renew(self.forest.groups)
        self._agent.flush()
        self._rebound(hierarchy)
        self.events.of(kind, hierarchy.root, subsystems=",".join(hierarchy.labels))

    def _rebound(self, hierarchy: Hierarchy) -> None:
        self.changes.hierarchy(self.forest.unbound)
        self.changes.hierarchy(hierarchy)
        for group in self.forest.groups:
            self.changes.group(group.id)

    def umount(self, name: str) -> None:
        """Unmount a hierarchy; sub-containers keep it."""
        hierarchy = self.forest.hierarchy(name)
        before = list(own_counters(hierarchy.root))
        ended = self.forest.umount(name)
        self._rebound(hierarchy)
        self.events.of("umount", hierarchy.root)
        if ended:
            self.levels.gone(hierarchy.root)
            self.plans.renew(self.forest.groups)
            self._drop_gone(before)
            self._agent.flush()

    def _drop_gone(self, before: Iterable[Counter], *hierarchies: Hierarchy) -> None:
        """Forget the counters of subsystems that are neither here nor unbound: named ones."""
        kept = {c.id for h in (self.forest.unbound, *hierarchies) for c in own_counters(h.root)}
        for counter in before:
            if counter.id not in kept:
                self._agent.drop_counter(counter)

    def end(self) -> None:
        """The governor ends, and what it has done to processes that live on with it."""
        for hierarchy in self.forest.hierarchies.values():
            for container in reversed(list(hierarchy.containers())):
                for kind, subsystem in hierarchy.subsystems.items():
                    tell(subsystem, "destroy", container, container.states[kind])

    # -- control files -------------------------------------------------------------

    def write(self, container: Container, file: str, value: Value, counted: bool = False) -> None:
        """Write a control file; when this returns, it holds for the next call of every process.

        ``counted``: whether it is known just now who is in which group; see `populate`.

        EBUSY: it would leave processes that are there without any CPU.
        """
        take_back = self.forest.write(container, file, value)
        try:
            self.plans.sync(container, counted)
        except GovernorError as error:
            if take_back is not None:
                take_back()
            raise GovernorError(
                errno.EBUSY, f"{file} of {container.label} cannot be {value!r}: {error.message}"
            ) from None
        self.watch(container)
        self.changes.container(container)
        self.events.of("change", container, file=file, value=value)

    def traps(self) -> list[str]:
        """The facilities a new job's filter must trap: those of all bound subsystems."""
        return sorted({trap for subsystem in self.subsystems() for trap in subsystem.traps})

    def subsystems(self) -> Iterator[Subsystem]:
        """Every bound subsystem."""
        for hierarchy in self.forest.hierarchies.values():
            yield from hierarchy.subsystems.values()

    # -- processes -----------------------------------------------------------------

    def admit(self, containers: list[Container]) -> Group:
        """The group for a job in these containers, if every subsystem agrees."""
        group = self.forest.group(containers)
        self.forest.admit(group)
        try:
            self.plans.use(group)
        except GovernorError:
            self.withdraw(group.id)
            raise
        self.changes.group(group.id)
        return group

    def withdraw(self, group: int) -> None:
        """A job that had been admitted was not started after all."""
        for container, subsystem in self._bound_to(group):
            tell(subsystem, "cancel_fork", container)

    def placed(self, group: int, pid: int, trapped: Collection[str], tagged: bool) -> None:
        """A job was placed into ``group`` with these facilities trapped in it."""
        self.levels.placed(group, self.traps(), trapped, tagged)
        self.changes.group(group)
        for container, subsystem in self._bound_to(group):
            self.watch(container, occupied=True)
            tell(subsystem, "fork", container, pid)

    def left(self, group: int, pid: int) -> None:
        """The first process of a job, last in ``group``, has ended."""
        for container, subsystem in self._bound_to(group):
            tell(subsystem, "exit", container, pid)

    def told_of_group(self, group: int) -> dict[str, Value]:
        """Where its processes are, as events tell it; empty when there are no hierarchies."""
        found = self.forest.groups.get(group)
        places = self.released.get(group, ()) if found is None else found.containers
        return {"containers": " ".join(place.label for place in places)} if places else {}

    def _bound_to(self, group: int) -> list[tuple[Container, Subsystem]]:
        found = self.forest.groups.get(group)
        return list(bound(found)) if found is not None else []

    def entered(self, pid: int, source: Group, target: Group, cpu: int) -> None:
        """A process has entered other namespaces, and the containers made for that."""
        self.levels.moved(source.id, target.id)
        self.ledger.move(pid, target.id, _with_user_part(pid, cpu))
        self.changes.group(target.id)
        self.changes.process(pid)
        for container, old in zip(target.containers, source.containers, strict=True):
            if container is not old:
                self.tell_moved(container, [(old, pid, self.members.job_of(pid))])
                self.changes.container(container)
                self.watch(container, occupied=True)

    def tell_moved(self, container: Container, moves: Iterable[tuple[Container, int, int]]) -> None:
        """Subsystems, and whoever follows the events, hear of those that have moved there.

        A move is the container that was left, the process, and its job.
        """
        subsystems = container.hierarchy.subsystems.values()
        told = [subsystem for subsystem in subsystems if subsystem.answers("attach")]
        told_after = [subsystem for subsystem in subsystems if subsystem.answers("post_attach")]
        name, path = container.hierarchy.name, container.path
        paths: dict[Container, str] = {}
        for old, pid, job in moves:
            for subsystem in told:
                tell(subsystem, "attach", container, old, pid)
            for subsystem in told_after:
                tell(subsystem, "post_attach", container, pid)
            if old not in paths:
                paths[old] = old.path
            self.events.publish("move", name, path, pid=pid, job=job, source=paths[old])

    def process_of(self, task: int) -> int:
        """The process of a thread, if it may be governed.

        ESRCH: it has ended, even if nobody has reaped it yet. EINVAL: it is the governor's own.
        """
        pid = living(task)
        if pid is None:
            raise GovernorError(errno.ESRCH, f"process {task} has ended")
        if pid in self.machinery or pid == self._agent.pid:
            raise GovernorError(
                errno.EINVAL, f"process {pid} is this governor itself, which cannot govern itself"
            )
        if pid == 1:
            # Whatever it starts from then on, on the whole machine, would come along.
            raise GovernorError(errno.EINVAL, "process 1 is init, the parent of everything")
        return pid

    def populate(self, starting: Collection[int]) -> list[Group]:
        """Count who is in each group; ``starting`` are groups of jobs not placed yet.

        Returns those that nobody is in.
        """
        counts: dict[int, int] = {}
        for group in [*(tag.group for tag in self.members.all().values()), *starting]:
            counts[group] = counts.get(group, 0) + 1
        return self.forest.populate(counts)

    def release_idle(self, in_use: Collection[int]) -> None:
        """Release the groups without processes that are not ``in_use``. Figures must be fresh.

        What was released the last time has had its reports by now.
        """
        while self.released:
            self._forget_oldest()
        for group in self.populate(in_use):
            self.levels.keep(group)
            self.forest.groups.release(group)
            self._agent.drop_plan(group.id)
            self.released[group.id] = group.containers
            self.changes.group(group.id)
            for container in group.containers:
                self.changes.container(container)

    # -- containers ----------------------------------------------------------------

    def mkdir(self, hierarchy: str, path: str) -> Container:
        """Make a container."""
        container = self.forest.mkdir(hierarchy, path)
        self.plans.tell_counters(container.ancestors())
        self._agent.flush()
        self.changes.container(container)
        self.events.of("mkdir", container)
        return container

    def rename(self, hierarchy: str, path: str, name: str) -> Container:
        """Give a container another name."""
        old = self.forest.lookup(hierarchy, path).path
        container = self.forest.rename(hierarchy, path, name)
        self.changes.container(container)
        self.events.of("rename", container, source=old)
        return container

    def rmdir(self, hierarchy: str, path: str) -> None:
        """Remove a container; see `remove`."""
        self.remove([self.forest.lookup(hierarchy, path)])

    def remove(self, containers: Sequence[Container]) -> None:
        """Remove a container, given last, and all below it; forget all that was kept for them.

        Figures must be fresh: what was used in them belongs to what is above.
        """
        for container in containers:
            self._remove(container)
        self._lost_child(containers[-1].parent)
        self._agent.flush()

    def _remove(self, container: Container) -> None:
        counters = list(own_counters(container))
        path = container.path
        groups = self.forest.groups_of(container)
        self.leaving(container)
        self.forest.remove(container)
        self.changes.container(container)
        for group in groups:
            self._forget(group, container)
        self.levels.gone(container)
        for counter in counters:
            self._agent.drop_counter(counter)
        self.watched.discard(container)
        self.events.publish("rmdir", container.hierarchy.name, path)

    def _lost_child(self, parent: Container | None) -> None:
        """What follows for the container above one that was removed."""
        if parent is None:
            return
        self.plans.tell_counters(parent.ancestors())
        self.changes.container(parent)
        self.watch(parent)
        if parent.hierarchy.take_stale():
            self.plans.renew_below(parent.hierarchy.root)
        if not parent.hierarchy.mounted and not parent.hierarchy.root.children:
            self.umount(parent.hierarchy.name)  # only its containers have kept it

    def watch(self, container: Container, occupied: bool = False) -> None:
        """Look after a container's release, if that is wanted and it has something to release."""
        if occupied and not container.occupied:
            container.occupied = True
            self.changes.container(container)
        wanted = container.notify_on_release or container.auto_remove
        if wanted and container.occupied and container.parent is not None:
            self.watched.add(container)

    def _forget(self, group: Group, gone: Container) -> None:
        """A group was released. What is still to be reported of it goes to the containers above."""
        self._agent.drop_plan(group.id)
        self.levels.forget(group.id)
        above = gone.parent or gone
        self.released[group.id] = tuple(above if c is gone else c for c in group.containers)
        self.changes.group(group.id)
        if len(self.released) > RELEASED_MAX:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = next(iter(self.released))
        del self.released[oldest]
        self.ledger.forget(oldest)
        self.plans.compiled.pop(oldest, None)
        self.changes.group(oldest)


def _with_user_part(pid: int, ns: int) -> Use:
    """What a process had used a moment ago, divided as what it has used until now."""
    sample = cpu.sample(pid)
    return Use(ns, min(ns, sample.user_ns) if sample else ns)
