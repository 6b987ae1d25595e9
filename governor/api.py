"""The Python API: a governor with its hierarchies, containers and jobs."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import IO, Any, Self

from governor.client import DEADLINE, Client
from governor.errors import GovernorError
from governor.launch import launch
from governor.results import ContainerReport as ContainerReport
from governor.results import JobResult as JobResult
from governor.results import Value
from governor.wire import client as wire

Stream = int | IO[Any] | None
Command = Sequence[str | bytes | os.PathLike[str]]


class Container:
    """A node of a hierarchy. Its control files are read and written like a mapping."""

    def __init__(self, client: Client, hierarchy: Hierarchy, path: str) -> None:
        self._client = client
        self.hierarchy = hierarchy
        self.path = path

    def __repr__(self) -> str:
        return f"<container {self.hierarchy.name}:{self.path}>"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Container) and self.hierarchy.name == other.hierarchy.name
        return same and isinstance(other, Container) and self.path == other.path

    def __hash__(self) -> int:
        return hash((self.hierarchy.name, self.path))

    def __getitem__(self, file: str) -> Value:
        """Read a control file. ENOENT: there is none of that name."""
        value: Value = self._ask(wire.Read, file)
        return value

    def __setitem__(self, file: str, value: Value) -> None:
        """Write a control file, in force on return.

        ENOENT: there is none of that name. EACCES: read-only. EINVAL: not an allowed value.
        """
        if type(value) not in (int, str):
            raise GovernorError(
                errno.EINVAL, f"{file} takes a whole number or a text, not {value!r}"
            )
        self._ask(wire.Write, file, value)

    def files(self) -> dict[str, Value]:
        """All control files with their values, read at one moment."""
        for report in snapshot(self._client):
            if (report.hierarchy, report.path) == (self.hierarchy.name, self.path):
                return report.files
        raise GovernorError(errno.ENOENT, f"no container {self.hierarchy.name}:{self.path}")

    @property
    def tasks(self) -> list[int]:
        """The pids of the processes in this container, without its sub-containers."""
        pids: list[int] = self._ask(wire.Tasks)
        return pids

    def attach(self, pid: int) -> None:
        """Move a running process here, with its charge and its children to come.

        ESRCH: it is gone. EACCES: it is another user's. Its children that exist stay.
        """
        self._ask(wire.Attach, pid)

    def mkdir(self, name: str) -> Container:
        """Make a sub-container. EEXIST, ENOENT."""
        return self.hierarchy.mkdir(f"{self.path.rstrip('/')}/{name}")

    def rmdir(self) -> None:
        """Remove the container. EBUSY while it has children or processes."""
        self._ask(wire.Rmdir)

    def _ask(self, verb: Callable[..., Any], *args: object) -> Any:
        return self._client.ask(lambda n: verb(n, self.hierarchy.name, self.path, *args))


class Hierarchy:
    """A tree of containers with the subsystems bound to it."""

    def __init__(self, client: Client, name: str, subsystems: list[str]) -> None:
        self._client = client
        self.name = name
        self.subsystems = subsystems

    def __repr__(self) -> str:
        return f"<hierarchy {self.name}: {', '.join(self.subsystems)}>"

    @property
    def root(self) -> Container:
        """The root container, where every process is that was put nowhere else."""
        return Container(self._client, self, "/")

    def __getitem__(self, path: str) -> Container:
        """The container at ``path``. ENOENT."""
        path = self._client.ask(lambda n: wire.Lookup(n, self.name, path))
        return Container(self._client, self, path)

    def mkdir(self, path: str) -> Container:
        """Make a container. EEXIST: it is there already. ENOENT: its parent is not."""
        path = self._client.ask(lambda n: wire.Mkdir(n, self.name, path))
        return Container(self._client, self, path)


class Job:
    """A program or a callable running in its containers."""

    def __init__(self, governor: Governor, id: int, name: str, pid: int, traps: list[str]) -> None:
        self._governor = governor
        self.id = id
        self.name = name
        self.pid = pid
        self.traps = traps
        self.result: JobResult | None = None

    def __repr__(self) -> str:
        return f"<job {self.id} {self.name!r}, pid {self.pid}>"

    def wait(self, timeout: float | None = None) -> JobResult:
        """Wait until the job's first process has ended. TimeoutError after ``timeout`` seconds."""
        if self.result is None:
            self._governor.wait([self], timeout)
        if self.result is None:
            raise TimeoutError(f"job {self.name!r} still runs after {timeout} s")
        return self.result

    def signal(self, number: int) -> None:
        """Send a signal to the job's first process; nothing happens when that has ended."""
        self._governor.client.ask(lambda n: wire.Signal(n, self.id, number))

    def kill(self) -> None:
        """End the job's first process with SIGKILL."""
        self.signal(signal.SIGKILL)


