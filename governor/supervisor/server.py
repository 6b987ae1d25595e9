"""The supervisor process: one poll loop over clients, agent, spawner and jobs."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from governor.core.container import Container
from governor.errors import GovernorError
from governor.supervisor.agent import AgentLink
from governor.supervisor.agent_process import AgentProcess
from governor.supervisor.answers import Handler, at_once
from governor.supervisor.changes import Changes
from governor.supervisor.container_verbs import ContainerVerbs
from governor.supervisor.endings import Endings
from governor.supervisor.entries import Entries
from governor.supervisor.events import Events
from governor.supervisor.figures import Figures
from governor.supervisor.idle_groups import IdleGroups
from governor.supervisor.job_ends import JobEnds
from governor.supervisor.job_progress import JobProgress
from governor.supervisor.job_starts import JobStarts
from governor.supervisor.job_verbs import JobVerbs
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.queries import Queries
from governor.supervisor.refusals import Refusals
from governor.supervisor.release import Release
from governor.supervisor.requests import Requests
from governor.supervisor.spawner_link import SpawnerLink
from governor.supervisor.spawner_requests import Request
from governor.supervisor.stdio import StdioDesk
from governor.supervisor.terms import Terms
from governor.transport import (
    AGENTS,
    CLIENTS,
    STDIO,
    UNREAD_MAX,
    Doors,
    Poller,
    Server,
    close_all,
)
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from governor.wire.codec import Message
from governor.wire.spawner import Reaped, Started
from workers.spawner import remove_directory

if TYPE_CHECKING:
    from governor.supervisor.recording import Recording
    from governor.supervisor.state import State

GRACE = 1.0
"""Seconds from TERM to KILL for all jobs when the supervisor is sent INT or TERM."""

_ENDING = {signal.SIGINT, signal.SIGTERM}


class Supervisor:
    """Serves clients until told to shut down or until its owner goes away."""

    def __init__(
        self,
        terms: Terms,
        link: SpawnerLink,
        owner: socket.socket,
        state: State | None = None,
    ) -> None:
        """``link`` leads to the spawner. ``state``: to go on with, and record."""
        self._terms = terms
        self._spawner = link
        self._owner = owner
        self._state = state
        self._running = True
        self._open_sockets(terms.directory)
        self._start_policy(terms)
        self._prepare_jobs()
        self._connect()
        handlers = self._handlers()
        self._watch()
        self._recording = self._go_on(state) if state is not None else None
        self._requests = Requests(self._clients, handlers, self._recording)

    # -- the parts -----------------------------------------------------------------

    def _open_sockets(self, directory: str) -> None:
        try:
            self._bind_sockets(directory)
        except OSError as error:
            number = error.errno or errno.EIO
            raise GovernorError(
                number,
                f"no sockets can be made in {directory}: {os.strerror(number)}; "
                f"make room there, or choose another place",
            ) from None

    def _bind_sockets(self, directory: str) -> None:
        clients = os.path.join(directory, CLIENTS)
        self._clients = Server(clients, wire.TO_SUPERVISOR, UNREAD_MAX)
        agents = os.path.join(directory, AGENTS)
        self._agents = Server(agents, agent_wire.FROM_AGENT, allowed=self._is_agent, numbered=True)
        self._doors = Doors([self._clients, self._agents])
        self._desk = StdioDesk(os.path.join(directory, STDIO))

    def _start_policy(self, terms: Terms) -> None:
        state, link = self._state, self._spawner
        estate = state.estate if state is not None else None
        process = AgentProcess(link, os.path.join(terms.directory, AGENTS), estate)
        self._agent = AgentLink(
            self._agents, process, link.tend, self._on_agent, terms.agent_timeout
        )
        self._events = Events()
        changes = state.recorder if state is not None else Changes()
        self._policy = policy = Policy(self._agent, terms.nonce, self._events, changes)
        policy.machinery.add(link.pid)
        self._entries = Entries(policy, self._agent)
        self._figures = Figures(self._agent, policy, link.catch_up)

    def _prepare_jobs(self) -> None:
        link, policy = self._spawner, self._policy
        self._poller = Poller()
        self._endings = Endings(policy.members.one_look)
        self._jobs = jobs = Jobs(policy.changes)
        self._refusals = refusals = Refusals(jobs, policy, self._agent)
        self._ends = ends = JobEnds(jobs, policy, self._endings, refusals, self._on_ended)
        self._progress = JobProgress(jobs, link, self._agent, policy, self._poller, ends)
        self._starts = JobStarts(jobs, link, policy, self._progress)
        self._job_verbs = JobVerbs(policy, jobs, self._starts, ends, self._desk)
        self._release = Release(
            policy, self._poller, jobs.starting, self._figures.refresh, self._run_release_agent
        )
        self._idle = IdleGroups(
            policy, self._figures, lambda: [*jobs.groups(), *self._entries.groups()]
        )

    def _connect(self) -> None:
        """Have the spawner and the agent tell whom it concerns."""
        link, agent = self._spawner, self._agent
        link.on_started, link.on_reaped = self._on_started, self._on_reaped
        link.on_unseen = self._ends.unseen
        link.renew, link.on_replaced = self._renew, self._on_spawner_replaced
        agent.hand_over, agent.taken_over = self._progress.hand_over, self._on_taken_over

    def _handlers(self) -> dict[type, Handler]:
        policy, jobs, figures = self._policy, self._jobs, self._figures
        queries = Queries(policy, jobs, figures, self._terms.directory, self._agent)
        return (
            ContainerVerbs(policy, figures, self._endings, jobs.starting, self._agent).handlers
            | self._job_verbs.handlers
            | queries.handlers
            | {wire.Shutdown: self._shut_down, wire.State: at_once(self._state_of)}
        )

    def _watch(self) -> None:
        """Have the poller wake us for whatever may have something to say."""
        self._signalled = _signals()
        owner, signalled, desk = self._owner, self._signalled, self._desk
        for source in (
            self._clients, self._agents, owner.fileno(), signalled.fileno(), desk.fileno()
        ):  # fmt: skip
            self._poller.add(source)
        for descriptor in self._spawner.sources:
            self._poller.add_number(descriptor)
        self._poller.add_door(self._clients)
        self._poller.add_door(self._agents)

    def _go_on(self, state: State) -> Recording:
        """Take over what the state says; from now on that is kept as it is."""
        from governor.supervisor.recording import Recording
        from governor.supervisor.restore import Restorer

        restorer = Restorer(state, self._policy, self._jobs, self._ends)
        restorer.rebuild()
        if state.inherited is not None:
            self._progress.adopt_listeners(state.inherited.listeners)
        restorer.tell_agent(self._agent)
        state.recorder.bind(self._policy, self._jobs, self._agent)
        if state.inherited is None:
            self._agent.taken_over = lambda how, resumed: None  # there was none
        self._agent.inherit()  # when that is there, every end until now has been reported
        self._agent.taken_over = self._on_taken_over
        self._ends.settle()
        restorer.give_up()
        state.begin(self._terms.nonce, self._terms.directory)
        if state.journal.said:
            print(f"governor: {state.path}: {state.journal.said}", file=sys.stderr, flush=True)
            self._events.publish("unrestored", reason=state.journal.said)
        return Recording(state, self._clients.send, self._spawner.acknowledge)

    def _is_agent(self, pid: int) -> bool:
        """Whether this process is the agent: nobody else is to speak for it.

        The spawner's word of it may be late.
        """
        agent = self._agent.process
        while not agent.pid and not agent.ended:
            self._spawner.wait()
        return pid == agent.pid

    # -- the loop ------------------------------------------------------------------

    def begin(self) -> None:
        """Somebody knows of us: who could start a successor, if there is a state."""
        self._spawner.begin()

    def serve(self) -> None:
        """Work until it is time to go, then end everything."""
        try:
            ready: set[object] = set()
            while True:
                timeout = self._tick(ready)  # what was due may have been the end
                if not self._running and self._events.are_kept:
                    break
                ready = self._poller.poll(timeout)
                if self._owner.fileno() in ready:
                    self._on_owner_gone()
                if self._signalled.fileno() in ready and self._is_to_end():
                    self._ends.stop_all(GRACE, self._end)
                self._turn(ready)
        except Exception as error:
            if self._recording is not None and not isinstance(error, GovernorError):
                _die()
            self._leave()
            raise
        self._leave()

    def _turn(self, ready: set[object]) -> None:
        """Take in everything that has arrived, in the order in which it depends on each other."""
        self._spawner.catch_up()
        self._progress.hear(ready)
        self._agent.catch_up()
        self._ends.settle()
        self._entries.tick()
        if self._desk.fileno() in ready:
            self._desk.tend()
        self._requests.serve()
        self._idle.check()
        self._agent.catch_up()  # an answer to a client does not say that it has died
        self._ends.settle()
        if self._recording is not None:
            self._recording.turn()

    def _on_owner_gone(self) -> None:
        """Our jobs are its jobs, unless another supervisor could go on with them as well."""
        if self._recording is None:
            self._running = False
        else:
            self._poller.remove(self._owner.fileno())

    def _is_to_end(self) -> bool:
        """Whether somebody has asked for the end by a signal; a child's end is only seen to."""
        numbers = set(self._signalled.recv(4096))
        return bool(numbers & _ENDING)

    def _on_started(self, message: Started) -> None:
        if message.job:
            self._progress.on_started(message)
        else:
            self._agent.process.on_started(message.pid, message.errno)

    def _on_reaped(self, message: Reaped, user_ns: int) -> None:
        if message.pid == self._agent.process.pid:
            self._agent.process.on_reaped(message.status)
        self._progress.on_reaped(message, user_ns)

    def _renew(self, request: Request) -> None:
        if request.job:
            self._starts.renew(request)
        else:
            self._agent.process.renew(request.descriptors)

    def _on_spawner_replaced(self, how: str, before: int) -> None:
        self._policy.machinery.discard(before)
        self._policy.machinery.add(self._spawner.pid)
        self._events.publish("spawner-restart", pid=self._spawner.pid, reason=f"the spawner {how}")

    def _on_taken_over(self, how: str, resumed: agent_wire.Resumed) -> None:
        self._entries.resumed(resumed.tickets)
        self._progress.place_again()
        self._events.publish(
            "agent-restart", pid=self._agent.process.pid, reason=f"the agent {how}"
        )

    def _on_agent(self, message: Message) -> None:
        if isinstance(message, agent_wire.Placed):
            self._progress.on_placed(message)
        elif isinstance(message, agent_wire.JobHit):
            self._refusals.hit(message)
        elif isinstance(message, agent_wire.JobRefusals):
            self._refusals.of_jobs(message)
        elif isinstance(message, agent_wire.Refusals):
            self._refusals.of_counters(message)
        elif isinstance(message, agent_wire.Entering | agent_wire.Entered):
            self._entries.hear(message)

    def _shut_down(self, request: wire.Shutdown, reply: Any) -> None:
        def done() -> None:
            reply(None)
            self._end()

        self._ends.stop_all(request.grace, done)

    def _end(self) -> None:
        self._running = False
        self._events.end()

    # -- time ----------------------------------------------------------------------

    def _tick(self, ready: set[object]) -> float | None:
        """Do what is due and say when something is due again."""
        due = [self._ends.tick(), self._endings.tick(), self._job_verbs.tick()]
        due.append(self._doors.tend(ready))
        busy = bool(self._jobs.count_running)
        if busy:
            due.append(self._figures.tick())
        due += [self._agent.tick(busy), self._spawner.tick(busy)]
        due.append(self._release.check())
        self._ends.settle()
        due.append(self._events.tick())  # last: it tells of what the others did
        if self._recording is not None:
            self._recording.turn()
            due.append(self._recording.tick())
        return min((seconds for seconds in due if seconds is not None), default=None)

    def _state_of(self, _: wire.State) -> list[str]:
        if self._state is None:
            return ["", ""]
        return [self._state.path, self._state.recorder.failure]

    def _on_ended(self, job: Job) -> None:
        self._job_verbs.ended(job)

    def _run_release_agent(self, program: str, container: Container) -> None:
        environment = {
            "PATH": os.defpath, "HOME": "/", "GOVERNOR_HIERARCHY": container.hierarchy.name
        }  # fmt: skip
        group = self._policy.admit([])
        try:
            self._starts.spawn_helper([program, container.path], environment, group)
        except (GovernorError, OSError):
            self._policy.withdraw(group.id)
            raise

    def _leave(self) -> None:
        if self._recording is not None:
            self._recording.turn()
        self._policy.end()
        self._agent.stop()
        self._desk.close()
        self._agent.process.close()
        close_all([self._clients, self._agents])
        self._spawner.quit(self._signalled.fileno())
        remove_directory(self._terms.directory)
        if self._recording is not None:
            self._recording.close()


def _die() -> None:
    """A mistake of ours is no reason to end jobs that another supervisor can go on with."""
    import traceback

    traceback.print_exc()
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def _signals() -> socket.socket:
    """A socket that hears of children's ends and of signals that politely ask for our own."""
    here, there = socket.socketpair()
    there.setblocking(False)
    signal.set_wakeup_fd(there.detach(), warn_on_full_buffer=False)
    for number in (*_ENDING, signal.SIGCHLD):
        if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    return here
