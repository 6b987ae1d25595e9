"""Jobs: from the wish to run something to the exit status, and everything ended by force."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Set
from typing import Any

from governor.core.group import Group
from governor.core.usage import Use
from governor.errors import GovernorError, ProtocolError
from governor.results import OWN_FAILURE, TIMED_OUT, JobResult, Value
from governor.supervisor.agent import AgentLink
from governor.supervisor.endings import Endings, check_signal, signal_all
from governor.supervisor.policy import Policy
from governor.supervisor.spawner_link import Request, SpawnerLink
from governor.transport import Poller
from governor.wire import agent as agent_wire
from governor.wire.client import Spawn
from governor.wire.codec import encode
from governor.wire.job import FROM_WORKER, Bind, Failed, Go, JobSpec, Ready
from governor.wire.spawner import LISTENER, Reaped, Started
from workers import channel, cpu, seccomp, shim
from workers.membership import MAX_JOB
from workers.syscalls import table

UNSEEN = "it ended while nobody could see it"

ENDED_MAX = 10_000
"""Jobs that are remembered after their end, for those who ask for a result; the oldest go first."""

_ERRNO_MAX = 4095


class Job:
    """A job the supervisor looks after. ``result`` is set when its first process has ended."""

    __slots__ = (
        "base_cpu",
        "began",
        "began_at",
        "deadline",
        "error",
        "grace",
        "group",
        "id",
        "listener",
        "name",
        "pid",
        "placed",
        "ready",
        "refusal",
        "report",
        "result",
        "start",
        "timed_out",
        "timeout",
        "traps",
    )

    def __init__(self, id: int, spec: Spawn, group: int, traps: list[str]) -> None:
        self.id = id
        self.name = spec.name
        self.group = group
        self.traps = traps
        self.grace = spec.grace
        self.timeout = spec.timeout
        self.pid = 0
        self.start = 0
        """When its process was started, in clock ticks since boot."""
        self.ready = False
        """Whether the agent has been asked to place it."""
        self.placed = False
        self.report: socket.socket | None = None
        self.listener: int | None = None
        self.refusal = ""
        self.error: str | None = None
        self.base_cpu = 0
        self.began = time.monotonic()
        self.began_at = time.time()
        self.deadline: float | None = None
        self.timed_out = False
        self.result: JobResult | None = None

    @classmethod
    def recorded(cls, work: Any) -> Job:
        """A job of another supervisor, as that has recorded it; without listener and result."""
        job = cls.__new__(cls)
        job.id, job.name, job.group, job.traps = work.id, work.name, work.group, work.traps
        job.grace, job.timeout, job.deadline = work.grace, work.timeout, work.deadline
        job.pid, job.start, job.base_cpu = work.pid, work.start, work.base_cpu
        job.began, job.began_at = work.clock, work.began
        job.ready = job.placed = work.placed
        job.report, job.listener, job.result = None, None, None
        job.refusal, job.error, job.timed_out = work.refusal, work.error, work.timed_out
        return job


class Jobs:
    """All jobs. Events come in from worker, agent and spawner; ``ended`` is told of each end."""

    def __init__(
        self,
        spawner: SpawnerLink,
        agent: AgentLink,
        policy: Policy,
        poller: Poller,
        endings: Endings,
        ended: Callable[[Job], None],
    ) -> None:
        self._spawner = spawner
        self._agent = agent
        self._policy = policy
        self._poller = poller
        self._ended = ended
        self.last = 0
        """The id that was given last."""
        self._filters: dict[tuple[str, ...], bytes] = {}
        self._endings = endings
        self._started: dict[int, Callable[[Job], None]] = {}
        self._heard: dict[int, Callable[[], None]] = {}
        self._by_pid: dict[int, Job] = {}
        self._lately_ended: deque[int] = deque()
        self.by_id: dict[int, Job] = {}
        self._listening: dict[int, Job] = {}
        """Those with a task under their filter, even if it is long after their end."""
        self._running: dict[int, Job] = {}
        self._timed: dict[int, Job] = {}
        """Those that run and have a time by which they have to end."""

    def get(self, id: int) -> Job:
        """The job with this id; ESRCH, also for one that ended so long ago that it is forgotten."""
        job = self.by_id.get(id)
        if job is None:
            raise GovernorError(errno.ESRCH, f"there is no job {id}")
        return job

    def starting(self) -> list[int]:
        """Groups that jobs are about to be placed in."""
        return [job.group for job in self._running.values() if not job.placed]

    def groups(self) -> list[int]:
        """Groups that jobs were started in of which something is left, wherever it is now."""
        return [job.group for jobs in (self._running, self._listening) for job in jobs.values()]

    @property
    def count_running(self) -> int:
        """How many jobs there are whose first process is still there, or about to be."""
        return len(self._running)

    # -- what another supervisor has left -------------------------------------------

    def restore(self, job: Job, alive: bool) -> None:
        """Go on with a job; ``alive``: its first process is there, or its end will be reported."""
        self.by_id[job.id] = job
        if job.result is not None:
            self._lately_ended.append(job.id)
        elif alive:
            self._running[job.id] = self._by_pid[job.pid] = job
            if job.deadline is not None:
                self._timed[job.id] = job

    def adopt_listener(self, id: int, listener: int) -> None:
        """This is the listener of a job's filter."""
        job = self.by_id.get(id)
        if job is None:
            os.close(listener)
            return
        job.listener = listener
        self._listen(job, listener)

    def lose(self, job: Job, reason: str, seconds: float) -> None:
        """Nobody will ever know how this job has ended."""
        self._running.pop(job.id, None)
        self._by_pid.pop(job.pid, None)
        job.error = f"job {job.name} was lost: {reason}"
        self._end(job, JobResult(OWN_FAILURE, None, seconds, 0.0, job.timed_out, job.error))

    def unseen(self, pid: int) -> None:
        """A process has ended, and nobody can tell how."""
        job = self._by_pid.get(pid)
        if job is not None:
            self._policy.left(job.group, pid)
            self.lose(job, UNSEEN, time.monotonic() - job.began)

    # -- starting ------------------------------------------------------------------

    def spawn(
        self, spec: Spawn, group: int, stdio: list[int], started: Callable[[Job], None]
    ) -> Job:
        """Start a job; ``started(job)`` follows when it is in its containers, or has failed."""
        traps = self._policy.traps()
        job = Job(self._new_id(), spec, group, traps)
        try:
            there = self._open_report(job)
        except OSError as error:
            raise _no_room(job, error) from None
        try:
            self._request(job, spec, [*stdio, there.fileno()])
        except BaseException:
            self._close_report(job)
            raise
        finally:
            there.close()
        self.by_id[job.id] = self._running[job.id] = job
        self._started[job.id] = started
        self._policy.changes.job(job)
        return job

    def _request(self, job: Job, spec: Spawn, descriptors: list[int]) -> None:
        """Ask the spawner for a worker. GovernorError: there is no room for its description."""
        try:
            description = self._describe(job, spec, job.traps)
        except OSError as error:
            raise _no_room(job, error) from None
        try:
            self._spawner.start_worker(job.id, [description, *descriptors])
        except OSError as error:
            raise _no_room(job, error) from None
        finally:
            os.close(description)

    def renew(self, request: Request) -> None:
        """Start a job's worker again, where it is not known whether there is one already.

        That one has heard no `Go` and never will, so it ends. Raises OSError.
        """
        job = self.by_id[request.job]
        self._close_report(job)
        with self._open_report(job) as there:
            os.dup2(there.fileno(), request.descriptors[-1], inheritable=False)

    def _open_report(self, job: Job) -> socket.socket:
        """A channel to a job's worker; returns the worker's end."""
        job.report, there = channel.pair()
        job.report.setblocking(False)  # others may hold its end open when the worker has gone
        self._heard[job.report.fileno()] = lambda: self._on_word(job)
        self._poller.add(job.report.fileno())
        return there

    def spawn_helper(self, argv: list[str], env: dict[str, str], group: Group) -> None:
        """Start a program of the governor's own, such as a release agent; nobody waits for it."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        spec = Spawn(
            request=0,
            name=os.path.basename(argv[0]),
            argv=[os.fsencode(argument) for argument in argv],
            callable=b"",
            env={os.fsencode(name): os.fsencode(value) for name, value in env.items()},
            cwd=b"/",
            umask=0o022,
            pgid=0,
            modules=[],
            containers={},
            timeout=None,
            grace=1.0,
            token="",
        )
        try:
            self.spawn(spec, group.id, [null, null, 2], lambda job: None)
        finally:
            os.close(null)

    def _describe(self, job: Job, spec: Spawn, traps: list[str]) -> int:
        """The specification in a memory file: arguments and environment may be megabytes."""
        job_spec = JobSpec(
            argv=spec.argv,
            callable=spec.callable,
            env=_with_shim(spec.env) if traps else spec.env,
            cwd=spec.cwd,
            umask=spec.umask,
            filter=self._filter(traps),
            cpus=self._policy.plans.confined(job.group, "cpus"),
            pgid=spec.pgid,
            modules=spec.modules,
        )
        descriptor = os.memfd_create("governor-job", os.MFD_CLOEXEC)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(encode(job_spec))
        return descriptor

    def _filter(self, traps: list[str]) -> bytes:
        key = tuple(traps)
        if key not in self._filters:
            self._filters[key] = seccomp.build(frozenset(traps), table())
        return self._filters[key]

    def _new_id(self) -> int:
        while True:
            self.last = self.last % MAX_JOB + 1
            if self.last not in self.by_id and self.last not in self._listening:
                return self.last

    # -- events --------------------------------------------------------------------

    def hear(self, ready: Set[object]) -> None:
        """Take in what workers report and which jobs have gone altogether."""
        for descriptor in self._heard.keys() & ready:
            if descriptor in self._heard:  # the one before may have ended this one, too
                self._heard[descriptor]()

    def on_started(self, message: Started) -> None:
        """The spawner forked the worker, or could not."""
        job = self.by_id.get(message.job)
        if job is None:
            return
        if message.errno:
            job.error = f"cannot fork for job {job.name}: {os.strerror(message.errno)}"
            self._finish(job, OWN_FAILURE << 8, 0)
            return
        job.pid = message.pid
        self._by_pid[job.pid] = job
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
            self._close_report(job)
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
            self._close_report(job)
        else:
            self._fail(job, f"its worker reports nonsense: {reason}")

    def _on_ready(self, job: Job, refusal: str, listener: int | None) -> None:
        job.refusal = refusal
        if refusal:
            job.traps = []
        if listener is not None:
            job.listener = listener
            self._listen(job, listener)
        job.ready = True
        self._policy.changes.job(job)
        self._place(job)

    def _listen(self, job: Job, listener: int) -> None:
        self._spawner.keep(LISTENER, job.id, listener)
        self._listening[job.id] = job
        self._heard[listener] = lambda: self._on_hangup(job)
        self._poller.add_hangup(listener)

    def _fail(self, job: Job, reason: str) -> None:
        """Do not let a worker become the job."""
        job.error = f"job {job.name} cannot be started: {reason}"
        self._close_report(job)
        signal_all([job.pid], signal.SIGKILL)

    def _place(self, job: Job) -> None:
        listener = -1 if job.listener is None else job.listener
        self._agent.place(job.id, job.pid, job.group, job.traps, listener)

    def hand_over(self, agent: AgentLink) -> None:
        """Tell a new agent of all jobs that the one before it has placed."""
        for job in self._listening.values():
            if job.placed and job.traps and job.listener is not None:
                agent.adopt(job.id, job.group, job.traps, job.listener)

    def place_again(self) -> None:
        """A new agent is to place those jobs that the one before has said nothing of."""
        for job in list(self._running.values()):
            if job.ready and not job.placed and job.error is None:
                self._place(job)

    def on_placed(self, message: agent_wire.Placed) -> None:
        """The agent admitted the worker to its containers, or met a limit."""
        job = self.by_id.get(message.job)
        if job is None or job.result is not None or job.placed:
            return
        if message.counter:
            job.error = (
                f"{self._policy.bounds.at_limit(message.counter)}; job {job.name} was not started"
            )
            signal_all([job.pid], signal.SIGKILL)
            return
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
            job.deadline = job.began + job.timeout
            self._timed[job.id] = job
        changes = self._policy.changes
        changes.job(job)
        changes.process(job.pid)
        self._tell("job-start", job)
        self._started.pop(job.id)(job)
        changes.flush()  # whoever comes after us knows of whatever has run
        if job.report is not None:
            if nodes := self._policy.plans.confined(job.group, "mems"):
                channel.send(job.report, Bind(nodes))
            channel.send(job.report, Go())

    def on_reaped(self, message: Reaped, user_ns: int) -> None:
        """A process of ours has ended; it may be a job's first one."""
        if message.group:
            use = Use(message.cpu, user_ns)
            self._policy.ledger.reap(message.pid, message.start, message.group, use)
            self._policy.changes.process(message.pid)
        job = self._by_pid.pop(message.pid, None)
        if job is None:
            return
        while job.report is not None and self._on_report(job):
            pass  # it may have said why it could not become the job
        if job.placed:
            self._policy.left(message.group or job.group, job.pid)
        self._finish(job, message.status, message.cpu)

    def _on_hangup(self, job: Job) -> None:
        """No task is left under the job's filter."""
        if job.listener is not None:
            del self._listening[job.id]
            self._forget(job.listener)
            self._spawner.drop(LISTENER, job.id)
            os.close(job.listener)
            job.listener = None
            self._policy.changes.job(job)

    def _forget(self, descriptor: int) -> None:
        del self._heard[descriptor]
        self._poller.remove(descriptor)

    def _close_report(self, job: Job) -> None:
        if job.report is not None:
            self._forget(job.report.fileno())
            job.report.close()
            job.report = None

    def _finish(self, job: Job, status: int, cpu: int) -> None:
        self._close_report(job)
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else None
        code = 128 - code if code < 0 else code
        if job.timed_out:
            code = TIMED_OUT
        elif not job.placed and (job.error is not None or not code):  # it has not run at all
            job.error = job.error or f"the worker of job {job.name} has ended without a word"
            code, number = OWN_FAILURE, None
        if not job.placed:
            self._policy.withdraw(job.group)
            self._started.pop(job.id)(job)
        self._running.pop(job.id, None)
        self._timed.pop(job.id, None)
        wall = time.monotonic() - job.began
        used = max(0, cpu - job.base_cpu) / 1e9
        refusal = job.refusal or None
        self._end(job, JobResult(code, number, wall, used, job.timed_out, job.error, refusal))

    def _end(self, job: Job, result: JobResult) -> None:
        job.result = result
        self._policy.changes.job(job)
        why = {"reason": result.error} if result.error else {}
        self._tell("job-end", job, exit_code=result.exit_code, **why)
        self._ended(job)
        self._lately_ended.append(job.id)
        self._forget_old()

    def _forget_old(self) -> None:
        """Forget jobs that ended long ago, unless processes of theirs live on under the id."""
        for _ in range(len(self._lately_ended) - ENDED_MAX):
            id = self._lately_ended.popleft()
            if self.by_id[id].listener is None:
                self._policy.changes.job(self.by_id.pop(id))
            else:
                self._lately_ended.append(id)

    # -- ending --------------------------------------------------------------------

    def send_signal(self, job: Job, number: int) -> None:
        """Signal a job's first process; nothing happens when it has ended already. EINVAL."""
        check_signal(number)
        if job.result is None and job.pid:
            try:
                os.kill(job.pid, number)
            except ProcessLookupError:
                pass
            except OSError as error:
                raise GovernorError(error.errno or 0, f"cannot signal job {job.name}") from None

    def stop(self, jobs: Iterable[int], grace: float, done: Callable[[], None]) -> None:
        """End jobs with everything they started: TERM, KILL after ``grace`` seconds."""
        wanted = set(jobs)
        self._endings.begin(
            lambda: self._members(wanted),
            grace,
            done,
            over=lambda: not wanted & self._running.keys(),
        )

    def tick(self) -> float | None:
        """Do what is due by the clock; returns the seconds until something is due again."""
        now = time.monotonic()
        for job in list(self._timed.values()):
            if job.deadline is not None and now >= job.deadline:
                del self._timed[job.id]
                job.timed_out = True
                self._policy.changes.job(job)
                self.stop([job.id], job.grace, lambda: None)
        due = [job.deadline for job in self._timed.values() if job.deadline is not None]
        return max(0.0, min(due) - now) if due else None

    def _members(self, jobs: Collection[int]) -> list[int]:
        """Every process of these jobs, wherever it has daemonized itself to."""
        members = [pid for pid, tag in self._policy.members().items() if tag.job in jobs]
        # A worker that has not been placed carries no tag yet.
        early = [job.pid for id in jobs if (job := self._running.get(id))]
        return [*members, *(pid for pid in early if pid and pid not in members)]

    def _tell(self, kind: str, job: Job, **fields: Value) -> None:
        events = self._policy.events
        events.publish(kind, "", "", job=job.id, name=job.name, pid=job.pid, **fields)


def _no_room(job: Job, error: OSError) -> GovernorError:
    """The supervisor is out of something itself, descriptors mostly."""
    number = error.errno or errno.EIO
    return GovernorError(number, f"job {job.name} cannot be started: {os.strerror(number)}")


def _because(number: int) -> str:
    return f": {os.strerror(number)}" if 0 < number <= _ERRNO_MAX else ""


def _with_shim(env: dict[bytes, bytes]) -> dict[bytes, bytes]:
    decoded = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    return {os.fsencode(n): os.fsencode(v) for n, v in shim.environment(decoded).items()}
