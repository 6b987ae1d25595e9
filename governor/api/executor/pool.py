"""What an executor does: one thread that gives tasks to workers and hears what becomes of them."""

from __future__ import annotations

import errno
import itertools
import os
import select
import threading
from collections import deque
from concurrent.futures import BrokenExecutor

from governor.api.executor.alone import Alone
from governor.api.executor.nest import Nest
from governor.api.executor.queue import Queue
from governor.api.executor.task import Task, remote_traceback
from governor.api.executor.terms import Terms
from governor.api.executor.worker import Worker, died
from governor.errors import GovernorError
from governor.wire.pool import Ended, Forked
from workers import frames, pickles

_STARTS = 3
"""Nurseries that die one after the other without having forked a worker."""


class Pool(Queue):
    """Tasks wait in it until one of its workers is free; `run` is its thread's."""

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self._terms = terms
        self._numbers = itertools.count(1)
        self._workers: dict[int, Worker] = {}
        self._idle: list[Worker] = []
        self._most = terms.most
        """As many as may be at once; fewer for a while, where a container has room for no more."""
        self._busy = 0
        """Tasks that are being carried out by workers."""
        self._alone: set[Alone] = set()
        """Tasks that are being carried out in jobs of their own."""
        self._answers: deque[tuple[Task, frames.Frame]] = deque()
        self._unready: deque[tuple[Task, frames.Frame]] = deque()
        """Tasks of their own for which the initializer has failed, and with what."""
        self._nest: Nest | None = None
        self._dead: list[Nest] = []
        self._failures = 0
        self._orphans: dict[int, Worker] = {}
        """By pidfd: those whose nursery has died."""
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._by_socket: dict[int, Worker] = {}

    # -- what other threads call -----------------------------------------------------

    def interrupt(self) -> None:
        """Send every task that is being carried out what Ctrl-C sends."""
        for alone in list(self._alone):
            alone.interrupt()
        for worker in list(self._workers.values()):
            if worker.task is not None:
                worker.interrupt()

    def forget(self) -> None:
        """In a fork of this process: all of it is the parent's."""
        self._lock = threading.Lock()
        self.broken = BrokenExecutor("this executor is the parent process's; make one here")
        self._thread = None
        for worker in self._workers.values():
            worker.close()
        if self._nest is not None:
            self._nest.abandon()
        if not self._closed:
            os.close(self._wake)

    def _is_one_of_ours(self, thread: threading.Thread) -> bool:
        with self._lock:
            alone = any(alone.thread is thread for alone in self._alone)
        return alone or super()._is_one_of_ours(thread)

    # -- the thread --------------------------------------------------------------------

    def run(self) -> None:
        """Until there is nothing to do any more."""
        try:
            while not self._is_over():
                self._listen()
                self._hand_out()
                self._settle()
        except BaseException as error:
            self._break(error)
            raise
        finally:
            self._close()

    def _is_over(self) -> bool:
        with self._lock:
            todo = self._pending or self._busy or self._alone or self._unready
            return self.broken is not None or (self._finishing and not todo)

    def _listen(self) -> None:
        """Wait until something happens. The nursery comes last: it may reuse descriptors."""
        nest = self._nest.fileno() if self._nest is not None else -1
        ready = [descriptor for descriptor, _ in self._poll.poll()]
        for descriptor in sorted(ready, key=lambda descriptor: descriptor == nest):
            self._hear(descriptor)

    def _hear(self, descriptor: int) -> None:
        if descriptor == self._wake:
            with self._lock:
                self._woken = False
                os.eventfd_read(self._wake)
            while self._unready:
                task, frame = self._unready.popleft()
                self._refuse(frame)
                task.fail(self._broken())
        elif descriptor in self._by_socket:
            self._hear_of(self._by_socket[descriptor])
        elif descriptor in self._orphans:
            self._poll.unregister(descriptor)
            os.close(descriptor)
            self._bury(self._orphans.pop(descriptor), None)
        elif self._nest is not None and descriptor == self._nest.fileno():
            self._hear_nest(self._nest)

    def _hand_out(self) -> None:
        while (task := self._next()) is not None:
            if not task.begin():
                continue
            if task.limits is not None:
                self._start_alone(task, Alone(task, task.limits, self._terms))
                continue
            try:
                while self._idle:
                    if self._give(self._idle.pop(), task):
                        break
                else:
                    self._give(self._fork(), task)
            except BaseException as error:
                task.fail(error)

    def _next(self) -> Task | None:
        with self._lock:
            has_room = self._busy + len(self._alone) < self._most
            return self._pending.popleft() if self._pending and has_room else None

    def _settle(self) -> None:
        """Let the futures know, when the workers have something to do again."""
        while self._answers:
            task, frame = self._answers.popleft()
            task.answer(frame, refusals=self._terms.refusals)
            del task, frame

    # -- tasks of their own --------------------------------------------------------------

    def _start_alone(self, task: Task, alone: Alone) -> None:
        def carry_out() -> None:
            unready = alone.carry_out()
            with self._lock:
                if unready is not None:
                    self._unready.append((task, unready))
                self._alone.discard(alone)
                self._awaken()

        name = f"governor.Executor {task.name}"
        alone.thread = threading.Thread(target=carry_out, name=name)
        with self._lock:
            self._alone.add(alone)
        alone.thread.start()

    # -- workers -----------------------------------------------------------------------

    def _fork(self) -> Worker:
        """A worker, whose process is on its way. GovernorError: there is no nursery for it."""
        if self._nest is None:
            self._nest = Nest(self._terms.governor(), self._terms)
            self._poll.register(self._nest.fileno(), select.POLLIN)
        worker = Worker(next(self._numbers))
        self._workers[worker.number] = worker
        self._by_socket[worker.fileno()] = worker
        self._poll.register(worker.fileno(), select.POLLIN)
        self._nest.fork(worker)
        return worker

    def _give(self, worker: Worker, task: Task) -> bool:
        """Have a worker carry out a task; False: it has ended since it carried out another."""
        try:
            whole = worker.give(task)
        except BaseException:
            self._idle.append(worker)
            raise
        if worker.lost and worker.calls > 1:
            worker.task = None
            self._hang_up(worker)
            return False
        if whole and self._nest is not None:
            self._nest.learn()
        self._busy += 1
        self._watch(worker)
        return True

    def _watch(self, worker: Worker) -> None:
        unsent = worker.send()
        self._poll.modify(worker.fileno(), select.POLLIN | (select.POLLOUT if unsent else 0))

    def _hear_of(self, worker: Worker) -> None:
        try:
            self._watch(worker)
            frame = worker.receive()
        except EOFError:
            self._hang_up(worker)
            return
        if frame is None:
            return
        self._take(worker, frame)
        if self._terms.calls and worker.calls >= self._terms.calls:
            self._hang_up(worker)
        elif not worker.retired:
            self._idle.append(worker)

    def _take(self, worker: Worker, frame: frames.Frame) -> None:
        """An answer to what a worker was given."""
        task, worker.task = worker.task, None
        self._busy -= task is not None
        self._most = self._terms.most
        if frame.head.kind == frames.UNREADY:
            self._refuse(frame)
            if task is not None:
                task.fail(self._broken())
        elif task is not None:
            self._answers.append((task, frame))

    def _hang_up(self, worker: Worker) -> None:
        """A worker ends, or has; what there is to know of it the nursery says."""
        if worker in self._idle:
            self._idle.remove(worker)
        worker.retired = True
        if self._by_socket.pop(worker.fileno(), None) is not None:
            self._poll.unregister(worker.fileno())
        if worker.task is None:
            worker.close()

    def _bury(self, worker: Worker, status: int | None) -> None:
        """A worker has ended; its task, if it has not been answered, fails."""
        self._workers.pop(worker.number, None)
        if worker.task is not None and (frame := worker.last_words()) is not None:
            self._take(worker, frame)
        task, worker.task = worker.task, None
        self._hang_up(worker)
        if task is not None:
            self._busy -= 1
            task.fail(died(task, worker, self._terms.labels, status))

    def _give_back(self, worker: Worker) -> None:
        """A worker has never been; its task is still to be carried out."""
        self._workers.pop(worker.number, None)
        task, worker.task = worker.task, None
        self._hang_up(worker)
        if task is not None:
            self._busy -= 1
            with self._lock:
                self._pending.appendleft(task)

    # -- the nursery -------------------------------------------------------------------

    def _hear_nest(self, nest: Nest) -> None:
        match nest.hear():
            case Forked(number, pid, 0):
                self._failures = 0
                if number in self._workers:
                    self._workers[number].begin(pid)
            case Forked(number, _, error):
                self._unforked(self._workers[number], error)
            case Ended(number, status):
                if number in self._workers:
                    self._bury(self._workers[number], os.waitstatus_to_exitcode(status))
            case None:
                self._nest = None
                self._poll.unregister(nest.fileno())
                self._adopt(nest)

    def _unforked(self, worker: Worker, error: int) -> None:
        """There cannot be as many workers now; without any other, its task fails."""
        others = [other for other in self._workers.values() if other is not worker]
        if alive := sum(not other.retired for other in others):
            self._most = alive
            self._give_back(worker)
            return
        task, worker.task = worker.task, None
        self._workers.pop(worker.number, None)
        self._hang_up(worker)
        if task is not None:
            self._busy -= 1
            where = ", ".join(self._terms.labels) or "its containers"
            task.fail(GovernorError(error, f"no worker can be started in {where}"))

    def _adopt(self, nest: Nest) -> None:
        """The nursery has died: workers go on with what they do, and end afterwards."""
        result = nest.result()
        nest.abandon()
        self._dead.append(nest)
        self._failures += 1
        for worker in list(self._workers.values()):
            worker.retired = True
            if worker.pid:
                self._look_after(worker)
            elif result is not None and result.error:
                self._fail(worker, GovernorError(errno.EAGAIN, result.error))
            elif self._failures >= _STARTS:
                why = "the process that starts workers ends again and again"
                self._fail(worker, GovernorError(errno.EIO, why))
            else:
                self._give_back(worker)

    def _fail(self, worker: Worker, error: GovernorError) -> None:
        task = worker.task
        self._give_back(worker)
        if task is not None:
            with self._lock:
                self._pending.remove(task)
            task.fail(error)

    def _look_after(self, worker: Worker) -> None:
        if worker.task is None:
            self._bury(worker, None)
            return
        try:
            descriptor = os.pidfd_open(worker.pid)
        except OSError:
            self._bury(worker, None)
            return
        self._orphans[descriptor] = worker
        self._poll.register(descriptor, select.POLLIN)

    # -- the end -----------------------------------------------------------------------

    def _refuse(self, frame: frames.Frame) -> None:
        """The initializer has failed, so that no worker can be had."""
        try:
            cause = pickles.unpack(frame.data, frame.head.whole)
        except BaseException as error:
            cause = error
        cause.__cause__ = remote_traceback(frame.words)
        self._break(cause)

    def _broken(self) -> BrokenExecutor:
        error = BrokenExecutor("the initializer has failed, so that there are no workers")
        error.__cause__ = self.broken and self.broken.__cause__
        return error

    def _break(self, cause: BaseException) -> None:
        """End everything: it cannot go on."""
        with self._lock:
            self.broken = self._broken()
            self.broken.__cause__ = cause
            pending = list(self._pending)
            self._pending.clear()
            self._awaken()
        tasks = [worker.task for worker in self._workers.values() if worker.task is not None]
        for worker in self._workers.values():
            worker.task = None
        self._busy = 0
        for task in (*tasks, *pending):
            if task.begin():
                task.fail(self._broken())

    def _close(self) -> None:
        self._settle()
        for worker in list(self._workers.values()):
            self._hang_up(worker)
            worker.close()
        for descriptor in self._orphans:
            os.close(descriptor)
        for nest in (*self._dead, self._nest):
            if nest is not None:
                nest.close()
        with self._lock:
            self._woken = self._closed = True  # nobody listens any more
            os.close(self._wake)
