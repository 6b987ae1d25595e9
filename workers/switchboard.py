"""All listeners of an agent: which of them to wait in, and how their callers are woken."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from workers.census import Census
from workers.demands import Demands
from workers.docket import Docket
from workers.estate import Estate
from workers.focus import Focus
from workers.listener import ONCE, Listener
from workers.readings import SAMPLES_AFTER_TRAP, Readings
from workers.syscalls import Table
from workers.wake_up import INTERVAL, WakeUp
from workers.watch import Watch


class Switchboard:
    """Answers traps; ``docket`` gets those that are to be looked at closely."""

    def __init__(
        self,
        epoll: select.epoll,
        table: Table,
        census: Census,
        docket: Docket,
        readings: Readings,
        estate: Estate,
    ) -> None:
        """``epoll`` waits for all that the agent waits for, and for listeners that are heard."""
        self._epoll = epoll
        self._table = table
        self._census = census
        self._docket = docket
        self._readings = readings
        self._estate = estate
        self.listeners: dict[int, Listener] = {}
        """By descriptor."""
        self.of_job: dict[int, Listener] = {}
        self._watch = Watch(epoll)
        self._wake_up = WakeUp(len(os.sched_getaffinity(0)))
        self._focus = Focus()

    # -- who is listened to --------------------------------------------------------

    def listen(self, fd: int, job: int, group: int, traps: list[str]) -> Listener:
        """A job's listener, which is not heard yet."""
        self._docket.trapping(traps)
        listener = Listener(
            fd,
            job,
            group,
            Demands(self._table, traps, self._census.unreadable),
            self._table.sched_setaffinity,
            self._docket.accounts,
            self._estate,
            self._wake_up.turns,
        )
        self.listeners[fd] = self.of_job[job] = listener
        return listener

    def hear(self, listener: Listener) -> None:
        """Answer its traps from now on."""
        self._epoll.register(listener.fd, select.EPOLLIN)

    def remove(self, listener: Listener) -> None:
        """Nobody waits for its answers any more."""
        self._epoll.unregister(listener.fd)
        del self.listeners[listener.fd], self.of_job[listener.job]
        self._focus.last = None

    def follow(self, job: int) -> None:
        """From now on the tag of each caller of this job tells its group."""
        if (listener := self.of_job.get(job)) is not None:
            listener.follow()

    def traps_forks(self, job: int) -> bool:
        """Whether no process of this job forks without a reservation."""
        listener = self.of_job.get(job)
        return listener is not None and any(name == "tasks" for name, _ in listener.demands.most)

    def forget_bills(self) -> None:
        """Plans have changed: bills are to be worked out again."""
        for listener in self.listeners.values():
            listener.forget_bills()

    # -- answering -----------------------------------------------------------------

    def answer(self, listener: Listener) -> None:
        """Answer one trapped call, and notice when all come from one listener."""
        self._readings.left = SAMPLES_AFTER_TRAP
        self._wake_up.traps += 1
        trap = listener.answer(ONCE)
        if trap is not None:
            self._docket.consider(trap)
        if self._focus.turn(listener):
            self._wake_up.turns.append(-listener.job)  # no thread's id
            listener.wake(self._wake_up.sync)

    def answer_alone(self, has_work: Callable[[], bool]) -> None:
        """Where one listener has all the traps, wait in it until the watch has seen anything else.

        ``has_work()``: whether a call that was looked at closely has left something to do.
        """
        listener = self._focus.alone()
        if listener is None:
            return
        watch = self._watch
        before = listener.last_id
        self._epoll.modify(listener.fd, 0)
        watch.begin(INTERVAL)
        while not watch.rang:
            trap = listener.answer(watch)
            if trap is not None:
                self._docket.consider(trap)
                if has_work():
                    break
        watch.end()
        self._epoll.modify(listener.fd, select.EPOLLIN)
        self._readings.expect()
        traps = listener.last_id - before if before else 0  # the first id is any number
        self._wake_up.traps += traps
        self._focus.was_alone(traps)

    def goes_on(self) -> bool:
        """Whether to wait in that one again, unless there is something else to do; asked once."""
        goes_on, self._focus.goes_on = self._focus.goes_on, False
        return goes_on

    # -- now and then --------------------------------------------------------------

    def choose_wake_up(self, now: float) -> None:
        """Choose how callers are woken, when that is due."""
        if self._wake_up.due(now):
            sync = self._wake_up.choose(now)
            if self._focus.last is not None:
                self._focus.last.wake(sync)

    def time_next(self) -> None:
        """Measure the next answer that is not one of many in a row."""
        self._focus.goes_on = False
        for listener in self.listeners.values():
            listener.time_next()
