"""The plans of all groups in use, kept in step with the trees and with the agent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.group import Group, lines
from governor.core.hierarchy import Hierarchy
from governor.core.plan import Plan, compile_plan
from governor.errors import GovernorError
from governor.supervisor.agent import AgentLink
from governor.supervisor.bounds import own_counters
from governor.supervisor.events import Events


class Plans:
    """Compiles groups and tells the agent."""

    def __init__(self, agent: AgentLink, events: Events) -> None:
        self._agent = agent
        self._events = events
        self.compiled: dict[int, Plan] = {}
        """By group; those of groups that were released lately, too."""

    def use(self, group: Group) -> None:
        """Make the agent ready for processes of ``group``; ENOSPC when they could run nowhere."""
        self._set(group, compile_plan(group))

    def sync(self, container: Container, counted: bool) -> None:
        """Renew the plans of the groups that are in ``container`` or below it.

        Not ``counted``: any of them may have processes.

        Nothing has changed when one that has processes cannot be [ENOSPC].
        """
        top = container.hierarchy.root if container.hierarchy.take_stale() else container
        plans = {
            group: _plan_of(group, counted)
            for group in top.groups.values()
            if group.id in self.compiled
        }
        # Its own in any case: what was reset is so for an agent that comes back to it later, too.
        self.tell_counters(_line(top), container)
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
        """Renew the plans of the groups that are in ``container`` or below it."""
        self.tell_counters(_line(container))
        self.renew(list(container.groups.values()))

    def tell_counters(self, nodes: Iterable[Container], *written: Container) -> None:
        """Tell the agent what has changed of the counters of these containers.

        Where no group is nobody is charged: the agent hears of that when somebody comes (`use`).
        Of those that were ``written`` it hears at once.
        """
        concerned = dict.fromkeys([*(node for node in nodes if node.groups), *written])
        self._agent.renew([counter for node in concerned for counter in own_counters(node)])

    def _set(self, group: Group, plan: Plan) -> None:
        self.compiled[group.id] = plan
        self._agent.set_plan(group.id, plan, self._counters(group))

    def confined(self, group: int, resource: str) -> list[int]:
        """The ``cpus`` or ``mems`` that processes of ``group`` are confined to, empty for any."""
        return self.compiled[group].confined.get(resource, [])

    def _counters(self, group: Group) -> Iterator[Counter]:
        for node in lines(group):
            yield from own_counters(node)


def _plan_of(group: Group, counted: bool) -> Plan | None:
    """The group's plan; None for a group without processes that could not have any."""
    try:
        return compile_plan(group)
    except GovernorError:
        if group.tasks or not counted:
            raise
        return None


def _line(container: Container) -> Collection[Container]:
    """A container with all above it, and all below it on the way to its groups.

    Its counters may borrow from theirs, or lend to them.
    """
    found = dict.fromkeys(container.ancestors())
    for group in container.groups.values():
        for node in _member(group, container.hierarchy).ancestors():
            if node in found:
                break
            found[node] = None
    return found


def _member(group: Group, hierarchy: Hierarchy) -> Container:
    return next(c for c in group.containers if c.hierarchy is hierarchy)
