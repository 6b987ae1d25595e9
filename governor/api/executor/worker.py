"""A worker, as the executor sees it: a socket, and perhaps a task."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

from governor.api.executor.task import Task
from governor.errors import WorkerDied
from governor.results import JobResult
from workers import frames


class Worker:
    """Process ``pid``, 0 until it is known. Nothing here blocks."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.task: Task | None = None
        self.calls = 0
        """How many it has been given."""
        self.retired = False
        """It gets no more."""
        self.lost = False
        """Its process had ended before it was given what it was given last."""
        self._interrupted = False
        self._failed_at = 0
        """How much was left to send when that failed."""
        self._lock = threading.Lock()
        self._unsent = memoryview(b"")
        self._end, self.theirs = socket.socketpair()
        self._end.setblocking(False)
        self._inbox = frames.Inbox(self._end)

    def fileno(self) -> int:
        """The descriptor of its socket, -1 when that is closed."""
        return self._end.fileno()

    def begin(self, pid: int) -> None:
        """This is its process."""
        with self._lock:
            self.pid = pid
            if self._interrupted:
                self._send_interrupt()

    def interrupt(self) -> None:
        """Send it what Ctrl-C sends, as soon as its process is known; from any thread."""
        with self._lock:
            if self.pid:
                self._send_interrupt()
            self._interrupted = True

    def _send_interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def give(self, task: Task) -> bool:
        """Send it a task; whether that is pickled `whole`. Raises whatever pickling it raises."""
        head, packed = task.pack()
        self.task = task
        self.calls += 1
        self._failed_at = 0
        self._unsent = whole = memoryview(frames.pack(head) + packed.data)
        self.send()
        self.lost = self._failed_at == len(whole)
        return packed.whole

    def send(self) -> bool:
        """Send on as much as goes; whether something is left."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._end.send(self._unsent) :]
        except BlockingIOError:
            return True
        except OSError:  # it has ended, which is told in another way
            self._failed_at = len(self._unsent)
            self._unsent = memoryview(b"")
        return False

    def receive(self) -> frames.Frame | None:
        """An answer, if it has arrived whole. EOFError: there will not be any more."""
        return self._inbox.read()

    def last_words(self) -> frames.Frame | None:
        """The answer of one that has ended, if it came to that."""
        with contextlib.suppress(EOFError, OSError):
            return self._inbox.read()
        return None

    def close(self) -> None:
        """Hang up, which ends a worker that has nothing to do."""
        self.retired = True
        self._end.close()
        self.theirs.close()


def died(task: Task, worker: Worker, containers: tuple[str, ...], code: int | None) -> WorkerDied:
    """The error of a task whose worker has ended with this exit code, -n by signal n."""
    result = None
    if code is not None:
        status, number = (code, None) if code >= 0 else (128 - code, -code)
        result = JobResult(status, number, task.seconds(), 0.0, False, None)
    return WorkerDied(task.name, f"worker {worker.pid}", containers, result)
