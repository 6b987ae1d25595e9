"""A governor of one's own."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from governor.api.container import Container, snapshot
from governor.api.events import follow
from governor.api.hierarchy import Hierarchy
from governor.api.job import Command, Job, Stream, name_of, spawn_request
from governor.api.runs import Runs
from governor.client import DEADLINE, Client
from governor.errors import GovernorError
from governor.launch import (
    AGENT_TIMEOUT,
    AGENT_TIMEOUT_LEAST,
    AGENT_TIMEOUT_MOST,
    Launched,
    launch,
)
from governor.results import (
    ContainerReport,
    Event,
    HierarchyReport,
    JobReport,
    JobResult,
    Place,
    StatusReport,
)
from governor.wire import client as wire

if TYPE_CHECKING:
    from governor.api.event_log import EventLog
    from governor.rundir import Connected
    from governor.serving import Serving


WAIT_SLICE = 60.0
"""Seconds that the supervisor waits for the end of a job before it has to be asked again."""


class Governor(Runs):
    """A governor of one's own: supervisor, spawner and agent, ended by `close`.

    ``metrics``: serve Prometheus text on this port of 127.0.0.1 (0: one that is free; see
    ``metrics_port``), or as a `governor.serving.Serving` says. ``agent_timeout``: seconds in
    which the process that enforces has to answer; one that does not is killed and replaced, and
    trapped calls wait until then. ``events``: a file that a line of JSON is appended to for each
    event, as by `log_events`. ``fork``, ``directory``, ``lock`` and ``state`` are for the
    command line: start by a plain fork, which is only safe while this process has one thread, in
    a directory that `governor.rundir.claim` has made and locked, and record everything in
    ``state``. One that runs already is had by `connect`.
    """

    def __init__(
        self,
        *,
        metrics: int | Serving | None = None,
        agent_timeout: float | None = None,
        events: str | os.PathLike[str] | None = None,
        fork: bool = False,
        directory: str | None = None,
        lock: int | None = None,
        state: str = "",
    ) -> None:
        if agent_timeout is None:
            agent_timeout = AGENT_TIMEOUT
        if not AGENT_TIMEOUT_LEAST <= agent_timeout <= AGENT_TIMEOUT_MOST:
            allowed = f"{AGENT_TIMEOUT_LEAST} to {AGENT_TIMEOUT_MOST:.0f} s"
            raise GovernorError(
                errno.EINVAL, f"agent_timeout {agent_timeout}: allowed are {allowed}"
            )
        log = None
        if events is not None:
            from governor.api.event_log import EventLog

            log = EventLog(events)
        try:
            self._open(launch(fork, directory, agent_timeout, lock, state))
        except BaseException:
            if log is not None:
                log.close()
            raise
        if log is not None:
            self._log(log)
        if metrics is not None:
            try:
                self.serve_metrics(metrics)
            except BaseException:
                self.close()
                raise

    @classmethod
    def connect(cls, directory: str | os.PathLike[str] | None = None) -> Self:
        """The governor that `governor up` runs in ``directory``, by default the usual one.

        `close` only disconnects from it. ENOENT: none runs there (`NotRunning`). EACCES: it is
        another user's.
        """
        from governor import rundir

        governor = cls.__new__(cls)
        governor._open(rundir.find(rundir.directory(directory)))
        return governor

    def _open(self, link: Launched | Connected) -> None:
        self._link = link
        self.client = Client(link.directory, link.gone)
        self.client.owner = weakref.ref(self)
        self.metrics_port: int | None = None
        self._exporter: Any = None
        self._logs: list[EventLog] = []

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self._link.pid

    @property
    def directory(self) -> str:
        """Where its sockets are."""
        return self._link.directory

    @property
    def nonce(self) -> int:
        """What marks its processes, 0 for one that was connected to."""
        return self._link.nonce

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- hierarchies ---------------------------------------------------------------

    def mount(self, name: str, subsystems: Iterable[str]) -> Hierarchy:
        """Activate a hierarchy; one with exactly these subsystems is reused.

        EINVAL: no subsystem or a bad name. ENOENT: unknown subsystem. EBUSY: one of them
        is bound to another hierarchy.
        """
        wanted = list(subsystems)
        name, bound = self.client.ask(lambda n: wire.Mount(n, name, wanted))
        return Hierarchy(self.client, name, bound)

    def umount(self, name: str) -> None:
        """Unmount a hierarchy; it ends unless it has sub-containers. ENOENT."""
        self.client.ask(lambda n: wire.Umount(n, name))

    def hierarchies(self) -> list[HierarchyReport]:
        """All hierarchies, first that of the unbound subsystems, ``0``."""
        return [HierarchyReport(*row) for row in self.client.ask(wire.Hierarchies)]

    def hierarchy(self, name: str) -> Hierarchy:
        """The hierarchy ``name``. ENOENT."""
        for report in self.hierarchies()[1:]:
            if report.name == name:
                return Hierarchy(self.client, name, report.subsystems)
        raise GovernorError(errno.ENOENT, f"no hierarchy {name!r}")

    def where(self, pid: int) -> list[Place]:
        """Where a process is, in every hierarchy. ESRCH."""
        return [Place(*row) for row in self.client.ask(lambda n: wire.Where(n, pid))]

    def status(self) -> StatusReport:
        """What this governor is and has to do."""
        return StatusReport(*self.client.ask(wire.Status)[: len(StatusReport._fields)])

    def state(self) -> tuple[str, str]:
        """The directory in which this governor records everything, and why it cannot, if so.

        Both are empty for one that records nothing.
        """
        path, failure = self.client.ask(wire.State)
        return path, failure

    def events(
        self,
        after: int = -1,
        *,
        kinds: Collection[str] | None = None,
        container: Container | None = None,
    ) -> Iterator[Event]:
        """What happens from now on, or after event number ``after``, for ever.

        ``kinds``: only these. ``container``: only what concerns it or what is below it, see
        `Event.concerns`. Should more have happened than is kept, an event of kind ``lost`` says
        how many, whatever is asked for.
        """
        place = None if container is None else (container.hierarchy.name, container.path)
        while True:
            after, events = follow(self.client, after)
            for event in events:
                wanted = kinds is None or event.kind in kinds
                if (wanted and (place is None or event.concerns(*place))) or event.kind == "lost":
                    yield event

    def log_events(self, path: str | os.PathLike[str]) -> None:
        """Append a line of JSON for each event to a file, until `close`.

        The first is the oldest that is kept. A file that was renamed or removed is opened anew.
        Raises the GovernorError of a file that cannot be opened.
        """
        from governor.api.event_log import EventLog

        self._log(EventLog(path))

    def _log(self, log: EventLog) -> None:
        self._logs.append(log)
        log.follow(self.client)

    def containers(self, endings: Iterable[str] | None = None) -> list[ContainerReport]:
        """Every container of every hierarchy, counted now.

        ``endings``: only with control files whose names end in one of these, such as ``.held``;
        half the time or less where there are thousands of containers.
        """
        return snapshot(self.client, endings)

    def enforcement(self) -> dict[str, str]:
        """Each bound subsystem's level: the lowest of its containers'."""
        order = ["enforced", "partial", "observed"]
        levels: dict[str, str] = {}
        for report in self.containers():
            for subsystem, level in report.level.items():
                levels[subsystem] = max(level, levels.get(subsystem, level), key=order.index)
        return levels

    # -- jobs ----------------------------------------------------------------------

    def spawn(
        self,
        target: Command | Callable[..., object],
        *args: object,
        name: str | None = None,
        containers: Iterable[Container] = (),
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        timeout: float | None = None,
        grace: float = 2.0,
        foreground: bool = False,
    ) -> Job:
        """Start a program (a list of arguments) or a callable with ``args`` as a job.

        ``containers``: at most one per hierarchy [EINVAL]; the job is in the root of the
        others. ``env`` replaces the environment. A stream is None (this process's own), a
        descriptor or an open file. After ``timeout`` seconds the job is ended: TERM to all
        its processes, KILL after ``grace`` seconds. ``foreground``: stay in this process's
        session and process group, with its terminal; otherwise the job has a session of its own.
        Ctrl-C, or any exception here, ends it in the same way: nobody has the job then.
        """
        request = spawn_request(
            self.client,
            target,
            args,
            name=name,
            containers=containers,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            timeout=timeout,
            grace=grace,
            foreground=foreground,
        )
        id, pid, traps = self.client.ask(request, undo=lambda job: self._end([job[0]], grace))
        return Job(self, id, name or name_of(target), pid, traps)

    def jobs(self) -> list[JobReport]:
        """The jobs there are, and those that have ended lately."""
        return [JobReport(*row) for row in self.client.ask(wire.Jobs)]

    def wait(self, jobs: Iterable[Job], timeout: float | None = None) -> set[Job]:
        """Wait until at least one of ``jobs`` has ended; those that have, none on timeout."""
        jobs = list(jobs)
        done = {job for job in jobs if job.result is not None}
        if done or not jobs:
            return done
        ids = [job.id for job in jobs]
        for id, *outcome in self._wait(ids, timeout):
            for job in jobs:
                if job.id == id:
                    job.result = JobResult.read(outcome)
                    done.add(job)
        return done

    def _wait(self, ids: list[int], timeout: float | None) -> list[list[Any]]:
        """The results of those that have ended, asked for anew now and then.

        So the supervisor is done in time with the waits of clients that were killed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            slice_ = WAIT_SLICE if left is None else min(left, WAIT_SLICE)
            ended: list[list[Any]] = self.client.ask(
                lambda n, seconds=slice_: wire.Wait(n, ids, seconds),  # type: ignore[misc]
                None if left is None else slice_ + DEADLINE,
            )
            if ended or slice_ == left:
                return ended

    def stop(self, jobs: Iterable[Job], grace: float = 2.0) -> None:
        """End jobs with every process they started: TERM, and KILL after ``grace`` seconds."""
        ids = [job.id for job in jobs]
        if ids:
            self._end(ids, grace)

    def _end(self, ids: list[int], grace: float) -> None:
        self.client.ask(lambda n: wire.StopJobs(n, ids, grace), grace + DEADLINE)

    # -- the end -------------------------------------------------------------------

    def shutdown(self, grace: float = 1.0) -> None:
        """End every job (TERM, KILL after ``grace`` seconds) and the governor, whoever's it is.

        ETIMEDOUT: it has not ended.
        """
        try:
            self.client.ask(lambda n: wire.Shutdown(n, grace), grace + DEADLINE)
        except GovernorError as error:
            # EIO: it was quicker to end than its answer.
            if error.errno != errno.EIO:
                raise
        if not isinstance(self._link, Launched) and not self._link.wait(DEADLINE):
            raise GovernorError(errno.ETIMEDOUT, f"governor {self.pid} has not ended")

    def close(self, grace: float = 1.0) -> None:
        """Leave a governor that was connected to. One of one's own is ended, as by `shutdown`."""
        if not self._link.pid:
            return
        if self._exporter is not None:
            self._exporter.close()
        if isinstance(self._link, Launched):
            for log in [log for log in self._logs if log.failing]:
                log.leave(self.client)  # nobody is to wait for it
            # Refused means that it is gone already, or ends when we let go of it.
            with contextlib.suppress(GovernorError):
                self.shutdown(grace)
            self._close_logs()
        for log in self._logs:
            log.leave(self.client)
        self.client.close()
        self._close_logs()
        self._link.close()

    def forget(self) -> None:
        """In a fork of this process: leave it to the parent, with which it ends."""
        if isinstance(self._link, Launched):
            self._link.forget()
        self._link.close()

    def _close_logs(self) -> None:
        while self._logs:
            self._logs.pop().close()

    def back_out(self) -> None:
        """Undo a start: end it, unless it goes on with jobs of before.

        These must not pay for it. They go on as after the death of a supervisor.
        """
        with contextlib.suppress(GovernorError):
            if self.state()[0] and any(report.exit_code is None for report in self.jobs()):
                os.kill(self.pid, signal.SIGKILL)
        self.close()

    def serve_metrics(self, metrics: int | Serving) -> None:
        """Serve Prometheus text on this port of 127.0.0.1, 0: one that is free; or as it says."""
        from governor.metrics import Exporter
        from governor.serving import Serving

        serving = Serving(metrics) if isinstance(metrics, int) else metrics
        self._exporter = Exporter(self._scrape, serving)
        self.metrics_port = self._exporter.port

    def _scrape(self, shapes: dict[str, int], keep: float) -> dict[str, Any]:
        found: dict[str, Any] = self.client.ask(lambda n: wire.Scrape(n, shapes, keep))
        return found | {"state": self.state()}
