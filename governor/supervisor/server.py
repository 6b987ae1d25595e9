"""The supervisor process: one poll loop over clients, agent, spawner and jobs."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from governor.core.container import Container
from governor.errors import GovernorError, ProtocolError
from governor.supervisor.agent import AgentLink
from governor.supervisor.agent_process import AgentProcess
from governor.supervisor.answers import at_once
from governor.supervisor.changes import Changes
from governor.supervisor.container_verbs import ContainerVerbs
from governor.supervisor.endings import Endings
from governor.supervisor.entries import Entries
from governor.supervisor.events import Events
from governor.supervisor.figures import Figures
from governor.supervisor.idle_groups import IdleGroups
from governor.supervisor.job_verbs import JobVerbs
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.nonsense import Nonsense
from governor.supervisor.policy import Policy
from governor.supervisor.queries import Queries
from governor.supervisor.release import Release
from governor.supervisor.spawner_link import Request, SpawnerLink
from governor.supervisor.stdio import StdioDesk
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
from governor.wire.spawner import Quit, Reaped, Started
from workers import channel, spawner
from workers.spawner import remove_directory

if TYPE_CHECKING:
    from governor.supervisor.recording import Recording
    from governor.supervisor.state import State

GRACE = 1.0
"""Seconds from TERM to KILL for all jobs when the supervisor is sent INT or TERM."""

IN_A_ROW = 64
"""Requests that are carried out before jobs and agent are looked at again."""

_ENDING = {signal.SIGINT, signal.SIGTERM}

READY = b"ready"
"""What the owner hears when clients may connect, and then what marks processes."""


class Supervisor:
    """Serves clients until told to shut down or until its owner goes away."""

    def __init__(
        self,
        directory: str,
        link: SpawnerLink,
        owner: socket.socket,
        nonce: int,
        agent_timeout: float,
        state: State | None = None,
    ) -> None:
        """``link`` leads to the spawner. ``state``: to go on with, and record."""
        self._directory = directory
        self.nonce = nonce
        """What marks our processes."""
        self._spawner = link
        self._owner = owner
        clients = os.path.join(directory, CLIENTS)
        self._clients = Server(clients, wire.TO_SUPERVISOR, UNREAD_MAX)
        agents = os.path.join(directory, AGENTS)
        self._agents = Server(agents, agent_wire.FROM_AGENT, allowed=self._is_agent, numbered=True)
        self._doors = Doors([self._clients, self._agents])
        self._nonsense = Nonsense()
        self._desk = StdioDesk(os.path.join(directory, STDIO))
        self._state = state
        self._recorder = state.recorder if state is not None else Changes()
        self._recording: Recording | None = None
        self._agent = AgentLink(
            self._agents,
            AgentProcess(link, agents, state.estate if state is not None else None),
            link.tend,
            self._on_agent,
            agent_timeout,
        )
        self._events = Events()
        self._policy = policy = Policy(self._agent, nonce, self._events, self._recorder)
        policy.machinery.add(link.pid)
        self._entries = Entries(policy, self._agent)
        self._poller = Poller()
        self._endings = Endings(policy.one_look)
        self._jobs = jobs = Jobs(
            link, self._agent, policy, self._poller, self._endings, self._on_ended
        )
        link.on_started, link.on_reaped = self._on_started, self._on_reaped
        link.on_unseen = jobs.unseen
        link.renew, link.on_replaced = self._renew, self._on_spawner_replaced
        self._agent.hand_over = jobs.hand_over
        self._agent.taken_over = self._on_taken_over
        self._figures = figures = Figures(self._agent, policy, link.catch_up)
        self._job_verbs = JobVerbs(policy, jobs, self._desk)
        self._handlers = (
            ContainerVerbs(policy, figures, self._endings, jobs.starting).handlers
            | self._job_verbs.handlers
            | Queries(policy, jobs, figures, directory, self._agent).handlers
            | {wire.Shutdown: self._shut_down, wire.State: at_once(self._state_of)}
        )
        self._release = Release(
            policy, self._poller, jobs.starting, figures.refresh, self._run_release_agent
        )
        self._idle = IdleGroups(policy, figures, lambda: [*jobs.groups(), *self._entries.groups()])
        self._signalled = _signals()
        for source in (
            self._clients, self._agents, owner.fileno(), self._signalled.fileno(),
            self._desk.fileno(),
        ):  # fmt: skip
            self._poller.add(source)
        for descriptor in link.sources:
            self._poller.add_number(descriptor)
        self._poller.add_door(self._clients)
        self._poller.add_door(self._agents)
        self._running = True
        if state is not None:
            self._go_on(state)

    def _go_on(self, state: State) -> None:
        """Take over what the state says; from now on that is kept as it is."""
        from governor.supervisor.recording import Recording
        from governor.supervisor.restore import Restorer

        send, recorded = self._clients.send, self._spawner.acknowledge
        self._recording = Recording(state, send, recorded)
        restorer = Restorer(state.recorder, self._policy, self._jobs, state)
        restorer.rebuild()
        restorer.tell_agent()
        state.recorder.bind(self._policy, self._jobs, self._agent)
        if state.inherited is None:
            self._agent.taken_over = lambda how, resumed: None  # there was none
        self._agent.inherit()  # when that is there, every end until now has been reported
        self._agent.taken_over = self._on_taken_over
        restorer.give_up()
        state.begin(self.nonce, self._directory)
        if state.journal.said:
            print(f"governor: {state.path}: {state.journal.said}", file=sys.stderr, flush=True)
            self._events.publish("unrestored", reason=state.journal.said)

    def _is_agent(self, pid: int) -> bool:
        """Whether this process is the agent: nobody else is to speak for it.

        The spawner's word of it may be late.
        """
        agent = self._agent.process
        while not agent.pid and not agent.ended:
            self._spawner.wait()
        return pid == agent.pid

    # -- the loop ------------------------------------------------------------------

    def serve(self) -> None:
        """Work until it is time to go, then end everything."""
        try:
            ready: set[object] = set()
            while True:
                timeout = self._timeout(ready)  # what was due may have been the end
                if not self._running:
                    break
                ready = self._poller.poll(timeout)
                if self._owner.fileno() in ready:
                    self._on_owner_gone()
                if self._signalled.fileno() in ready and self._is_to_end():
                    self._jobs.stop(list(self._jobs.by_id), GRACE, self._end)
                self._turn(ready)
        finally:
            self._leave()

    def _turn(self, ready: set[object]) -> None:
        """Take in everything that has arrived, in the order in which it depends on each other."""
        self._spawner.catch_up()
        self._jobs.hear(ready)
        self._agent.catch_up()
        self._entries.tick()
        if self._desk.fileno() in ready:
            self._desk.tend()
        self._serve_clients()
        self._idle.check()
        self._agent.catch_up()  # an answer to a client does not say that it has died
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
            self._jobs.on_started(message)
        else:
            self._agent.process.on_started(message.pid, message.errno)

    def _on_reaped(self, message: Reaped, user_ns: int) -> None:
        if message.pid == self._agent.process.pid:
            self._agent.process.on_reaped(message.status)
        self._jobs.on_reaped(message, user_ns)

    def _renew(self, request: Request) -> None:
        if request.job:
            self._jobs.renew(request)
        else:
            self._agent.process.renew(request.descriptors)

    def _on_spawner_replaced(self, how: str, before: int) -> None:
        self._policy.machinery.discard(before)
        self._policy.machinery.add(self._spawner.pid)
        self._events.publish("spawner-restart", reason=f"the spawner {how}")

    def _on_taken_over(self, how: str, resumed: agent_wire.Resumed) -> None:
        self._entries.resumed(resumed.tickets)
        self._jobs.place_again()
        self._events.publish("agent-restart", reason=f"the agent {how}")

    def _on_agent(self, message: Message) -> None:
        if isinstance(message, agent_wire.Placed):
            self._jobs.on_placed(message)
        elif isinstance(message, agent_wire.Hit):
            self._policy.bounds.hit(message)
        elif isinstance(message, agent_wire.Refusals):
            for hit in self._agent.untold(message):
                self._policy.bounds.hit(hit)
        elif isinstance(message, agent_wire.Entering | agent_wire.Entered):
            self._entries.hear(message)

    def _serve_clients(self) -> None:
        for _ in range(IN_A_ROW):
            try:
                received = self._clients.receive()
            except ProtocolError as error:
                self._refuse_nonsense(error)
                continue
            if received is None:
                return
            self._serve_client(*received)

    def _refuse_nonsense(self, error: ProtocolError) -> None:
        """A request can be answered that has a number, whatever else is wrong with it."""
        if error.peer is not None and error.request is not None:
            self._clients.send(error.peer, wire.Failure(error.request, errno.EINVAL, str(error)))
        else:
            self._nonsense.tell(error)

    def _serve_client(self, peer: bytes, request: Any) -> None:
        def reply(value: Any) -> None:
            if isinstance(value, GovernorError):
                answer: Message = wire.Failure(request.request, value.errno, value.message)
            else:
                answer = wire.Result(request.request, value)
            try:
                if self._recording is None:
                    self._clients.send(peer, answer)
                else:
                    self._recording.answer(peer, request, answer)
            except GovernorError as error:  # there is something in it that cannot be sent
                reply(error)

        try:
            _check_times(request)
            if self._recording is not None:
                self._recording.admit(request)
            self._handlers[type(request)](request, reply)
        except GovernorError as error:
            reply(error)
        except Exception as error:  # a mistake of ours, or of a subsystem, ends no job
            import traceback

            traceback.print_exc()
            reply(GovernorError(errno.EIO, f"governor has failed: {error!r}; see its own messages"))

    def _shut_down(self, request: wire.Shutdown, reply: Any) -> None:
        def done() -> None:
            reply(None)
            self._end()

        self._jobs.stop(list(self._jobs.by_id), request.grace, done)

    def _end(self) -> None:
        self._running = False

    # -- time ----------------------------------------------------------------------

    def _timeout(self, ready: set[object]) -> float | None:
        """Do what is due and say when something is due again."""
        due = [self._jobs.tick(), self._endings.tick(), self._job_verbs.tick()]
        due.append(self._doors.tend(ready))
        busy = bool(self._jobs.count_running)
        if busy:
            due.append(self._figures.tick())
        due += [self._agent.tick(busy), self._spawner.tick(busy)]
        due.append(self._release.check())
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
            self._jobs.spawn_helper([program, container.path], environment, group)
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
        remove_directory(self._directory)
        if self._recording is not None:
            self._recording.close()


def _refuse(owner: socket.socket, error: GovernorError) -> None:
    """Tell the owner why there will be no supervisor."""
    owner.send(f"{error.errno} {error.message}".encode(errors="replace"))


def _check_times(request: Any) -> None:
    """Refuse what is no number, as it is neither before nor after any time; EINVAL."""
    for name, value in zip(request._fields, request, strict=True):
        if isinstance(value, float) and value != value:
            raise GovernorError(errno.EINVAL, f"{name} cannot be {value}")


def _signals() -> socket.socket:
    """A socket that hears of children's ends and of signals that politely ask for our own."""
    here, there = socket.socketpair()
    there.setblocking(False)
    signal.set_wakeup_fd(there.detach(), warn_on_full_buffer=False)
    for number in (*_ENDING, signal.SIGCHLD):
        if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    return here


