"""Running processes that move to other containers: many at once, all of them or none."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from governor.core.container import Container
from governor.core.group import Group
from governor.core.usage import Use
from governor.errors import GovernorError
from governor.supervisor.agent import AgentLink
from governor.supervisor.policy import Policy
from governor.wire import agent as wire


class _Mover(NamedTuple):
    """A process that is to move; ``job`` is None for one that was not governed before."""

    pid: int
    job: int | None
    group: Group


class _Moved(NamedTuple):
    """One that has moved, as a row of `wire.agent.MovedAll` tells it."""

    pid: int
    job: int
    source: int
    cpu: int
    user: int
    start: int
    ppid: int


class Moves:
    """Carries out moves, with a policy and its agent."""

    def __init__(self, policy: Policy, agent: AgentLink) -> None:
        self._policy = policy
        self._forest = policy.forest
        self._agent = agent

    def attach(self, container: Container, pids: Iterable[int], within: bool = False) -> int:
        """Move processes into ``container``, all or none; how many have moved.

        A thread's id stands for its process. Who ends meanwhile is left out.

        ESRCH: one had ended before, even if nobody has reaped it yet, or all have by now. EACCES:
        another user's. EINVAL: the governor's own. EAGAIN: ``within`` its limits, and those of
        the containers above, is no room for all of them.
        """
        movers: dict[int, _Mover] = {}
        for number in dict.fromkeys(pids):
            tag = self._policy.members.tag(number)
            pid = self._policy.process_of(number)
            group = self._policy.members.group(tag)
            if tag is None or container not in group.containers:
                movers[pid] = _Mover(pid, None if tag is None else tag.job, group)
        moved = self._move(container, list(movers.values()), (), within)
        if movers and not moved:
            ended = ", ".join(map(str, movers))
            raise GovernorError(errno.ESRCH, f"process {ended} has ended")
        return moved

    def attach_all(
        self, container: Container, source: Container, recursive: bool, within: bool = False
    ) -> int:
        """Move everybody in ``source`` into ``container``, all or none; how many have moved.

        ``recursive``: in containers below it, too. Nobody stays behind: who is forked meanwhile
        comes along, as if that had been a moment later. EAGAIN: there is no room ``within`` limits;
        or processes without a filter fork faster than they can be followed.
        """
        wanted = set(source.descendants()) if recursive else {source}
        groups = {
            group.id: group
            for group in source.groups.values()
            if wanted.intersection(group.containers) and container not in group.containers
        }
        movers = [
            _Mover(pid, tag.job, groups[tag.group])
            for pid, tag in self._policy.members.all().items()
            if tag.group in groups
        ]
        occupied = {mover.group for mover in movers}
        return self._move(container, movers, occupied, within) if movers else 0

    # -- one move ------------------------------------------------------------------

    def _move(
        self,
        container: Container,
        movers: list[_Mover],
        swept: Collection[Group],
        within: bool,
    ) -> int:
        """Move these, and whoever is in the groups that are ``swept``."""
        if not movers:
            return 0
        self._policy.changes.require_room_for(len(movers))
        targets = self._forest.move_all(container, [(m.group, m.pid) for m in movers])
        try:
            for target in dict.fromkeys(targets.values()):
                self._policy.plans.use(target)
            answer = self._agent.move_all(
                [[m.pid, m.job or 0, _known(m), targets[m.group].id] for m in movers],
                [[group.id, targets[group].id] for group in swept],
                within,
            )
            self._check(container, answer, len(movers))
        except GovernorError:
            self._cancel(container, movers)
            raise
        moved = {row[0]: _Moved(*row) for row in answer.moved}
        self._cancel(container, [mover for mover in movers if mover.pid not in moved])
        self._note(container, movers, list(moved.values()), targets)
        for group in {mover.group for mover in movers if mover.job is not None}:
            self._policy.levels.moved(group.id, targets[group].id)
        self._settle(container, targets.values())
        return len(moved)

    def _check(self, container: Container, answer: wire.MovedAll, count: int) -> None:
        """Raise what the agent has refused a move for."""
        if answer.counter:
            full = self._policy.bounds.at_limit(answer.counter)
            what = "a process does" if count == 1 else f"{count} processes do"
            raise GovernorError(answer.errno, f"{what} not fit into {container.label}: {full}")
        if answer.errno == errno.EAGAIN:
            raise GovernorError(
                errno.EAGAIN,
                f"process {answer.pid} and others fork faster than they can be moved "
                f"to {container.label}",
            )
        if answer.errno:
            job = self._policy.members.job_of(answer.pid)
            whose = f" of job {job}" if job else ""
            raise GovernorError(
                answer.errno, f"process {answer.pid}{whose} cannot move to {container.label}"
            )

    def _cancel(self, container: Container, movers: Iterable[_Mover]) -> None:
        self._forest.cancel_move(container, (mover.pid for mover in movers))

    def _latecomer(self, moved: _Moved) -> _Mover:
        """One that was forked while the others moved."""
        group = self._forest.groups.get(moved.source)
        assert group is not None  # it was swept
        return _Mover(moved.pid, moved.job, group)

    def _note(
        self,
        container: Container,
        movers: list[_Mover],
        moved: list[_Moved],
        targets: Mapping[Group, Group],
    ) -> None:
        """Charge what is used from now on to the ``targets``, and tell those whom it concerns."""
        known = {mover.pid: mover for mover in movers}
        places: dict[Group, Container] = {}
        told = []
        for one in moved:
            mover = known.get(one.pid) or self._latecomer(one)
            group = mover.group
            self._charge(mover, one, targets[group])
            if group not in places:
                places[group] = next(
                    c for c in group.containers if c.hierarchy is container.hierarchy
                )
            told.append((places[group], one.pid, one.job))
        self._policy.tell_moved(container, told)

    def _charge(self, mover: _Mover, moved: _Moved, target: Group) -> None:
        policy, pid = self._policy, mover.pid
        use = Use(moved.cpu, moved.user)
        if mover.job is None:
            policy.levels.placed(target.id, policy.traps(), (), True)
            policy.ledger.enter(pid, moved.start, target.id, use, outside=True)
        else:
            policy.ledger.meet(pid, moved.start, moved.ppid, mover.group.id)
            policy.ledger.move(pid, target.id, use)
        policy.changes.process(pid)

    def _settle(self, container: Container, targets: Iterable[Group]) -> None:
        for target in targets:
            self._policy.changes.group(target.id)
        self._policy.changes.container(container)
        self._policy.watch(container, occupied=True)


def _known(mover: _Mover) -> int:
    """The group that a process has a tag of."""
    return 0 if mover.job is None else mover.group.id
