"""A job, as clients see it, and what can be one."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from governor.client import Client
from governor.errors import GovernorError
from governor.results import JobResult
from governor.wire import client as wire

if TYPE_CHECKING:
    from governor.api.container import Container
    from governor.api.governor import Governor

Stream = int | IO[Any] | None
Command = Sequence[str | bytes | os.PathLike[str]]


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

    def wait(self, timeout: float | None = None, check: bool = False) -> JobResult:
        """Wait until the job's first process has ended. TimeoutError after ``timeout`` seconds.

        ``check``: raise `JobFailed` when it did not succeed, see `JobResult.check`.
        """
        if self.result is None:
            self._governor.wait([self], timeout)
        if self.result is None:
            raise TimeoutError(f"job {self.name!r} still runs after {timeout} s")
        return self.result.check(self.name) if check else self.result

    def signal(self, number: int) -> None:
        """Send a signal to the job's first process; nothing happens when that has ended."""
        self._governor.client.ask(lambda n: wire.Signal(n, self.id, number))

    def kill(self) -> None:
        """End the job's first process with SIGKILL."""
        self.signal(signal.SIGKILL)


def name_of(target: Command | Callable[..., object]) -> str:
    """What a job is called that was given no name."""
    if callable(target):
        return getattr(target, "__name__", "callable")
    return os.path.basename(os.fsdecode(target[0]))


def spawn_request(
    client: Client,
    target: Command | Callable[..., object],
    args: tuple[object, ...],
    *,
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
) -> Callable[[int], wire.Spawn]:
    """The request for a job, but for its number; its streams are left with the supervisor.

    Arguments as for `Governor.spawn`. EINVAL: one of them is wrong.
    """
    argv, function = job_of(target, args)
    places: dict[str, str] = {}
    for container in containers:
        other = places.setdefault(container.hierarchy.name, container.path)
        if other != container.path:
            raise GovernorError(
                errno.EINVAL, f"{other} and {container.path} are in one hierarchy; name one"
            )
    token = client.leave_stdio(
        [descriptor_of(own, given) for own, given in enumerate((stdin, stdout, stderr))]
    )
    umask = os.umask(0o77)
    os.umask(umask)
    return partial(
        wire.Spawn,
        name=name or name_of(target),
        argv=argv,
        callable=function,
        env={os.fsencode(k): os.fsencode(v) for k, v in (env or os.environ).items()},
        cwd=directory_of(cwd),
        umask=umask,
        pgid=os.getpgrp() if foreground else 0,
        modules=sys.path if function else [],
        containers=places,
        timeout=timeout,
        grace=grace,
        token=token,
    )


def job_of(
    target: Command | Callable[..., object], args: tuple[object, ...]
) -> tuple[list[bytes], bytes]:
    """A job as arguments for exec, or as a pickled callable."""
    if callable(target):
        from workers.pickles import by_value

        return [], by_value((target, args, {}))
    argv = [os.fsencode(argument) for argument in target]
    if not argv or args:
        raise GovernorError(errno.EINVAL, "a program is given as one list, with at least its name")
    if any(b"\0" in argument for argument in argv):
        raise GovernorError(errno.EINVAL, "an argument of a program cannot contain a NUL byte")
    return argv, b""


def directory_of(cwd: str | os.PathLike[str] | None) -> bytes:
    """The working directory for a job, which does not depend on where governor was started."""
    try:
        return os.fsencode(os.path.abspath(cwd or "."))
    except FileNotFoundError:  # it has been removed, and can still be worked in
        return b"/proc/%d/cwd" % os.getpid()


def descriptor_of(own: int, stream: Stream) -> int:
    """The descriptor of a stream; ``own`` is this process's."""
    if stream is None:
        return own
    return stream if isinstance(stream, int) else stream.fileno()