def main(
    directory: str,
    owner: socket.socket,
    nonce: int,
    agent_timeout: float,
    lock: int | None = None,
    state: str = "",
) -> int:
    """Run a supervisor with its spawner in this process, which has no threads yet.

    ``owner`` hears `READY` and the nonce, or the errno and the words of a failure;
    its end is the supervisor's end, unless there is a directory ``state`` to record everything
    in. ``lock``: a descriptor that every spawner is to hold as long as it runs. Returns the exit
    status: 1 when it failed.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # What is ignored, as under nohup, is to be ignored by the jobs as well.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        supervisor = _start(directory, owner, nonce, agent_timeout, lock, state)
    except GovernorError as error:
        _refuse(owner, error)
        return 1
    owner.send(b"%s %d" % (READY, supervisor.nonce))
    try:
        supervisor.serve()
    except GovernorError as error:
        print(f"governor: {error.message}", file=sys.stderr)
        return 1
    return 0


def _start(
    directory: str,
    owner: socket.socket,
    nonce: int,
    agent_timeout: float,
    lock: int | None,
    state_path: str,
) -> Supervisor:
    spawner.become_subreaper()  # before the fork: it is for those who were born afterwards
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    state = None
    if state_path:
        from governor.supervisor.state import State

        state = State(state_path)
        nonce = state.take_over(directory, nonce, files, agent_timeout)
        if state.inherited is not None:
            spawner.take_descriptors()
            link = state.inherited.link
            return Supervisor(directory, link, owner, nonce, agent_timeout, state)
    lasting = state is not None
    pid, end = spawner.start(nonce, directory, lasting)
    spawner.take_descriptors()  # after the fork: jobs inherit the spawner's limit
    kept = [] if lock is None or lasting else [lock]

    def restart() -> tuple[int, socket.socket]:
        return spawner.replace(nonce, directory, files, kept, lasting)

    link = SpawnerLink(pid, end, nonce, restart, agent_timeout, lasting)
    try:
        return Supervisor(directory, link, owner, nonce, agent_timeout, state)
    except GovernorError:
        channel.send(end, Quit())
        raise
