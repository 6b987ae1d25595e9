"""The supervisor process: one poll loop over clients, agent, spawner and jobs."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from typing import Any

from governor.errors import GovernorError, ProtocolError
from governor.supervisor.agent import AgentLink
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.stdio import StdioDesk
from governor.supervisor.verbs import Verbs
from governor.transport import AGENTS, CLIENTS, STDIO, Poller, Server, close_all
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from governor.wire.codec import Message
from governor.wire.spawner import FROM_SPAWNER, Quit, StartAgent
from workers import channel, spawner

READY = b"1"
"""What the owner hears when clients may connect."""

SAMPLE_INTERVAL = 1.0
"""Seconds between two samples of CPU time while jobs run: what a lost process may cost at most."""


class Supervisor:
    """Serves clients until told to shut down or until its owner goes away."""

    def __init__(
        self, directory: str, end: socket.socket, owner: socket.socket, nonce: int
    ) -> None:
        self._directory = directory
        self._nonce = nonce
        self._spawner = end
        self._owner = owner
        self._clients = Server(os.path.join(directory, CLIENTS), wire.TO_SUPERVISOR)
        agents = os.path.join(directory, AGENTS)
        self._agents = Server(agents, agent_wire.FROM_AGENT)
        self._desk = StdioDesk(os.path.join(directory, STDIO))
        self._agent = AgentLink(
            self._agents, self._start_agent(agents), self._see_agent, self._on_agent
        )
        self._policy = Policy(self._agent, nonce)
        self._poller = Poller()
        self._jobs = Jobs(end, self._agent, self._policy, self._poller, self._on_ended)
        self._verbs = Verbs(self._policy, self._jobs, self._desk)
        for source in (self._clients, self._agents, end.fileno(), owner.fileno()):
            self._poller.add(source)
        self._next_sample = 0.0
        self._running = True

    def _start_agent(self, endpoint: str) -> socket.socket:
        here, there = channel.pair()
        channel.send(self._spawner, StartAgent(endpoint), [there.fileno()])
        there.close()
        return here

    def _see_agent(self) -> bool:
        """Whether the agent still runs, as far as the spawner has told."""
        self._jobs.catch_up()
        return self._jobs.agent_alive

    # -- the loop ------------------------------------------------------------------

    def serve(self) -> None:
        """Work until it is time to go, then end everything."""
        try:
            while self._running:
                ready = self._poller.poll(self._timeout())
                if self._owner.fileno() in ready:
                    self._running = False
                self._turn(ready)
        finally:
            self._leave()

    def _turn(self, ready: set[object]) -> None:
        """Take in everything that has arrived, in the order in which it depends on each other."""
        self._jobs.catch_up()
        self._jobs.hear(ready)
        self._agent.catch_up()
        self._serve_clients()
        if not self._jobs.agent_alive:
            raise GovernorError(errno.EIO, "the agent has died; nothing is enforced any more")

    def _on_agent(self, message: Message) -> None:
        if isinstance(message, agent_wire.Placed):
            self._jobs.on_placed(message)
        elif isinstance(message, agent_wire.Hit):
            self._policy.hit(message)

    def _serve_clients(self) -> None:
        while True:
            try:
                received = self._clients.receive()
            except ProtocolError as error:
                print(f"governor: a client sent nonsense: {error}", file=sys.stderr)
                continue
            if received is None:
                return
            self._serve_client(*received)

    def _serve_client(self, peer: bytes, request: Any) -> None:
        def reply(value: Any) -> None:
            self._clients.send(peer, wire.Result(request.request, value))

        try:
            if isinstance(request, wire.Shutdown):
                self._shut_down(request, reply)
            else:
                self._verbs.carry_out(request, reply)
        except GovernorError as error:
            failure = wire.Failure(request.request, error.errno, error.message)
            self._clients.send(peer, failure)

    def _shut_down(self, request: wire.Shutdown, reply: Any) -> None:
        def done() -> None:
            reply(None)
            self._running = False

        self._jobs.stop(list(self._jobs.by_id), request.grace, done)

    # -- time ----------------------------------------------------------------------

    def _timeout(self) -> float | None:
        """Do what is due and say when something is due again."""
        due = [
            seconds for seconds in (self._jobs.tick(), self._verbs.tick()) if seconds is not None
        ]
        if self._jobs.running:
            now = time.monotonic()
            if now >= self._next_sample:
                self._verbs.refresh()
                took = time.monotonic() - now
                self._next_sample = now + max(SAMPLE_INTERVAL, 20 * took)
            due.append(max(0.0, self._next_sample - time.monotonic()))
        return min(due, default=None)

    def _on_ended(self, job: Job) -> None:
        self._verbs.ended(job)

    def _leave(self) -> None:
        self._agent.stop()
        channel.send(self._spawner, Quit())
        self._desk.close()
        close_all([self._clients, self._agents])
        # The spawner closes its end when nothing of ours is left.
        while channel.receive(self._spawner, FROM_SPAWNER) is not None:
            pass
        os.wait()
        spawner.sweep(self._nonce, self._directory)


def main(directory: str, owner: socket.socket, nonce: int) -> None:
    """Run a supervisor with its spawner in this process, which has no threads yet.

    ``owner`` hears one byte when everything is ready; its end is the supervisor's end.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # What is ignored, as under nohup, is to be ignored by the jobs as well.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    end = spawner.start(nonce, directory)
    supervisor = Supervisor(directory, end, owner, nonce)
    owner.send(READY)
    try:
        supervisor.serve()
    except GovernorError as error:
        print(f"governor: {error.message}", file=sys.stderr)
