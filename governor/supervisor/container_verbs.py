"""What clients may do to hierarchies and containers."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from governor.core.container import Container
from governor.core.forest import TASKS
from governor.core.hierarchy import Hierarchy
from governor.errors import GovernorError
from governor.supervisor.agent import AgentLink
from governor.supervisor.answers import Handler, Reply, at_once
from governor.supervisor.endings import Endings, check_signal, signal_all
from governor.supervisor.figures import Figures
from governor.supervisor.policy import Policy
from governor.wire import client as wire

if TYPE_CHECKING:
    from governor.supervisor.moves import Moves

PID_DIGITS = 10
"""More than any process id has, and fewer than Python refuses to read."""


class ContainerVerbs:
    """Carries out requests on the trees. ``starting``: groups of jobs not placed yet."""

    def __init__(
        self,
        policy: Policy,
        figures: Figures,
        endings: Endings,
        starting: Callable[[], list[int]],
        agent: AgentLink,
    ) -> None:
        self._policy = policy
        self._figures = figures
        self._endings = endings
        self._starting = starting
        self._agent = agent
        self._moved: Moves | None = None
        self.handlers: dict[type, Handler] = {
            wire.Mount: at_once(lambda r: _named(policy.mount(r.name, r.subsystems))),
            wire.Remount: at_once(lambda r: _named(policy.remount(r.name, r.subsystems))),
            wire.Umount: at_once(self._umount),
            wire.Mkdir: at_once(lambda r: policy.mkdir(r.hierarchy, r.path).path),
            wire.Rename: at_once(lambda r: policy.rename(r.hierarchy, r.path, r.name).path),
            wire.Rmdir: at_once(self._rmdir),
            wire.Remove: self._remove,
            wire.Lookup: at_once(lambda r: self._container(r).path),
            wire.Read: at_once(self._read),
            wire.Write: at_once(self._write),
            wire.Attach: at_once(lambda r: self._attach(self._container(r), [r.pid])),
            wire.AttachMany: at_once(lambda r: self._attach(self._container(r), r.pids, r.within)),
            wire.AttachAll: at_once(self._attach_all),
            wire.Tasks: at_once(lambda r: sorted(policy.members.of(self._container(r)))),
            wire.Kill: at_once(self._kill),
        }

    def _container(self, request: Any) -> Container:
        return self._policy.forest.lookup(request.hierarchy, request.path)

    def _umount(self, request: wire.Umount) -> None:
        self._figures.refresh()
        self._policy.umount(request.name)

    def _rmdir(self, request: wire.Rmdir) -> None:
        container = self._policy.forest.lookup(request.hierarchy, request.path)
        if container.ending:
            raise GovernorError(errno.EBUSY, f"container {container.label} is being removed")
        self._bring_up_to_date(container)
        self._policy.rmdir(request.hierarchy, request.path)

    def _bring_up_to_date(self, container: Container) -> None:
        """Count what was used in what goes, and who is there; nobody where no group is."""
        if container.groups:
            self._figures.refresh()
            self._policy.populate(self._starting())

    # -- removal with all that is in it --------------------------------------------

    def _remove(self, request: wire.Remove, reply: Reply) -> None:
        """Remove a container; with ``kill``, once everything in it has ended."""
        container = self._policy.forest.lookup(request.hierarchy, request.path)
        self._check_removable(container, request.recursive, request.kill)
        if not request.kill:
            self._remove_all(container)
            reply(None)
            return
        self._policy.populate(self._starting())
        for node in container.descendants():
            node.ending = True
        self._end(container, request.grace, reply)

    def _end(self, container: Container, grace: float, reply: Reply) -> None:
        self._endings.begin(
            lambda: list(self._policy.members.of(container, recursive=True)),
            grace,
            partial(self._removed, container, reply),
            over=lambda: not self._is_starting_in(container),
            failed=partial(self._immortal, container, reply),
        )

    def _removed(self, container: Container, reply: Reply) -> None:
        try:
            if container.is_there:  # and was not removed with one above meanwhile
                self._remove_all(container)
        except GovernorError as error:
            if any(node.tasks for node in container.descendants()):
                self._end(container, 0.0, reply)  # forked just when it was looked for
            else:
                self._stays(container, error, reply)
        else:
            reply(None)

    def _immortal(self, container: Container, reply: Reply, pids: list[int]) -> None:
        left = ", ".join(map(str, sorted(pids)))
        message = f"container {container.label} stays: KILL does not end {left}"
        self._stays(container, GovernorError(errno.EBUSY, message), reply)

    def _stays(self, container: Container, error: GovernorError, reply: Reply) -> None:
        for node in container.descendants():
            node.ending = False
        reply(error)

    def _check_removable(self, container: Container, recursive: bool, kill: bool) -> None:
        """EBUSY: it cannot be removed. One below that others have ended goes with it."""
        if container.parent is None:
            raise GovernorError(errno.EBUSY, f"{container.label} is a root; unmount the hierarchy")
        if container.children and not recursive:
            raise GovernorError(
                errno.EBUSY,
                f"container {container.label} has children ({', '.join(container.children)})",
            )
        for node in container.descendants():
            if node.busy:
                raise GovernorError(errno.EBUSY, f"container {node.label} is kept by a subsystem")
            if node.ending and not (kill and node is not container):
                raise GovernorError(errno.EBUSY, f"container {node.label} is being removed")

    def _is_starting_in(self, container: Container) -> bool:
        return any(group in container.groups for group in self._starting())

    def _remove_all(self, container: Container) -> None:
        """Remove a container and all below it; nothing when one of them is in use [EBUSY]."""
        self._bring_up_to_date(container)
        nodes = list(container.descendants())
        for node in nodes:
            reason = self._policy.forest.in_use(node)
            if reason and not node.children:
                raise GovernorError(errno.EBUSY, f"container {node.label} {reason}")
            if node.children and node.tasks:
                raise GovernorError(errno.EBUSY, f"container {node.label} has processes")
        self._policy.remove(nodes[::-1])

    # -- moves ---------------------------------------------------------------------

    @property
    def _moves(self) -> Moves:
        """Made by the first move: most governors need none."""
        if self._moved is None:
            from governor.supervisor.moves import Moves

            self._moved = Moves(self._policy, self._agent)
        return self._moved

    def _attach(self, container: Container, pids: list[int], within: bool = False) -> int:
        return self._moves.attach(container, pids, within)

    def _attach_all(self, request: wire.AttachAll) -> int:
        source = self._policy.forest.lookup(request.source_hierarchy, request.source)
        return self._moves.attach_all(
            self._container(request), source, request.recursive, request.within
        )

    # -- control files -------------------------------------------------------------

    def _read(self, request: wire.Read) -> int | str:
        container = self._container(request)
        if request.file == TASKS:
            return "\n".join(map(str, sorted(self._policy.members.of(container))))
        file = self._policy.forest.control_file(container, request.file)
        self._figures.refresh_for(container, request.file, file)
        return file.read(container)

    def _write(self, request: wire.Write) -> None:
        container = self._container(request)
        if request.file == TASKS:
            self._attach(container, _pids(request.value))
        else:
            file = self._policy.forest.control_file(container, request.file)
            asked = bool(container.groups) and file.asks_who
            if asked:
                self._policy.populate(self._starting())  # some values need one without tasks
            self._policy.write(container, request.file, request.value, asked)

    def _kill(self, request: wire.Kill) -> int:
        container = self._container(request)
        check_signal(request.signal)
        pids = list(self._policy.members.of(container, request.recursive))
        signal_all(pids, request.signal)
        return len(pids)


def _named(hierarchy: Hierarchy) -> list[object]:
    return [hierarchy.name, hierarchy.labels]


def _pids(value: int | str) -> list[int]:
    """Process ids with space between them, as `tasks` takes them."""
    words = str(value).split()
    for word in words or [""]:
        if not word.isascii() or not word.isdigit() or len(word) > PID_DIGITS:
            raise GovernorError(errno.EINVAL, f"{TASKS} takes process ids, not {value!r}")
    return list(map(int, words))
