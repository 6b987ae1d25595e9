"""A worker, as the executor sees it: a socket, and perhaps a task."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket

from governor.api.executor.task import Task
from governor.api.job import Job
from governor.errors import WorkerDied
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
        self._unsent = memoryview(b"")
        self._end, self.theirs = socket.socketpair()
        self._end.setblocking(False)
        self._inbox = frames.Inbox(self._end)

    def fileno(self) -> int:
        """The descriptor of its socket, -1 when that is closed."""
        return self._end.fileno()

    def give(self, task: Task) -> bool:
        """Send it a task; whether that is pickled `whole`. Raises whatever pickling it raises."""
        head, packed = task.pack()
        self.task = task
        self.calls += 1
        self._unsent = memoryview(frames.pack(head) + packed.data)
        self.send()
        return packed.whole

    def send(self) -> bool:
        """Send on as much as goes; whether something is left."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._end.send(self._unsent) :]
        except BlockingIOError:
            return True
        except OSError:  # it has ended, which is told in another way
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


def died(
    task: Task, process: Worker | Job, containers: tuple[str, ...], status: int | None
) -> WorkerDied:
    """The error of a task whose worker has ended, with this exit code, -n by signal n."""
    number = -status if status is not None and status < 0 else None
    code = status if status is not None and status >= 0 else None
    how = "has ended, nobody knows how"
    if number is not None:
        how = f"was ended by {_name(number)}"
    elif code is not None:
        how = f"has ended itself with exit code {code}"
    where = f" in {', '.join(containers)}" if containers else ""
    job = f"worker {process.pid}" if isinstance(process, Worker) else f"job {process.id}"
    message = f"{job}{where}, which carried out {task.name}, {how}"
    return WorkerDied(errno.ECHILD, message, job, number, code, containers)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
