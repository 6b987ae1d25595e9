"""The supervisor's side of the agent: plans out, figures in."""

from __future__ import annotations

import errno
import itertools
import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from governor.core.counter import Counter
from governor.core.plan import Plan
from governor.errors import GovernorError, ProtocolError
from governor.supervisor.agent_process import AgentProcess
from governor.supervisor.heard import Heard
from governor.supervisor.heartbeat import Heartbeat
from governor.supervisor.known_bounds import Said, Told
from governor.transport import Poller, Server
from governor.wire import agent as wire
from governor.wire.codec import Message
from workers import channel
from workers.tally import Tally

_LOOK = 0.05
"""Seconds between two looks at what the spawner reports while an answer is waited for."""


class AgentDied(Exception):
    """The agent was ended, by itself or because it did not answer."""


class AgentLink:
    """The agent, whichever process that is: what it has been told, and a way to ask it.

    ``hear`` takes in what the spawner reports of the process; ``unasked`` takes messages that
    arrive while an answer is waited for. An agent that is silent for ``timeout`` seconds when
    it is asked for something is killed; one that has died is replaced.
    """

    def __init__(
        self,
        server: Server,
        process: AgentProcess,
        hear: Callable[[], None],
        unasked: Callable[[Message], None],
        timeout: float,
    ) -> None:
        self._server = server
        self.process = process
        self._hear = hear
        self._unasked = unasked
        self._timeout = timeout
        self._poller = Poller()
        self._poller.add(server)
        self._poller.add_number(process.spawner.fileno())
        self._peer: bytes | None = None
        self._pid = 0
        self._requests = itertools.count(1)
        self._said = Said()
        self.hand_over: Callable[[AgentLink], None] = lambda link: None
        """Called with a new agent that knows all plans: tells it of the jobs, by `adopt`."""
        self.taken_over: Callable[[str, wire.Resumed], None] = lambda how, resumed: None
        """Called when a new agent goes on; with how the one before has ended."""
        self._heartbeat = Heartbeat(timeout, self._ping, process.kill)
        self._told: dict[int, Told] = {}
        self.counters: dict[int, Counter] = {}
        """Those that the agent knows, by id."""
        self._plans: dict[int, Plan] = {}
        self._inherits = bool(process.ended)
        """Whether nobody is told anything yet, as jobs and plans are only being restored."""
        self._heard = Heard()
        self.work = Tally()
        """What all agents together have had to do, as far as they have told."""
        self._behind = False
        """Whether it may not have heard yet of all that it has been told."""

    # -- telling -------------------------------------------------------------------

    def set_plan(self, group: int, plan: Plan, counters: Iterable[Counter]) -> None:
        """Make the agent enforce ``plan``; only what it does not know yet is sent.

        Of the counters it has heard of before it may not have heard lately: nobody was there.
        """
        changed = []
        for counter in counters:
            self._tell_resets(counter)
            if self._tell(counter):
                changed.append(counter)
        if changed or self._plans.get(group) != plan:
            self._plans[group] = plan
            self._send(wire.SetPlan(group, plan.charges, plan.counts, plan.confined))

    def introduce(self, counters: Iterable[Counter]) -> None:
        """Have the agent know these, whether or not somebody is counted in them."""
        for counter in counters:
            self._tell(counter)

    def renew(self, counters: Collection[Counter]) -> None:
        """Tell of changes to those counters that the agent has heard of before.

        What one loses another may gain, and a call may come in between: losses are told first.
        """
        known = [counter for counter in counters if counter.id in self._told]
        for counter in known:
            self._tell(counter, Told.of(counter).tightened(self._told[counter.id]))
        for counter in known:
            self._tell(counter)
        for counter in counters:
            self._tell_resets(counter)

    def _tell_resets(self, counter: Counter) -> None:
        """Figures of a counter that the agent does not know begin with it."""
        for figure in counter.pass_on():
            if counter.id in self._told:
                self._send(wire.Reset(counter.id, figure))

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
        if self._inherits and counter.failcnt:  # another supervisor has told of those
            self._heard.begin(id, counter.failcnt)
        for message in wanted.news(known, id, counter.resource):
            self._send(message)
        return True

    def drop_plan(self, group: int) -> None:
        """Nobody is in this group any more."""
        if self._plans.pop(group, None) is not None:
            self._said.drop_plan(group)
            self._send(wire.DropPlan(group))

    def drop_counter(self, counter: Counter) -> None:
        """The counter's container is gone."""
        self._heard.forget(counter.id)
        if self._told.pop(counter.id, None) is not None:
            del self.counters[counter.id]
            self._said.drop_counter(counter.id)
            self._send(wire.DropCounter(counter.id))

    def place(self, job: int, pid: int, group: int, traps: list[str], listener: int) -> None:
        """Admit a worker; `Placed` arrives later. The listener goes ahead on the channel."""
        if self._peer is None and self._connect():
            return  # `taken_over` has had it placed, with all that wait for it
        self._send_listener(job, traps, listener)
        self._send(wire.Place(job, pid, group, traps))

    def adopt(self, job: int, group: int, traps: list[str], listener: int) -> None:
        """Have a new agent listen to a job that another one has placed."""
        self._send_listener(job, traps, listener)
        self._send(wire.Adopt(job, group, traps))

    def _send_listener(self, job: int, traps: list[str], listener: int) -> None:
        if self._peer is None:
            self._connect()
        if traps:
            channel.send(self.process.end, wire.Listening(job), [listener])

    def enter(self, ticket: int, group: int) -> None:
        """Let a call go on that brings somebody into other namespaces, and into ``group``."""
        self._send(wire.Enter(ticket, group))

    def stop(self) -> None:
        """Tell the agent to end."""
        if self._peer is not None:
            self._send(wire.Stop())

    def job_ended(self, job: int) -> None:
        """Nobody will ask what this job was refused."""
        self._send(wire.JobEnded(job))

    def told_of(self, hit: wire.JobHit) -> None:
        """Somebody has been told of these refusals."""
        if hit.counter in self.counters:
            self._heard.told(hit)

    def untold(self, message: wire.Refusals) -> list[wire.JobHit]:
        """What was refused and not told of, by agents that were ended before; nobody knows who."""
        return self._heard.untold(message, self.counters)

    # -- asking --------------------------------------------------------------------

    def move_all(
        self, processes: list[list[int]], groups: list[list[int]], within: bool
    ) -> wire.MovedAll:
        """Put running processes into other groups, all or none: see `wire.agent.MoveAll`."""
        request = next(self._requests)
        answer: wire.MovedAll = self._ask(wire.MoveAll(request, processes, groups, within))
        return answer

    def flush(self) -> None:
        """Wait until the agent goes by everything it has been told."""
        if self._behind:
            self._ask(wire.Ping(next(self._requests)))

    def has_told_refusals(self) -> bool:
        """Whether every refusal until now has been heard of, as far as one knows without asking."""
        return self._heard.has_all(self.process.refusals())

    def tell_refusals(self) -> None:
        """Hear of everything that has been refused until now."""
        if not self.has_told_refusals():
            refused = self.process.refusals()
            self._ask(wire.Tell(next(self._requests)))
            self._heard.all_known(refused)

    def count(self) -> wire.Figures:
        """Recount everything now."""
        answer: wire.Figures = self._ask(wire.Count(next(self._requests)))
        return answer

    def count_some(self, counters: Iterable[Counter]) -> list[list[int]]:
        """Recount these now; rows of `wire.Figures.counters`."""
        known = [counter.id for counter in counters if counter.id in self._told]
        if not known:
            return []
        answer: wire.Figures = self._ask(wire.CountSome(next(self._requests), known))
        return answer.counters

    def _ask(self, message: Message) -> Any:
        """The answer to a question that may be asked again: of a new agent, if need be."""
        while True:
            try:
                return self._ask_this_one(message)
            except AgentDied:
                self._take_over()

    def _ask_this_one(self, message: Message) -> Any:
        self._send(message)
        while True:
            answer = self._receive()
            if getattr(answer, "request", None) == message.request:
                self._said.carried_out()  # in the order in which it was said
                self._behind = False
                return answer
            self._unasked(answer)

    def _receive(self) -> Message:
        """The next message. `AgentDied` when there is no agent to send one."""
        remaining = self._timeout
        while True:
            self._hear()
            ended = self.process.ended
            message = self._next()
            if message is not None:
                return message
            if ended:
                raise AgentDied
            if self.process.ended:
                continue  # that was heard of just now, and there will be nothing to wake us
            if not self.process.pid:
                remaining = self._timeout  # nobody is there yet who could have answered
            if remaining <= 0:
                self.process.kill()
            started = time.monotonic()
            self._poller.poll(_LOOK)
            # Time in which this process was stopped itself says nothing of the other.
            remaining -= min(time.monotonic() - started, 2 * _LOOK)

    def _next(self) -> Message | None:
        """The next message of the agent there is; what an earlier one has left is dropped."""
        while (received := self._receive_any()) is not None:
            peer, message = received
            if peer == self._peer:
                self._heartbeat.heard()
                if isinstance(message, wire.Trapped):
                    self.work.add(message)
                    continue
                if isinstance(message, wire.JobHit):
                    self.told_of(message)
                    self._heard.heard(message)
                return message
            if isinstance(message, wire.Hello):
                self._hear()
                if message.pid == self.process.pid:
                    self._peer = peer
                    return message
        return None

    def _receive_any(self) -> tuple[bytes, Message] | None:
        """What anybody says; an agent that says nonsense, or has lost something, is replaced."""
        while True:
            try:
                return self._server.receive()
            except ProtocolError as error:
                if error.peer == self._peer:
                    print(f"governor: the agent is replaced: {error}", file=sys.stderr)
                    self._peer = None
                    self.process.kill()

    @property
    def pid(self) -> int:
        """The agent's process."""
        if self._peer is None:
            self._connect()
        return self.process.pid

    def _send(self, message: Message) -> None:
        self._said.note(message)
        if self._inherits:
            return
        if self._peer is None:
            self._connect()
        assert self._peer is not None
        self._behind = True
        self._server.send(self._peer, message)

    def _connect(self) -> bool:
        """Wait until there is an agent; whether another one had to take over for that."""
        try:
            self._greet()
        except AgentDied:
            self._take_over()
            return True
        return False

    def _greet(self) -> None:
        while self._peer is None:
            self._receive()

    # -- life and death ----------------------------------------------------------------

    def catch_up(self) -> None:
        """Take in everything that has arrived, without waiting; replace an agent that has died."""
        while (message := self._next()) is not None:
            self._unasked(message)
        if self.process.ended:
            self._take_over()

    def tick(self, busy: bool) -> float | None:
        """See to it that the agent answers while it is ``busy``; seconds until the next look."""
        return self._heartbeat.tick(busy)

    def _ping(self) -> None:
        self._send(wire.Ping(next(self._requests)))

    def inherit(self) -> None:
        """All is restored that another supervisor has left: start an agent that goes on with it."""
        self._take_over()

    def _take_over(self) -> None:
        """Have a new agent go on where the last one was ended. EIO: that happens all the time."""
        self._inherits = False
        while True:
            how = self.process.ended
            if self.process.hopeless:
                raise GovernorError(
                    errno.EIO,
                    f"the agent {how}, again and again; nothing is enforced any more",
                )
            self._peer = None
            self._heartbeat.heard()
            refused = self.process.refusals()
            self.process.start()
            try:
                resumed = self._resume()
            except AgentDied:
                continue
            self._heard.all_known(refused)
            self.process.on_taken_over()
            self.taken_over(how, resumed)
            return

    def _resume(self) -> wire.Resumed:
        """Tell the new agent everything, in the order in which it has to know it."""
        self._greet()
        unsure = self._said.unsure()
        for message in self._said.lasting():
            self._send(message)
        self.hand_over(self)
        resumed: wire.Resumed = self._ask_this_one(wire.Resume(next(self._requests)))
        self._said.carried_out()
        for message in unsure:
            self._send(message)
        return resumed
