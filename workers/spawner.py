"""The spawner: forks everything and reaps it, like an init.

It is a process of its own, with one thread and no ZeroMQ, because forking a process with
threads is unsafe. Whatever loses its parent becomes its child (prctl(2),
PR_SET_CHILD_SUBREAPER), so no end goes unseen. When the supervisor goes away, it kills
what is left of the jobs and removes the governor's directory.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterable

from governor.results import OWN_FAILURE
from governor.wire.spawner import (
    TO_SPAWNER,
    Quit,
    Reaped,
    StartAgent,
    Started,
    StartWorker,
    UserTime,
)
from workers import channel, membership

_PR_SET_CHILD_SUBREAPER = 36
_KILL_AGAIN_MS = 10
_SWEEP_SECONDS = 5.0

RECORDS = frozenset({"pid", "nonce", "state"})
"""What a governor that is found by its directory has written there about itself."""


class Spawner:
    """Serves one supervisor over ``end`` until told to quit or alone."""

    def __init__(self, end: socket.socket, nonce: int) -> None:
        self._end = end
        self._nonce = nonce
        self._workers: set[int] = set()
        self._agents: set[int] = set()
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Fork on request, report every end."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._end.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        """Carry out one request; False when it is time to go."""
        received = channel.receive(self._end, TO_SPAWNER)
        if received is None:
            return False
        message, descriptors = received
        try:
            match message:
                case StartAgent(endpoint):
                    self._start(0, lambda: self._become_agent(endpoint, *descriptors))
                case StartWorker(job):
                    self._start(job, lambda: self._become_worker(descriptors))
                case Quit():
                    return False
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, job: int, become: Callable[[], None]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            channel.send(self._end, Started(job, 0, error.errno or 0))
            return
        if pid == 0:
            try:
                self._leave_parent()
                become()
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(OWN_FAILURE)
        (self._workers if job else self._agents).add(pid)
        channel.send(self._end, Started(job, pid, 0))

    def _leave_parent(self) -> None:
        """Drop what is the spawner's: its sockets and its signal handling."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._wake)
        self._end.close()

    def _become_agent(self, endpoint: str, end: int, estate: int) -> None:
        from workers import agent

        take_descriptors()
        agent.main(endpoint, socket.socket(fileno=end), self._nonce, estate)
        os._exit(0)

    def _become_worker(self, descriptors: list[int]) -> None:
        from workers import bootstrap

        bootstrap.main(*descriptors)

    def _reap(self) -> None:
        """Report every child that has ended; it keeps its tag until it is reaped."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            for report in self._bury(ended.si_pid):
                channel.send(self._end, report)

    def _bury(self, pid: int) -> tuple[UserTime, Reaped]:
        from workers import cpu

        tag = membership.read(pid)
        sample = cpu.sample(pid)
        _, status, usage = os.wait4(pid, 0)
        self._workers.discard(pid)
        self._agents.discard(pid)
        reaped = Reaped(
            pid,
            tag.job if tag else 0,
            tag.group if tag else 0,
            status,
            round((usage.ru_utime + usage.ru_stime) * 1e9),
            sample.start if sample else 0,
        )
        return UserTime(round(usage.ru_utime * 1e9)), reaped

    def kill_all(self) -> None:
        """Kill every job's processes, again until none is left to fork another; agents go last.

        A process that was attached from outside lives on; it only loses its tag.
        """
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        while victims := self._victims() or self._agents:
            kill(victims)
            if poll.poll(_KILL_AGAIN_MS):
                os.read(self._wake, 4096)
            self._reap()

    def _victims(self) -> set[int]:
        return self._workers | job_processes(self._nonce)


def job_processes(nonce: int) -> set[int]:
    """Every process of a job; those attached from outside only lose their tag."""
    members = membership.scan(nonce)
    for pid in [pid for pid, tag in members.items() if not tag.job]:
        membership.clear(pid)
        del members[pid]
    return set(members)


def kill(pids: Iterable[int]) -> None:
    """Kill processes, as far as they are there and ours."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def sweep(nonce: int, directory: str) -> None:
    """Do the spawner's last work for it if it was killed; there is none to do otherwise."""
    end_leftovers(nonce)
    remove_directory(directory)


def end_leftovers(nonce: int) -> None:
    """Kill the jobs of a governor whose spawner is gone."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while (victims := job_processes(nonce)) and time.monotonic() < deadline:
        kill(victims)
        time.sleep(_KILL_AGAIN_MS / 1000)  # they are no children of ours, so nobody tells us


def start(nonce: int, directory: str) -> tuple[int, socket.socket]:
    """Fork the spawner; returns its pid and the supervisor's end of the socket to it.

    To be called before this process has threads or ZeroMQ sockets.
    """
    here, there = channel.pair()
    if pid := os.fork():
        there.close()
        return pid, here
    try:
        here.close()
        _main(there, nonce, directory)
    finally:
        os._exit(0)


def _main(end: socket.socket, nonce: int, directory: str) -> None:
    gc.freeze()  # children share the pages of everything that exists now
    spawner = Spawner(end, nonce)
    become_subreaper()
    try:
        spawner.serve()
    finally:
        spawner.kill_all()
        remove_directory(directory)


def take_descriptors() -> None:
    """Let this process have as many as the host allows: every job that runs needs some.

    For the supervisor and the agent; what jobs may have is as it was in the caller.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def become_subreaper() -> None:
    """Orphans below this process become its children, not init's."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def remove_directory(directory: str) -> None:
    """Remove the sockets and records in a governor's directory, and it, unless a log is there."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(directory):
            if entry.name in RECORDS or stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                os.unlink(entry.path)
    with contextlib.suppress(OSError):
        os.rmdir(directory)
