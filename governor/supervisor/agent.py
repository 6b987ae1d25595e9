"""The supervisor's side of the agent: plans out, figures in."""

from __future__ import annotations

import errno
import itertools
import socket
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from governor.core.counter import Counter
from governor.core.plan import Plan
from governor.errors import GovernorError
from governor.transport import Poller, Server
from governor.units import UNLIMITED
from governor.wire import agent as wire
from governor.wire.codec import Message
from workers import channel

DEADLINE = 10.0
"""Seconds in which an agent answers whatever it is asked."""


class Told(NamedTuple):
    """What an agent knows of a counter; by default what it takes a new one to have."""

    limit: int = -1
    barrier: int = UNLIMITED
    interval: float = 0
    lender: int = 0
    guarantee: int = 0

    @classmethod
    def of(cls, counter: Counter) -> Told:
        """What it should know."""
        lender = counter.lender.id if counter.lender is not None else 0
        return cls(counter.bound, counter.barrier, counter.interval, lender, counter.guarantee)

    def tightened(self, other: Told) -> Told:
        """The same with whatever ``other`` has stricter."""
        guarantee = min(self.guarantee, other.guarantee)
        return self._replace(limit=min(self.limit, other.limit), guarantee=guarantee)


class AgentLink:
    """One agent: what it has been told, and a way to ask it.

    ``alive`` says whether the agent's process still runs; ``unasked`` takes messages that
    arrive while an answer is waited for.
    """

    def __init__(
        self,
        server: Server,
        end: socket.socket,
        alive: Callable[[], bool],
        unasked: Callable[[Message], None],
    ) -> None:
        self._server = server
        self._end = end
        self._alive = alive
        self._unasked = unasked
        self._poller = Poller()
        self._poller.add(server)
        self._peer: bytes | None = None
        self._pid = 0
        self._requests = itertools.count(1)
        self._told: dict[int, Told] = {}
        self.counters: dict[int, Counter] = {}
        """Those that the agent knows, by id."""
        self._plans: dict[int, Plan] = {}
        self._behind = False
        """Whether it may not have heard yet of all that it has been told."""

    # -- telling -------------------------------------------------------------------

    def set_plan(self, group: int, plan: Plan, counters: Iterable[Counter]) -> None:
        """Make the agent enforce ``plan``; only what it does not know yet is sent."""
        changed = [counter for counter in counters if self._tell(counter)]
        if changed or self._plans.get(group) != plan:
            self._plans[group] = plan
            self._send(wire.SetPlan(group, plan.charges, plan.counts, plan.confined))

    def renew(self, counters: Collection[Counter]) -> None:
        """Tell of changes to those counters that the agent has heard of before.

        What one loses another may gain, and a call may come in between: losses are told first.
        """
        known = [counter for counter in counters if counter.id in self._told]
        for counter in known:
            self._tell(counter, Told.of(counter).tightened(self._told[counter.id]))
        for counter in known:
            self._tell(counter)
            for figure in sorted(counter.resets):
                self._send(wire.Reset(counter.id, figure))
        for counter in counters:
            counter.resets.clear()

    def _tell(self, counter: Counter, wanted: Told | None = None) -> bool:
        """Send what the agent does not know of a counter yet; whether that was anything.

        It has to know a lender before its borrowers.
        """
        unknown, lender = [], counter.lender
        while lender is not None and lender.id not in self._told:
            unknown.append(lender)
            lender = lender.lender
        for lender in reversed(unknown):
            self._tell_alone(lender)
        return self._tell_alone(counter, wanted)

    def _tell_alone(self, counter: Counter, wanted: Told | None = None) -> bool:
        id, known = counter.id, self._told.get(counter.id, Told())
        wanted = wanted or Told.of(counter)
        if wanted == known:
            return False
        self._told[id] = wanted
        self.counters[id] = counter
        if wanted.limit != known.limit:
            self._send(wire.SetCounter(id, counter.resource, wanted.limit))
        if wanted.barrier != known.barrier:
            self._send(wire.SetBarrier(id, wanted.barrier))
        if wanted.interval != known.interval:
            self._send(wire.SetInterval(id, wanted.interval))
        if (wanted.lender, wanted.guarantee) != (known.lender, known.guarantee):
            self._send(wire.SetLender(id, wanted.lender, wanted.guarantee))
        return True

    def drop_plan(self, group: int) -> None:
        """Nobody is in this group any more."""
        if self._plans.pop(group, None) is not None:
            self._send(wire.DropPlan(group))

    def drop_counter(self, counter: Counter) -> None:
        """The counter's container is gone."""
        if self._told.pop(counter.id, None) is not None:
            del self.counters[counter.id]
            self._send(wire.DropCounter(counter.id))

    def place(self, job: int, pid: int, group: int, traps: list[str], listener: int) -> None:
        """Admit a worker; `Placed` arrives later. The listener goes ahead on the channel."""
        if traps:
            channel.send(self._end, wire.Listening(job), [listener])
        self._send(wire.Place(job, pid, group, traps))

    def enter(self, ticket: int, group: int) -> None:
        """Let a call go on that brings somebody into other namespaces, and into ``group``."""
        self._send(wire.Enter(ticket, group))

    def stop(self) -> None:
        """Tell the agent to end."""
        if self._peer is not None:
            self._send(wire.Stop())

    # -- asking --------------------------------------------------------------------

    def move(self, pid: int, job: int, group: int) -> wire.Moved:
        """Put a running process into another group."""
        request = next(self._requests)
        answer: wire.Moved = self._ask(wire.Move(request, pid, job, group))
        return answer

    def flush(self) -> None:
        """Wait until the agent goes by everything it has been told."""
        if self._behind:
            self._ask(wire.Ping(next(self._requests)))

    def count(self) -> wire.Figures:
        """Recount everything now."""
        answer: wire.Figures = self._ask(wire.Count(next(self._requests)))
        return answer

    def _ask(self, message: Message) -> Any:
        self._send(message)
        deadline = time.monotonic() + DEADLINE
        while True:
            answer = self._receive(deadline)
            if getattr(answer, "request", None) == message.request:
                self._behind = False
                return answer
            self._unasked(answer)

    def _receive(self, deadline: float) -> Message:
        while True:
            received = self._server.receive()
            if received is not None:
                return self._take(received)
            if not self._alive():
                raise GovernorError(errno.EIO, "the agent has died; nothing is enforced any more")
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise GovernorError(errno.ETIMEDOUT, f"the agent did not answer in {DEADLINE:g} s")
            self._poller.poll(min(remaining, 0.05))

    def catch_up(self) -> None:
        """Take in everything that has arrived, without waiting."""
        while (received := self._server.receive()) is not None:
            self._unasked(self._take(received))

    @property
    def pid(self) -> int:
        """The agent's process."""
        self._meet()
        return self._pid

    def _take(self, received: tuple[bytes, Message]) -> Message:
        self._peer, message = received
        if isinstance(message, wire.Hello):
            self._pid = message.pid
        return message

    def _meet(self) -> None:
        """Wait until the agent has said its first word."""
        if self._peer is None:
            self._unasked(self._receive(time.monotonic() + DEADLINE))

    def _send(self, message: Message) -> None:
        self._meet()
        assert self._peer is not None
        self._behind = True
        self._server.send(self._peer, message)
