"""Memory that is looked at now and then, since no call can be refused when it grows.

Over the barrier there is an event, and over the limit another and what ``action`` says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from governor.core.container import Container
from governor.core.counter import Counter
from governor.errors import GovernorError
from governor.memory import Memory, memory
from governor.results import PARTIAL
from governor.subsystem import ControlFile, Host, Value, format_limit
from governor.subsystem.pages import PagesSubsystem
from governor.units import UNLIMITED

ACTIONS = ("refuse", "stop", "kill")
_PATIENCE = 1.0
"""Seconds that a killed process has to give back its memory before another one is killed."""


class Watched(Counter):
    """What one container has. The agent knows ``limit`` only where it is to refuse."""

    __slots__ = (
        "action",
        "barrier_pages",
        "doomed",
        "doomed_at",
        "most",
        "over_barrier",
        "over_limit",
        "stopped",
        "taken",
    )

    def __init__(self, id: int, resource: str) -> None:
        super().__init__(id, resource)
        self.action = ACTIONS[0]
        self.most = self.barrier_pages = UNLIMITED
        self.over_barrier = self.over_limit = False
        """Whether more than the barrier, and than the limit, was held at the last look."""
        self.stopped: set[int] = set()
        self.doomed, self.doomed_at = 0, 0.0
        """Who was killed and may still be counted, 0 for nobody, and when."""
        self.taken = 0
        """How often stop or kill was necessary."""

    def reset(self, figure: str) -> None:
        """What was done about a limit counts as its failures."""
        super().reset(figure)
        if figure == "failcnt":
            self.taken = 0

    def decide(self, action: str, most: int) -> None:
        """Do so at so many pages."""
        self.action, self.most = action, most
        self.limit = most if action == "refuse" else UNLIMITED


class WatchedSubsystem(PagesSubsystem):
    """A controller of memory that is looked at; subclasses ``measure`` that of a process.

    They may take longer to do so the more is resident, but never find more.
    """

    best = PARTIAL
    why = "memory is looked at ten times a second, and over its limit until then"
    interval = 0.1
    measure: ClassVar[staticmethod[[int, Memory], int]]

    def create(self, container: Container) -> Watched:
        """No barrier, no limit."""
        return Watched(container.hierarchy.new_id(), self.resource)

    def counter(self, container: Container) -> Watched:
        """The container's memory."""
        state = container.states[self.name]
        assert isinstance(state, Watched)
        return state

    def save(self, container: Container) -> dict[str, Any]:
        """Also whom it has stopped, and how often something was done."""
        state = self.counter(container)
        return super().save(container) | {"stopped": sorted(state.stopped), "taken": state.taken}

    def restore(self, container: Container, saved: Mapping[str, Any]) -> list[str]:
        """Who is not there any more is forgotten at the next look."""
        state = self.counter(container)
        state.stopped, state.taken = set(saved["stopped"]), int(saved["taken"])
        return super().restore(container, saved)

    # -- looks ---------------------------------------------------------------------

    def sampled(self, root: Container, host: Host) -> Iterable[Container]:
        """Tell of barriers and limits that were passed, and act."""
        before = self._stopped(root)
        for container in root.descendants():
            state = self.counter(container)
            known = set(state.stopped), state.taken
            self._tell(container, state, host)
            members = _members(container, host) if state.over_limit or state.stopped else []
            state.stopped &= set(members)
            if not (state.over_limit and state.action == "stop"):
                state.stopped.clear()
            else:
                self._stop(state, members, host)
            if state.over_limit and state.action == "kill":
                self._kill(container, state, members, host)
            else:
                state.doomed = 0
            if known != (state.stopped, state.taken):
                host.changed(container)
        # A process may have been stopped for several containers.
        for pid in before - self._stopped(root):
            host.signal(pid, signal.SIGCONT)
        return ()

    def _tell(self, container: Container, state: Watched, host: Host) -> None:
        above, over = state.held > state.barrier_pages, state.held > state.most
        if above and not state.over_barrier:
            self._report("barrier", container, state.barrier_pages, host)
        if over and not state.over_limit:
            self._report("limit", container, state.most, host)
            state.taken += state.action == "stop"
        state.over_barrier, state.over_limit = above, over

    def _report(self, kind: str, container: Container, bound: int, host: Host) -> None:
        held = self.counter(container).held
        pid = self.largest(_members(container, host)) or 0
        host.event(kind, container, resource=self.name, bound=bound, held=held, pid=pid)

    def _stopped(self, root: Container) -> set[int]:
        return {pid for node in root.descendants() for pid in self.counter(node).stopped}

    def _stop(self, state: Watched, members: list[int], host: Host) -> None:
        """Stop all that are not stopped yet; those that somebody else stopped are left alone."""
        for pid in members:
            if pid not in state.stopped and not _is_stopped(pid):
                host.signal(pid, signal.SIGSTOP)
                state.stopped.add(pid)

    def _kill(self, container: Container, state: Watched, members: list[int], host: Host) -> None:
        """Kill the largest, unless what the last one had may be in what is held yet."""
        before, is_there = state.doomed, state.doomed in members and bool(memory(state.doomed))
        if before and is_there and host.now < state.doomed_at + _PATIENCE:
            return
        state.doomed = 0
        if before and not is_there:
            return  # it may have gone since that was counted
        largest = self.largest(pid for pid in members if pid != before)
        if largest is not None:
            state.doomed, state.doomed_at = largest, host.now
            state.taken += 1
            host.event(  # before it is gone, and its job unknown
                "kill", container, resource=self.name, bound=state.most, held=state.held,
                pid=largest,
            )  # fmt: skip
            host.signal(largest, signal.SIGKILL)

    def largest(self, members: Iterable[int]) -> int | None:
        """Who has most of them; None when nobody has any.

        No share is larger than what is resident, so most shares need not be known.
        """
        found = [(space.resident, pid, space) for pid in members if (space := memory(pid))]
        best: tuple[int, int] | None = None
        for resident, pid, space in sorted(found, reverse=True):
            if best is not None and resident <= best[0]:
                break
            best = max(best or (0, 0), (self.measure(pid, space), pid))
        return best[1] if best else None

    def bind(self, root: Container) -> None:
        """What it has stopped goes on when it is unbound."""
        _let_go_on(self.counter(root))

    def destroy(self, container: Container, state: object) -> None:
        """What it has stopped goes on: the root of a named instance may have processes."""
        assert isinstance(state, Watched)
        _let_go_on(state)

    # -- control files -------------------------------------------------------------

    def populate(self) -> Mapping[str, ControlFile]:
        """Those of any counted resource, and ``action``. The barrier only tells."""
        files = dict(super().populate())
        limit, failcnt = files[f"{self.name}.limit"], files[f"{self.name}.failcnt"]
        barrier, refusals = files[f"{self.name}.barrier"], failcnt.read
        files[f"{self.name}.limit"] = limit._replace(
            read=lambda c: format_limit(self.counter(c).most)
        )
        files[f"{self.name}.barrier"] = barrier._replace(
            read=lambda c: format_limit(self.counter(c).barrier_pages)
        )
        files[f"{self.name}.failcnt"] = failcnt._replace(
            read=lambda c: int(refusals(c)) + self.counter(c).taken
        )
        files[f"{self.name}.action"] = ControlFile(
            lambda c: self.counter(c).action, parse_action, self._set_action
        )
        return files

    def _set_limit(self, container: Container, limit: int) -> Callable[[], None]:
        state = self.counter(container)
        _check_order(self.name, container, state.barrier_pages, limit)
        take_back = partial(state.decide, state.action, state.most)
        state.decide(state.action, limit)
        return take_back

    def _set_barrier(self, container: Container, barrier: int) -> Callable[[], None]:
        state = self.counter(container)
        _check_order(self.name, container, barrier, state.most)
        before, state.barrier_pages = state.barrier_pages, barrier
        return partial(setattr, state, "barrier_pages", before)

    def _set_action(self, container: Container, action: str) -> Callable[[], None]:
        state = self.counter(container)
        take_back = partial(state.decide, state.action, state.most)
        state.decide(action, state.most)
        return take_back


def _let_go_on(state: Watched) -> None:
    for pid in state.stopped:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGCONT)
    state.stopped.clear()


def parse_action(value: Value) -> str:
    """One of `ACTIONS`; ValueError for anything else."""
    if value not in ACTIONS:
        raise ValueError(f"allowed are {', '.join(ACTIONS)}")
    return str(value)


def _check_order(name: str, container: Container, barrier: int, limit: int) -> None:
    """A barrier without a number is none, and so goes with every limit."""
    if limit < barrier < UNLIMITED:
        raise GovernorError(
            errno.EINVAL,
            f"{name}.barrier {barrier} of {container.label} is above its limit of {limit}",
        )


def _members(container: Container, host: Host) -> list[int]:
    """The processes in a container and below."""
    return [pid for node in container.descendants() for pid in host.members(node)]


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return True
