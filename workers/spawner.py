"""The spawner: forks everything and reaps it, like an init.

It is a process of its own, with one thread and no ZeroMQ, because forking a process with
threads is unsafe. Whatever loses its parent becomes its child (prctl(2),
PR_SET_CHILD_SUBREAPER), so no end goes unseen. When the supervisor goes away, it kills
what is left of the jobs and removes the governor's directory. When it fails itself, it leaves
them to the supervisor, which becomes their parent and has another spawner started by `main`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable, Sequence, Set

from governor.results import OWN_FAILURE
from governor.wire.codec import Message
from governor.wire.spawner import TO_SPAWNER, Alive, Probe, Quit, StartAgent, Started, StartWorker
from workers import channel, membership
from workers.heirloom import Heirloom
from workers.undertaker import Undertaker, children, is_zombie

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILL_AGAIN_MS = 10
_SWEEP_SECONDS = 5.0

RECORDS = frozenset({"pid", "nonce", "state"})
"""What a governor that is found by its directory has written there about itself."""


class Spawner:
    """Serves one supervisor over ``end`` until told to quit or alone.

    With an ``heirloom`` it goes on alone, and serves the next supervisor.
    """

    def __init__(self, end: socket.socket, nonce: int, heirloom: Heirloom | None = None) -> None:
        self._end = end
        self._nonce = nonce
        self._heirloom = heirloom
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._undertaker = Undertaker(nonce, self._report)
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # The kernel hangs up on a process group without a leader of which a member is stopped.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: None)
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
                self._undertaker.bury_all()
            if self._end.fileno() in ready and not self._obey():
                return

    def _report(self, message: Message) -> None:
        if self._heirloom is not None:
            self._heirloom.note(message)
        channel.send(self._end, message)

    def _obey(self) -> bool:
        """Carry out one request; False when it is time to go."""
        received = channel.receive(self._end, TO_SPAWNER)
        if received is None:
            heirloom = self._heirloom
            return heirloom is not None and heirloom.expected and self._await_heir(heirloom)
        message, descriptors = received
        try:
            match message:
                case StartAgent() | StartWorker() if not descriptors:
                    job = message.job if isinstance(message, StartWorker) else 0
                    channel.send(self._end, Started(job, 0, errno.EMFILE))
                case StartAgent(endpoint):
                    self._start(0, lambda: self._become_agent(endpoint, *descriptors))
                case StartWorker(job):
                    self._start(job, lambda: self._become_worker(descriptors))
                case Probe(number):
                    channel.send(self._end, Alive(number))
                case Quit():
                    return False
                case _ if self._heirloom is not None:
                    self._heirloom.obey(message, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _await_heir(self, heirloom: Heirloom) -> bool:
        """The supervisor has died: bury those who end, until there is another one."""
        while True:
            ready, _, _ = select.select([self._wake, heirloom.fileno()], [], [])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._undertaker.bury_all()
            heir = heirloom.accept() if heirloom.fileno() in ready else None
            if heir is not None:
                with heir:  # whoever waits for our end goes by its number
                    os.dup2(heir.fileno(), self._end.fileno(), inheritable=False)
                heirloom.hand_over(self._end)
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
        if self._heirloom is not None:
            self._heirloom.running[pid] = job
        channel.send(self._end, Started(job, pid, 0))

    def _leave_parent(self) -> None:
        """Drop what is the spawner's: its sockets and its signal handling."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._wake)
        self._end.close()
        if self._heirloom is not None:
            self._heirloom.close()

    def _become_agent(self, endpoint: str, end: int, estate: int) -> None:
        from workers import agent_start

        take_descriptors()
        stays, channel_end = self._heirloom is not None, socket.socket(fileno=end)
        os._exit(agent_start.main(endpoint, channel_end, self._nonce, estate, stays))

    def _become_worker(self, descriptors: list[int]) -> None:
        from workers import bootstrap

        resource.setrlimit(resource.RLIMIT_NOFILE, self._files)
        bootstrap.main(*descriptors)

    def kill_all(self) -> None:
        """Kill everything below this process, and what else of the jobs has another parent.

        A process that was attached from outside lives on; it only loses its tag.
        """
        end_all(self._nonce, self._undertaker, self._wake)


def end_all(nonce: int, undertaker: Undertaker, wake: int) -> None:
    """Kill and bury until nothing is left to fork another.

    ``wake`` becomes readable when a child ends. Jobs go first: calls of theirs may wait for an
    agent, and are not to fail for want of one before they end.
    """
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    while victims := _job_victims(nonce) or children(os.getpid()):
        kill(victims)
        if poll.poll(_KILL_AGAIN_MS):
            os.read(wake, 4096)
        undertaker.bury_all()


def _job_victims(nonce: int) -> set[int]:
    """Those who have not ended yet; a zombie may be somebody else's to bury, or nobody's."""
    return {pid for pid in job_processes(nonce) if not is_zombie(pid)}


