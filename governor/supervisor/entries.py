"""Containers for those who enter other namespaces (the seeds' container_clone)."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections import deque
from collections.abc import Collection

from governor.core.container import Container
from governor.core.group import Group
from governor.errors import GovernorError
from governor.results import Value
from governor.supervisor.agent import AgentLink
from governor.supervisor.policy import Policy
from governor.wire import agent as wire
from workers import cpu


class _Entry:
    """Somebody on the way into other namespaces, with the containers made for that."""

    def __init__(self, message: wire.Entering, source: Group, target: Group) -> None:
        self.pid = message.pid
        self.child = message.child
        self.source = source
        self.target = target

    @property
    def made(self) -> list[tuple[Container, Container]]:
        """The new containers, each with its parent."""
        return [(c, old) for c, old in self._pairs() if c is not old]

    def _pairs(self) -> list[tuple[Container, Container]]:
        return list(zip(self.target.containers, self.source.containers, strict=True))


class Entries:
    """Makes a container in every hierarchy that has one for each set of namespaces."""

    def __init__(self, policy: Policy, agent: AgentLink) -> None:
        self._policy = policy
        self._agent = agent
        self._numbers = itertools.count(1)
        self._entries: dict[int, _Entry] = {}
        self._heard: deque[wire.Entering | wire.Entered] = deque()

    def hear(self, message: wire.Entering | wire.Entered) -> None:
        """The agent has said something; `tick` sees to it, between two requests."""
        self._heard.append(message)

    def tick(self) -> None:
        """Answer the agent and clear up after it."""
        while self._heard:
            message = self._heard.popleft()
            if isinstance(message, wire.Entered):
                self._on_entered(message)
            else:
                self._agent.enter(message.ticket, self._on_entering(message))

    def groups(self) -> list[int]:
        """The groups that somebody is on the way to, or may yet come back to."""
        return [group.id for e in self._entries.values() for group in (e.source, e.target)]

    def resumed(self, tickets: Collection[int]) -> None:
        """A new agent knows these; what the one before has said of others was lost."""
        for ticket, entry in self._entries.items():
            if ticket not in tickets:
                entered = not entry.child and self._is_in(entry.pid, entry.target)
                self.hear(wire.Entered(ticket, entered, *cpu.used(entry.pid)))

    def _is_in(self, pid: int, group: Group) -> bool:
        try:
            return self._policy.members.group_of(pid) is group
        except GovernorError:
            return False

    def _on_entering(self, message: wire.Entering) -> int:
        """The group to be in, 0 for that of before: a call is never refused because of us."""
        if message.ticket in self._entries:  # another agent had asked
            return self._entries[message.ticket].target.id
        told: dict[str, Value] = {"pid": message.pid}
        try:
            tag = self._policy.members.tag(message.pid)
            if tag is not None:
                told |= {"job": tag.job} | self._policy.told_of_group(tag.group)
            source = self._policy.members.group(tag)
            target = self._make(source)
        except GovernorError as error:
            self._policy.events.publish("unenforced", "", "", **told, reason=error.message)
            return 0
        self._entries[message.ticket] = _Entry(message, source, target)
        return target.id

    def _make(self, source: Group) -> Group:
        """New containers below those of ``source``, all or none."""
        made: list[Container] = []
        try:
            places = [
                self._clone(container, made) if _clones(container) else container
                for container in source.containers
            ]
            if not made:
                raise GovernorError(errno.ENOENT, "no hierarchy has containers for namespaces")
            return self._policy.admit(places)
        except GovernorError:
            self._remove(made)
            raise

    def _clone(self, parent: Container, made: list[Container]) -> Container:
        names = (f"node{number}" for number in self._numbers)
        name = next(name for name in names if name not in parent.children)
        path = f"{parent.path.rstrip('/')}/{name}"
        container = self._policy.mkdir(parent.hierarchy.name, path)
        container.auto_remove = True
        container.keep()  # until the call is over
        made.append(container)
        return container

    def _on_entered(self, message: wire.Entered) -> None:
        entry = self._entries.pop(message.ticket, None)
        if entry is None:
            return
        if message.entered:
            self._policy.entered(entry.pid, entry.source, entry.target, message.cpu)
        elif not entry.child:
            self._policy.withdraw(entry.target.id)
        for container, _ in entry.made:
            container.let_go()
            # A child may have been born, and even have ended: its release tells.
            self._policy.watch(container, occupied=True)

    def _remove(self, made: list[Container]) -> None:
        for container in reversed(made):
            container.let_go()
            with contextlib.suppress(GovernorError):
                self._policy.rmdir(container.hierarchy.name, container.path)


def _clones(container: Container) -> bool:
    return any(subsystem.clones for subsystem in container.hierarchy.subsystems.values())
