"""The nursery: a job that forks the workers of an executor and sees them end.

It is warm, has one thread and imports nothing of its user's, so that a worker takes a
millisecond. It ends when the executor hangs up and the last worker has ended.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket

from governor.wire.pool import TO_NURSERY, Ended, Fork, Forked, Learn
from workers import calls, channel


def main(prepare: bytes, most: int, key: bytes) -> None:
    """Serve the executor at standard input; workers end after ``most`` calls, 0: never."""
    nursery = Nursery(calls.take_stdin(), prepare, most)
    calls.belong(key)
    gc.collect()
    gc.freeze()  # workers share the pages of everything that exists now
    nursery.serve()


class Nursery:
    """Forks workers on request over ``end``."""

    def __init__(self, end: socket.socket, prepare: bytes, most: int) -> None:
        self._end = end
        self._prepare = prepare
        self._most = most
        self._workers: dict[int, int] = {}
        """The number of each process."""
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the executor has gone, and then until the workers have."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        listening = True
        while listening or self._workers:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._bury()
            if self._end.fileno() in ready and not self._obey():
                listening = False
                poll.unregister(self._end)

    def _obey(self) -> bool:
        received = channel.receive(self._end, TO_NURSERY)
        if received is None:
            return False
        match received:
            case Learn(), _:
                import multiprocess.reduction  # noqa: F401 - so that no worker has to

                gc.freeze()
            case Fork(worker), [descriptor]:
                self._fork(worker, socket.socket(fileno=descriptor))
            case Fork(worker), _:
                channel.send(self._end, Forked(worker, 0, errno.EMFILE))
        return True

    def _fork(self, worker: int, end: socket.socket) -> None:
        with end:
            try:
                pid = _fork()
            except OSError as error:
                channel.send(self._end, Forked(worker, 0, error.errno or errno.EAGAIN))
                return
            if pid == 0:
                self._become_worker(worker, end)
        self._workers[pid] = worker

    def _become_worker(self, worker: int, end: socket.socket) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # before anybody can send it
            for descriptor in (self._wake, self._woken):
                os.close(descriptor)
            # By the worker itself, before it does anything: if this process died over its fork,
            # the executor would take it for one that has never been.
            channel.send(self._end, Forked(worker, os.getpid(), 0))
            self._end.close()
            calls.serve(end, self._prepare, self._most)
        finally:
            os._exit(1)

    def _bury(self) -> None:
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                channel.send(self._end, Ended(worker, status))


def _fork() -> int:
    """Fork. An end that is reported while the call is trapped would make it fail (EINTR)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        return os.fork()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
