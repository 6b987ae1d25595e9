"""Where tasks wait, and what any thread may ask of an executor."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import BrokenExecutor

from governor.api.executor.task import Task


class Queue:
    """Tasks in order, and the thread that takes them, which is started with the first one."""

    def __init__(self) -> None:
        self._pending: deque[Task] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._woken = False
        self._finishing = self._closed = False
        self.broken: BaseException | None = None

    def add(self, task: Task) -> None:
        """Have a task carried out. RuntimeError after `finish`, BrokenExecutor when broken."""
        with self._lock:
            if self.broken is not None:
                raise BrokenExecutor(*self.broken.args) from self.broken.__cause__
            if self._finishing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._pending.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self.run, name="governor.Executor")
                self._thread.start()
            self._awaken()

    def finish(self, cancel: bool = False) -> None:
        """Take no more tasks, and end when those that are here have ended."""
        with self._lock:
            self._finishing = True
            doubtful = list(self._pending) if cancel else []
            if cancel:
                self._pending.clear()
        # Not under the lock: whoever waits for a future is called back.
        remaining = [task for task in doubtful if not task.cancel()]
        with self._lock:
            self._pending.extendleft(reversed(remaining))
            if self._thread is not None:
                self._awaken()

    def join(self) -> None:
        """Wait for the end of the thread; not where a callback asks, for which that waits."""
        if self._thread is not None and not self._is_one_of_ours(threading.current_thread()):
            self._thread.join()

    def _is_one_of_ours(self, thread: threading.Thread) -> bool:
        """Whether it is a thread that calls callbacks, and that `run` waits for."""
        return thread is self._thread

    def _awaken(self) -> None:
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """What the thread does."""
        raise NotImplementedError