def job_processes(nonce: int) -> set[int]:
    """Every process of a job; those attached from outside only lose their tag."""
    members = membership.scan(nonce)
    for pid in [pid for pid, tag in members.items() if not tag.job]:
        membership.clear(pid)
        del members[pid]
    return set(members)


def await_end(pid: int) -> int | None:
    """Wait until a process has ended; its exit code, or None where it is not our child."""
    with contextlib.suppress(ChildProcessError):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        end = os.pidfd_open(pid)
        channel.is_readable(end)
        os.close(end)
    return None


def kill(pids: Iterable[int]) -> None:
    """Kill processes, as far as they are there and ours."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_leftovers(nonce: int) -> None:
    """Kill the jobs of a governor whose spawner is gone."""
    _sweep(lambda: job_processes(nonce))


def end_jobs(nonce: int, jobs: Set[int]) -> None:
    """Kill what belongs to these jobs of a governor."""

    def processes() -> set[int]:
        members = membership.scan(nonce)
        return {pid for pid, tag in members.items() if tag.job in jobs and not is_zombie(pid)}

    if jobs:
        _sweep(processes)


def _sweep(find: Callable[[], set[int]]) -> None:
    deadline = time.monotonic() + _SWEEP_SECONDS
    while (victims := find()) and time.monotonic() < deadline:
        kill(victims)
        time.sleep(_KILL_AGAIN_MS / 1000)  # they are no children of ours, so nobody tells us


def start(nonce: int, directory: str, lasting: bool = False) -> tuple[int, socket.socket]:
    """Fork the spawner; returns its pid and the supervisor's end of the socket to it.

    ``lasting``: it goes on when the supervisor dies, once that has said for the first time what is
    `Recorded`, and keeps nothing open that it has not been given. To be called before this
    process has threads or ZeroMQ sockets.
    """
    here, there = channel.pair()
    if pid := os.fork():
        there.close()
        return pid, here
    status = 1
    try:
        here.close()
        if lasting:
            os.closerange(3, there.fileno())
            os.closerange(there.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        _main(there, nonce, directory, Heirloom(directory, nonce, False) if lasting else None)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _main(end: socket.socket, nonce: int, directory: str, heirloom: Heirloom | None) -> None:
    # Once, and while the supervisor prepares itself: every agent and worker is a fork of this.
    from workers import agent_start, bootstrap, seccomp  # noqa: F401

    gc.freeze()  # children share the pages of everything that exists now
    spawner = Spawner(end, nonce, heirloom)
    if heirloom is not None:
        take_descriptors()  # each job has one here; jobs get what was there before
    become_subreaper()
    be_woken_by_the_end_of_the_parent()
    spawner.serve()
    spawner.kill_all()
    remove_directory(directory)


def replace(
    nonce: int, directory: str, files: int, kept: Sequence[int] = (), lasting: bool = False
) -> tuple[int, socket.socket]:
    """Start a spawner in a fresh interpreter, where forking this process is not safe any more.

    ``files``: the soft RLIMIT_NOFILE that jobs are to have. ``kept``: descriptors that it is to
    hold as well. Returns its pid and the supervisor's end of the socket to it. Raises OSError.
    """
    here, there = channel.pair()
    handed = [there.fileno(), *kept]
    arguments = [str(nonce), directory, str(files), str(int(lasting)), *map(str, handed)]
    code = "from workers import spawner; spawner.main()"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        for descriptor in handed:
            os.set_inheritable(descriptor, True)
        # -P: what lies in the working directory is none of ours.
        command = [sys.executable, "-P", "-c", code, *arguments]
        return os.posix_spawn(sys.executable, command, env, setsigmask=[]), here
    except BaseException:
        here.close()
        raise
    finally:
        for descriptor in kept:
            os.set_inheritable(descriptor, False)
        there.close()


def main() -> None:
    """The fresh interpreter's entry; `replace` gives it its arguments."""
    nonce, directory, files, lasting, end, *kept = sys.argv[1:]
    for descriptor in (end, *kept):
        os.set_inheritable(int(descriptor), False)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), most))
    heirloom = Heirloom(directory, int(nonce)) if int(lasting) else None
    _main(socket.socket(fileno=int(end)), int(nonce), directory, heirloom)
    os._exit(0)


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


def be_woken_by_the_end_of_the_parent() -> None:
    """Whoever has stopped this process, it goes on when its parent ends, and notices.

    The kernel wakes up a process group without ties to its session (setpgid(2)). But where init
    is of the same session, as in a container that runs one command, an orphan has such a tie.
    """
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def remove_directory(directory: str) -> None:
    """Remove the sockets and records in a governor's directory, and it, unless a log is there."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(directory):
            if entry.name in RECORDS or stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                os.unlink(entry.path)
    with contextlib.suppress(OSError):
        os.rmdir(directory)