class Governor:
    """A governor of one's own: supervisor, spawner and agent, ended by `close`.

    ``metrics``: serve Prometheus text on this port of 127.0.0.1 (0: one that is free; see
    ``metrics_port``). ``fork`` is for the command line: start by a plain fork, which is
    only safe while this process has one thread.
    """

    def __init__(self, *, metrics: int | None = None, fork: bool = False) -> None:
        self._launched = launch(fork)
        self.client = Client(self._launched.directory, self._launched.owner)
        self.metrics_port: int | None = None
        self._exporter: Any = None
        if metrics is not None:
            try:
                self._serve_metrics(metrics)
            except BaseException:
                self.close()
                raise

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

    def containers(self) -> list[ContainerReport]:
        """Every container of every hierarchy, counted now."""
        return snapshot(self.client)

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
        """
        argv, function = _target(target, args)
        places: dict[str, str] = {}
        for container in containers:
            other = places.setdefault(container.hierarchy.name, container.path)
            if other != container.path:
                raise GovernorError(
                    errno.EINVAL, f"{other} and {container.path} are in one hierarchy; name one"
                )
        token = self.client.leave_stdio(
            [_descriptor(own, given) for own, given in enumerate((stdin, stdout, stderr))]
        )
        umask = os.umask(0o77)
        os.umask(umask)
        request = partial(
            wire.Spawn,
            name=name or _name(target),
            argv=argv,
            callable=function,
            env={os.fsencode(k): os.fsencode(v) for k, v in (env or os.environ).items()},
            cwd=_directory(cwd),
            umask=umask,
            pgid=os.getpgrp() if foreground else 0,
            modules=sys.path if function else [],
            containers=places,
            timeout=timeout,
            grace=grace,
            token=token,
        )
        id, pid, traps = self.client.ask(request)
        return Job(self, id, name or _name(target), pid, traps)

    def wait(self, jobs: Iterable[Job], timeout: float | None = None) -> set[Job]:
        """Wait until at least one of ``jobs`` has ended; those that have, none on timeout."""
        jobs = list(jobs)
        done = {job for job in jobs if job.result is not None}
        if done or not jobs:
            return done
        ids = [job.id for job in jobs]
        limit = None if timeout is None else timeout + DEADLINE
        for id, *outcome in self.client.ask(lambda n: wire.Wait(n, ids, timeout), limit):
            for job in jobs:
                if job.id == id:
                    job.result = JobResult(*outcome)
                    done.add(job)
        return done

    def stop(self, jobs: Iterable[Job], grace: float = 2.0) -> None:
        """End jobs with every process they started: TERM, and KILL after ``grace`` seconds."""
        ids = [job.id for job in jobs]
        if ids:
            self.client.ask(lambda n: wire.StopJobs(n, ids, grace), grace + DEADLINE)

    # -- the end -------------------------------------------------------------------

    def close(self, grace: float = 1.0) -> None:
        """End every job (TERM, KILL after ``grace`` seconds) and the governor itself."""
        if not self._launched.pid:
            return
        if self._exporter is not None:
            self._exporter.close()
        # Refused means that it is gone already, or ends when we let go of it.
        with contextlib.suppress(GovernorError):
            self.client.ask(lambda n: wire.Shutdown(n, grace), grace + DEADLINE)
        self.client.close()
        self._launched.close()

    def _serve_metrics(self, port: int) -> None:
        from governor.metrics import Exporter

        self._exporter = Exporter(self.containers, port)
        self.metrics_port = self._exporter.port


def snapshot(client: Client) -> list[ContainerReport]:
    """Ask for all containers."""
    return [ContainerReport(*report) for report in client.ask(wire.Snapshot)]


def _target(
    target: Command | Callable[..., object], args: tuple[object, ...]
) -> tuple[list[bytes], bytes]:
    """A job as arguments for exec, or as a pickled callable."""
    if callable(target):
        from multiprocess.reduction import ForkingPickler

        call: tuple[object, ...] = (target, args, {})
        try:
            # With only those global variables that are used.
            return [], bytes(ForkingPickler.dumps(call, None, recurse=True))
        except RecursionError:  # a closure that calls itself
            return [], bytes(ForkingPickler.dumps(call, None, recurse=False))
    argv = [os.fsencode(argument) for argument in target]
    if not argv or args:
        raise GovernorError(errno.EINVAL, "a program is given as one list, with at least its name")
    if any(b"\0" in argument for argument in argv):
        raise GovernorError(errno.EINVAL, "an argument of a program cannot contain a NUL byte")
    return argv, b""


def _directory(cwd: str | os.PathLike[str] | None) -> bytes:
    """The working directory for a job, which does not depend on where governor was started."""
    try:
        return os.fsencode(os.path.abspath(cwd or "."))
    except FileNotFoundError:  # it has been removed, and can still be worked in
        return b"/proc/%d/cwd" % os.getpid()


def _name(target: Command | Callable[..., object]) -> str:
    if callable(target):
        return getattr(target, "__name__", "callable")
    return os.path.basename(os.fsdecode(target[0]))


def _descriptor(own: int, stream: Stream) -> int:
    if stream is None:
        return own
    return stream if isinstance(stream, int) else stream.fileno()
