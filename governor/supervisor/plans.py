"""The plans of all groups in use, kept in step with the trees and with the agent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.forest import Forest
from governor.core.group import Group
from governor.core.plan import Plan, compile_plan
from governor.errors import GovernorError
from governor.supervisor.agent import AgentLink
from governor.supervisor.bounds import own_counters
from governor.supervisor.events import Events


class Plans:
    """Compiles groups and tells the agent."""

    def __init__(self, agent: AgentLink, forest: Forest, events: Events) -> None:
        self._agent = agent
        self._forest = forest
        self._events = events
        self.compiled: dict[int, Plan] = {}
        """By group; those of groups that were released lately, too."""

    def use(self, group: Group) -> None:
        """Make the agent ready for processes of ``group``; ENOSPC when they could run nowhere."""
        self._set(group, compile_plan(group))

    def sync(self, *containers: Container) -> None:
        """Renew the plans of the groups that these containers are above.

        Nothing has changed when one that has processes cannot be [ENOSPC].
        """
        containers = tuple(c.hierarchy.root if c.hierarchy.take_stale() else c for c in containers)
        plans = {
            group: _plan_of(group)
            for group in self._forest.groups
            if group.id in self.compiled and _is_below(group, containers)
        }
        self.tell_counters(node for c in containers for node in _line(c))
        for group, plan in plans.items():
            if plan is not None:
                self._set(group, plan)
            else:
                self._agent.drop_plan(group.id)
                del self.compiled[group.id]
        self._agent.flush()

    def renew(self, groups: Iterable[Group]) -> None:
        """Renew plans for a change that cannot be refused: what has no new plan keeps its old."""
        for group in groups:
            if group.id in self.compiled:
                try:
                    self.use(group)
                except GovernorError as error:
                    for container in group.containers:
                        self._events.of("unenforced", container, reason=error.message)

    def renew_below(self, container: Container) -> None:
        """Renew the plans of the groups that ``container`` is above."""
        self.tell_counters(_line(container))
        self.renew([group for group in self._forest.groups if _is_below(group, (container,))])

    def tell_counters(self, nodes: Iterable[Container]) -> None:
        """Tell the agent what has changed of the counters of these containers."""
        self._agent.renew([counter for node in set(nodes) for counter in own_counters(node)])

    def _set(self, group: Group, plan: Plan) -> None:
        self.compiled[group.id] = plan
        self._agent.set_plan(group.id, plan, self._counters(group))

    def confined(self, group: int, resource: str) -> list[int]:
        """The ``cpus`` or ``mems`` that processes of ``group`` are confined to, empty for any."""
        return self.compiled[group].confined.get(resource, [])

    def _counters(self, group: Group) -> Iterator[Counter]:
        for container in group.containers:
            for node in container.ancestors():
                yield from own_counters(node)


def _plan_of(group: Group) -> Plan | None:
    """The group's plan; None for a group without processes that could not have any."""
    try:
        return compile_plan(group)
    except GovernorError:
        if group.tasks:
            raise
        return None


def _line(container: Container) -> Iterator[Container]:
    """A container with all above and below it, which its counters may borrow from or lend to."""
    yield from container.ancestors()
    yield from container.descendants()


def _is_below(group: Group, containers: Collection[Container]) -> bool:
    return any(node in containers for member in group.containers for node in member.ancestors())
