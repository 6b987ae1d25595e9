"""What becomes of jobs, as their workers, the agent and the spawner tell."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Set

from governor.core.usage import Use
from governor.errors import ProtocolError
from governor.results import OWN_FAILURE
from governor.supervisor.agent import AgentLink
from governor.supervisor.endings import signal_all
from governor.supervisor.job_ends import JobEnds
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.spawner_link import SpawnerLink
from governor.transport import Poller
from governor.wire import agent as agent_wire
from governor.wire.job import FROM_WORKER, Bind, Failed, Go, Ready
from governor.wire.spawner import LISTENER, Reaped, Started
from workers import channel, cpu, seccomp

_ERRNO_MAX = 4095


class JobProgress:
    """Sees jobs through from a worker that was asked for to their ends, which are for ``ends``.

    It owns the channels to workers and the listeners of filters.
    """

    def __init__(
        self,
        jobs: Jobs,
        spawner: SpawnerLink,
        agent: AgentLink,
        policy: Policy,
        poller: Poller,
        ends: JobEnds,
    ) -> None:
        self._jobs = jobs
        self._spawner = spawner
        self._agent = agent
        self._policy = policy
        self._poller = poller
        self._ends = ends
        self._heard: dict[int, Callable[[], None]] = {}
        """What is to be done when there is something to hear at a descriptor."""

    def hear(self, ready: Set[object]) -> None:
        """Take in what workers report and which jobs have gone altogether."""
        for descriptor in self._heard.keys() & ready:
            if descriptor in self._heard:  # the one before may have ended this one, too
                self._heard[descriptor]()

    def _forget(self, descriptor: int) -> None:
        del self._heard[descriptor]
        self._poller.remove(descriptor)

    # -- workers -------------------------------------------------------------------

    def open_report(self, job: Job) -> socket.socket:
        """A channel to a job's worker; returns the worker's end. Raises OSError."""
        job.report, there = channel.pair()
        job.report.setblocking(False)  # others may hold its end open when the worker has gone
        self._heard[job.report.fileno()] = lambda: self._on_word(job)
        self._poller.add(job.report.fileno())
        return there

    def close_report(self, job: Job) -> None:
        """Hear nothing more of a job's worker, if it has not become the job yet."""
        if job.report is not None:
            self._forget(job.report.fileno())
            job.report.close()
            job.report = None

    def on_started(self, message: Started) -> None:
        """The spawner forked the worker, or could not."""
        job = self._jobs.by_id.get(message.job)
        if job is None:
            return
        if message.errno:
            job.error = f"cannot fork for job {job.name}: {os.strerror(message.errno)}"
            self.close_report(job)
            self._ends.finish(job, OWN_FAILURE << 8, 0)
            return
        self._jobs.forked(job, message.pid)
        self._policy.changes.job(job)

    def _on_word(self, job: Job) -> None:
        # The worker may be quicker than the spawner's word that it exists.
        if job.pid:
            self._on_report(job)

    def _on_report(self, job: Job) -> bool:
        """The worker says that it is ready, or has failed, or has become the job.

        False when it says nothing. What is out of turn, or no message, is not believed.
        """
        assert job.report is not None
        try:
            received = channel.receive(job.report, FROM_WORKER)
        except BlockingIOError:
            return False
        except ProtocolError as error:
            self._disbelieve(job, str(error))
            return False
        if received is None:
            self.close_report(job)
            return False
        message, descriptors = received
        match message, descriptors:
            case Ready(refusal), [] if refusal and not job.ready:
                self._on_ready(job, refusal, None)
            case Ready(""), [listener] if not job.ready and seccomp.is_listener(listener):
                self._on_ready(job, "", listener)
            case Ready(""), [] if not job.ready:
                # It came with a listener, which this process has no room for.
                self._fail(job, os.strerror(errno.EMFILE))
            case Failed(number, step), []:
                job.error = f"cannot {step}{_because(number)}"
            case _:
                for descriptor in descriptors:
                    os.close(descriptor)
                self._disbelieve(job, f"{type(message).__name__} is out of turn")
                return False
        return True

    def _disbelieve(self, job: Job, reason: str) -> None:
        """Somebody else speaks for the worker; if it is not the job yet, it never will be."""
        if job.placed:
            self.close_report(job)
        else:
            self._fail(job, f"its worker reports nonsense: {reason}")

    def _fail(self, job: Job, reason: str) -> None:
        """Do not let a worker become the job."""
        job.error = f"job {job.name} cannot be started: {reason}"
        self.close_report(job)
        signal_all([job.pid], signal.SIGKILL)

    def _on_ready(self, job: Job, refusal: str, listener: int | None) -> None:
        job.refusal = refusal
        if refusal:
            job.traps = []
        if listener is not None:
            self._listen(job, listener)
        job.ready = True
        self._policy.changes.job(job)
        self._place(job)

    # -- the agent -----------------------------------------------------------------

    def _place(self, job: Job) -> None:
        listener = -1 if job.listener is None else job.listener
        self._agent.place(job.id, job.pid, job.group, job.traps, listener)

    def hand_over(self, agent: AgentLink) -> None:
        """Tell a new agent of all jobs that the one before it has placed."""
        for job in self._jobs.listening():
            if job.placed and job.traps and job.listener is not None:
                agent.adopt(job.id, job.group, job.traps, job.listener)

    def place_again(self) -> None:
        """A new agent is to place those jobs that the one before has said nothing of."""
        for job in self._jobs.running():
            if job.ready and not job.placed and job.error is None:
                self._place(job)

    def on_placed(self, message: agent_wire.Placed) -> None:
        """The agent admitted the worker to its containers, or met a limit."""
        job = self._jobs.by_id.get(message.job)
        if job is None or job.result is not None or job.placed:
            return
        if message.counter:
            job.error = (
                f"{self._policy.bounds.at_limit(message.counter)}; job {job.name} was not started"
            )
            signal_all([job.pid], signal.SIGKILL)
            return
        self._enter(job, message)
        changes = self._policy.changes
        changes.job(job)
        changes.process(job.pid)
        self._tell_of_start(job)
        job.tell_started()
        changes.flush()  # whoever comes after us knows of whatever has run
        self._let_run(job)

    def _tell_of_start(self, job: Job) -> None:
        told = job.told() | self._policy.told_of_group(job.group)
        self._policy.events.publish("job-start", "", "", **told)
        if job.refusal:
            self._policy.events.publish("unenforced", "", "", **told, reason=job.refusal)

    def _enter(self, job: Job, message: agent_wire.Placed) -> None:
        """It is in its containers; its clock starts."""
        job.placed = True
        if message.errno and not job.refusal:
            job.refusal = f"process {job.pid} cannot be tagged: {os.strerror(message.errno)}"
        job.base_cpu = message.cpu
        self._policy.placed(job.group, job.pid, job.traps, not message.errno)
        # The worker waits for its Go, so its clocks stand where the agent has read them.
        base = Use(message.cpu, cpu.user_ns(job.pid, message.cpu))
        self._policy.ledger.enter(job.pid, message.start, job.group, base)
        job.start = message.start
        job.began, job.began_at = time.monotonic(), time.time()
        if job.timeout is not None:
            self._jobs.limit(job, job.began + job.timeout)

    def _let_run(self, job: Job) -> None:
        if job.report is not None:
            if nodes := self._policy.plans.confined(job.group, "mems"):
                channel.send(job.report, Bind(nodes))
            channel.send(job.report, Go())

    # -- ends ----------------------------------------------------------------------

    def on_reaped(self, message: Reaped, user_ns: int) -> None:
        """A process of ours has ended; it may be a job's first one."""
        if message.group:
            use = Use(message.cpu, user_ns)
            self._policy.ledger.reap(message.pid, message.start, message.group, use)
            self._policy.changes.process(message.pid)
        job = self._jobs.reaped(message.pid)
        if job is None:
            return
        while job.report is not None and self._on_report(job):
            pass  # it may have said why it could not become the job
        if job.placed:
            job.ended_in = message.group
            self._policy.left(message.group or job.group, job.pid)
        self.close_report(job)
        self._ends.finish(job, message.status, message.cpu)

    def adopt_listeners(self, listeners: Mapping[int, int]) -> None:
        """Go on with the listeners that another supervisor has left, by job."""
        for id, listener in listeners.items():
            job = self._jobs.by_id.get(id)
            if job is None:
                os.close(listener)
            else:
                self._listen(job, listener)

    def _listen(self, job: Job, listener: int) -> None:
        self._jobs.listens(job, listener)
        self._spawner.keep(LISTENER, job.id, listener)
        self._heard[listener] = lambda: self._on_hangup(job)
        self._poller.add_hangup(listener)

    def _on_hangup(self, job: Job) -> None:
        """No task is left under the job's filter."""
        if job.listener is not None:
            listener = job.listener
            self._jobs.listens_no_more(job)
            self._forget(listener)
            self._spawner.drop(LISTENER, job.id)
            os.close(listener)
            self._policy.changes.job(job)


def _because(number: int) -> str:
    return f": {os.strerror(number)}" if 0 < number <= _ERRNO_MAX else ""
