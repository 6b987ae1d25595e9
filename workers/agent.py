"""The agent: answers trapped calls, counts, moves and confines, as the supervisor's plans say.

One thread, one epoll loop. A trap is answered here and now; ZeroMQ carries plans in and
figures out, never a question about a single call.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from governor.transport import Peer
from governor.wire import agent as wire
from workers import affinity, channel, cpu, membership
from workers.accounts import Accounts
from workers.census import Census
from workers.confinement import Confinement
from workers.demands import Demands
from workers.docket import Docket
from workers.estate import COUNTER, LISTENER, Estate, KeptCounter
from workers.focus import Focus
from workers.hits import Hits
from workers.listener import ONCE, Listener
from workers.membership import Tag
from workers.syscalls import table
from workers.wake_up import INTERVAL, WakeUp
from workers.watch import Watch

if TYPE_CHECKING:
    from governor.wire.codec import Message
    from workers.moves import Moves

LOOK_AGAIN = 0.001
"""Seconds until a call that waits for reservations to settle is judged again."""
SAMPLE_INTERVAL = 0.01
"""Seconds between two counts for ``maxheld`` while traps arrive; without traps nothing grows."""
SAMPLE_SHARE = 100
"""Counting for ``maxheld`` alone takes at most one part in so many of the agent's time."""
SHOW_SHARE = 5
"""Counting after placements and moves takes at most one part in so many of it."""
_FIRST_TASK = (("tasks", 1), ("physpages", 1), ("rsspages", 1))
"""What the process that a job begins with asks for, as any fork does."""
_FIRST_CALL = 0
"""What is noted for it, where the id of a call is: the kernel begins with a random one."""
_SAMPLES_AFTER_TRAP = 2
"""What the last trap made may not be there yet when the first count comes."""


class Agent:
    """Serves one supervisor. Listeners come over ``end``, everything else over ``peer``."""

    def __init__(
        self, peer: Peer, end: socket.socket, nonce: int, estate: Estate, stays: str = ""
    ) -> None:
        """``stays``: the governor's directory, if this is to go on when the supervisor has died.

        Then it goes on as long as the spawner does, or until somebody kills this process.
        """
        self._stays = stays
        self._alone = False
        self._spawner = os.getppid()
        self._elder: int | None = None
        """A pidfd of a spawner that has not started this process."""
        self._peer = peer
        self._end = end
        self._nonce = nonce
        self._table = table()
        self._census = Census(nonce, self._table, lambda: self._tell(wire.Pong(0)))
        self._estate = estate
        self.accounts = Accounts(
            self._census,
            make=partial(KeptCounter, estate),
            note=lambda call, rates: estate.charging(*call, rates),
        )
        # Until `Resume`, what a successor counts would lack what is under way.
        self.accounts.complete = not estate.successor
        self._hits = Hits(time.monotonic)
        self._listeners: dict[int, Listener] = {}
        self._of_job: dict[int, Listener] = {}
        self._confinement = Confinement(self._census, self.accounts, nonce)
        self._docket = Docket(
            self._table, self.accounts, self._confinement, self._hits, estate, self._tell
        )
        # Made by the first move.
        self._moves: Moves | None = None
        self._ended: set[int] = set()
        """Jobs that have ended after they were refused something, and left tasks."""
        self._told: dict[int, list[int]] = {}
        """The figures of counters that the supervisor knows."""
        self._unsampled = 0
        self._next_sample = self._next_show = 0.0
        self._epoll = select.epoll()
        self._epoll.register(peer.fileno(), select.EPOLLIN)
        # Not what comes in, which a message announces: that would wake us until it is read.
        self._epoll.register(end.fileno(), select.EPOLLRDHUP)
        self._running = True
        self._has_told = False
        self._watch = Watch(self._epoll)
        self._wake_up = WakeUp(len(os.sched_getaffinity(0)))
        self._focus = Focus()

    def serve(self) -> None:
        """Work until told to stop, or until the supervisor is gone and nobody is to follow it."""
        self._peer.send(wire.Hello(os.getpid()))
        self._obey()
        listeners, poll = self._listeners, self._epoll.poll
        timeout = self._timeout()
        while self._running:
            for fd, event in poll(timeout):
                listener = listeners.get(fd)
                if listener is None:
                    self._control(fd, event)
                elif event & select.EPOLLIN:
                    self._answer(listener)
                else:
                    self._forget(listener)
            if not self._is_pending():
                alone = self._focus.alone()
                if alone is not None:
                    self._answer_only(alone)
            self._work_on()
            timeout = self._timeout()

    def _answer(self, listener: Listener) -> None:
        """Answer one trapped call, and notice when all come from one listener."""
        self._unsampled = _SAMPLES_AFTER_TRAP
        self._wake_up.traps += 1
        trap = listener.answer(ONCE)
        if trap is not None:
            self._docket.consider(trap)
        if self._focus.turn(listener):
            self._wake_up.turns.append(-listener.job)  # no thread's id
            listener.wake(self._wake_up.sync)

    def _answer_only(self, listener: Listener) -> None:
        """Wait in this listener alone, until the watch has seen something else to do."""
        watch = self._watch
        before = listener.last_id
        self._epoll.modify(listener.fd, 0)
        watch.begin(INTERVAL)
        while not watch.rang:
            trap = listener.answer(watch)
            if trap is not None:
                self._docket.consider(trap)
                if self._docket or self._has_told or self._hits.wait() == 0:
                    break
        watch.end()
        self._epoll.modify(listener.fd, select.EPOLLIN)
        self._unsampled = _SAMPLES_AFTER_TRAP
        traps = listener.last_id - before if before else 0  # the first id is any number
        self._wake_up.traps += traps
        self._focus.was_alone(traps)

    def _work_on(self) -> None:
        """Do what had to wait: calls, forks under way with an old affinity, figures."""
        if self._docket:
            self._docket.look_again()
        if self._confinement:
            self._confinement.again()
        if self._moves:
            self._tell_of_moves(self._moves.again())
        if self._unsampled:
            self._look_back(time.monotonic())
        if self._hits.untold and self._hits.wait() == 0:
            self._tell_of(self._hits.take())
        if self._has_told:
            self._has_told = False
            self._obey()

    def _timeout(self) -> float:
        if self._focus.goes_on:
            self._focus.goes_on = False
            return 0
        if self._is_pending():
            return LOOK_AGAIN
        hit = self._hits.wait() if self._hits.untold else None
        if self._unsampled:
            return SAMPLE_INTERVAL if hit is None else min(hit, SAMPLE_INTERVAL)
        return -1 if hit is None else hit

    def _is_pending(self) -> bool:
        """Whether something has to be looked at again in a moment."""
        return bool(self._docket or self._confinement or self._moves)

    # -- the supervisor's messages --------------------------------------------------

    def _control(self, fd: int, event: int) -> None:
        # The channel is read when a message announces a listener; here it has closed.
        if fd == self._elder:
            self._running = False
        elif fd == self._end.fileno() and event & (select.EPOLLHUP | select.EPOLLRDHUP):
            self._alone = True
            self._epoll.unregister(fd)
            # One that has nothing to go by is of no use to anybody.
            complete = bool(self._stays) and self.accounts.complete
            self._running = complete and self._ends_with_spawner()
        self._obey()

    def _ends_with_spawner(self) -> bool:
        """Without a supervisor, see to it that the spawner's end is ours; False: it has ended."""
        from workers.heirloom import waiting
        from workers.parent import end_with

        if end_with(self._spawner):
            return True
        # That had died before, and the supervisor had another one.
        self._elder = waiting(self._stays)
        if self._elder is not None:
            self._epoll.register(self._elder, select.EPOLLIN)
        return self._elder is not None

    def _tell(self, message: Message) -> None:
        """Say something unasked; what may have arrived meanwhile is then seen to (`_obey`)."""
        if self._alone:  # the next agent finds out by itself
            return
        self._peer.send(message)
        self._has_told = True

    def _tell_of(self, hits: list[wire.JobHit]) -> None:
        for hit in hits:
            self._tell(hit)

    def _obey(self) -> None:
        """Carry out everything that has arrived; again after sending, as ZeroMQ's fd demands."""
        while self._running:
            message = self._peer.receive()
            if message is None:
                return
            self._carry_out(message)

    def _carry_out(self, message: object) -> None:
        accounts = self.accounts
        match message:
            case wire.SetCounter(id, resource, limit):
                accounts.set_counter(id, resource, limit)
            case wire.SetBarrier(id, barrier):
                accounts.set_barrier(id, barrier)
            case wire.SetInterval(id, interval):
                accounts.set_interval(id, interval)
                self._forget_bills()
            case wire.SetLender(id, lender, guarantee):
                accounts.set_lender(id, lender, guarantee)
                self._forget_bills()
            case wire.Reset(id, figure):
                self._reset(id, figure)
            case wire.DropCounter(id):
                accounts.drop_counter(id)
                self._told.pop(id, None)
                self._tell_of(self._hits.take_all(counter=id))
                self._hits.forget(counter=id)
                self._estate.drop(COUNTER, id)
                self._estate.forget_refusals(counter=id)
            case wire.SetPlan(group, charges, counts, confined):
                self._set_plan(group, charges, counts, confined)
            case wire.DropPlan(group):
                accounts.drop_plan(group)
                self._confinement.drop_plan(group)
            case wire.Place(job, pid, group, traps):
                self._place(job, pid, group, traps)
            case wire.MoveAll():
                self._move(message)
            case wire.Count(request):
                self._count(request)
            case wire.CountSome(request, ids):
                self._count_some(request, ids)
            case wire.Adopt(job, group, traps):
                self._adopt(job, group, traps)
            case wire.Resume(request):
                self._resume(request)
            case wire.Enter(ticket, group):
                self._docket.enter(ticket, group, self._follow)
            case wire.Tell(request):
                self._tell_of(self._hits.take_all())
                self._peer.send(wire.Pong(request))
            case wire.JobEnded(job):
                self._job_ended(job)
            case wire.Ping(request):
                self._peer.send(wire.Pong(request))
            case wire.Stop():
                self._running = False

    def _reset(self, id: int, figure: str) -> None:
        """Start a figure again. What was refused before is told of before that."""
        if figure == "failcnt":
            self._tell_of(self._hits.take_all(counter=id))
        self.accounts.reset(id, figure)
        self._told.pop(id, None)
        if figure == "failcnt":
            self._tell(wire.Refusals([[id, self.accounts.counters[id].failcnt]]))

    def _set_plan(
        self,
        group: int,
        charges: dict[str, list[int]],
        counts: dict[str, list[int]],
        confined: dict[str, list[int]],
    ) -> None:
        before = self.accounts.terms.get(group)
        allowed = frozenset(confined["cpus"]) if "cpus" in confined else None
        self.accounts.set_plan(group, charges, counts, allowed)
        changed = before is not None and before.cpus != allowed
        self._confinement.set_plan(group, confined, changed)
        if before is not None:
            self._forget_bills()

    def _forget_bills(self) -> None:
        for listener in self._listeners.values():
            listener.forget_bills()

    def _place(self, job: int, pid: int, group: int, traps: list[str]) -> None:
        """Admit a job's first process: charged like any other task, so it may be refused."""
        listener_fd = self._receive_listener() if traps else None
        tag = Tag(self._nonce, job, group)
        full = None
        # It may be tagged by an agent that could not tell of it any more.
        if membership.read_ours(pid, self._nonce) != tag:
            call = job, _FIRST_CALL
            charge = self._estate.last_charge()
            if charge is not None and charge[:2] == call:  # by one that was ended before the tag
                self.accounts.take_back(charge[2])
            bill = self.accounts.terms[group].bill(_FIRST_TASK)
            full = self._docket.admits(bill, pid, call)
        failed = 0
        used = cpu.sample(pid)
        if full is None:
            failed = self._tag(pid, tag)
            cpus = self.accounts.terms[group].cpus
            if cpus is not None:  # they may have changed since the worker was described
                affinity.confine([pid], cpus)
            if listener_fd is not None:
                self._hear(self._listen(listener_fd, job, group, traps))
            self.accounts.witness(pid, group)
        elif listener_fd is not None:
            os.close(listener_fd)
        refused = 0 if full is None else full.id
        own, start = (used.own_ns, used.start) if used else (0, 0)
        self._peer.send(wire.Placed(job, refused, failed, own, start))
        if full is None:  # while the job begins: looking at all processes takes a while
            self._show(group)

    def _receive_listener(self) -> int | None:
        """The listener that has come; None when the supervisor is gone. EMFILE: no room for it."""
        received = channel.receive(self._end, wire.ON_CHANNEL)
        if received is None:
            return None
        if not received[1]:
            raise OSError(errno.EMFILE, "no descriptor is left for a listener")
        return received[1][0]

    def _tag(self, pid: int, tag: Tag) -> int:
        """Tag a process; the errno when that failed, EBUSY when another governor prevents it."""
        try:
            membership.write(pid, tag)
            return 0 if membership.read(pid) == tag else errno.EBUSY
        except OSError as error:
            return error.errno or errno.EPERM

    def _listen(self, fd: int, job: int, group: int, traps: list[str]) -> Listener:
        self._docket.trapping(traps)
        demands = Demands(self._table, traps, self._census.unreadable)
        affinity_call = self._table.sched_setaffinity
        listener = Listener(
            fd,
            job,
            group,
            demands,
            affinity_call,
            self.accounts,
            self._estate,
            self._wake_up.turns,
        )
        self._listeners[fd] = self._of_job[job] = listener
        return listener

    def _hear(self, listener: Listener) -> None:
        self._epoll.register(listener.fd, select.EPOLLIN)

    def _forget(self, listener: Listener) -> None:
        """No task is left under this filter, and so nobody who waits for an answer."""
        self._docket.drop(listener)
        self._epoll.unregister(listener.fd)
        del self._listeners[listener.fd], self._of_job[listener.job]
        self._estate.drop(LISTENER, listener.job)
        self._focus.last = None
        self._tell_of(self._hits.take_all(job=listener.job))
        self._hits.forget(job=listener.job)
        if listener.job in self._ended:
            self._job_ended(listener.job)
        listener.close()
        self.accounts.reservations.prune()

    def _job_ended(self, job: int) -> None:
        """Nobody will ask what it was refused; what is left of it may still be refused more."""
        if job in self._of_job:
            self._ended.add(job)
        else:
            self._ended.discard(job)
            self._hits.forget(job=job)  # one that was refused its start has had no listener
            self._estate.forget_refusals(job=job)

    def _move(self, order: wire.MoveAll) -> None:
        """Move processes; what is charged is right when that is answered, figures soon after."""
        if self._moves is None:
            from workers.moves import Moves

            self._moves = Moves(
                self._nonce,
                self._census,
                self.accounts,
                self._confinement,
                self._docket,
                self._follow,
                self._traps_forks,
                self._table.tasks,
            )
        self._tell_of_moves(self._moves.begin(order))

    def _tell_of_moves(self, answer: wire.MovedAll | None) -> None:
        if answer is None:
            return
        self._tell(answer)
        left = {source for _, _, source, *_ in answer.moved}
        come = {membership.read_ours(pid, self._nonce) for pid, *_ in answer.moved}
        self._show(*left, *{tag.group for tag in come if tag is not None})

    def _traps_forks(self, job: int) -> bool:
        """Whether no process of this job forks without a reservation."""
        listener = self._of_job.get(job)
        return listener is not None and any(name == "tasks" for name, _ in listener.demands.most)

    def _follow(self, job: int) -> None:
        """From now on the tag of each caller of this job tells its group."""
        if (listener := self._of_job.get(job)) is not None:
            listener.follow()

    def _count(self, request: int) -> None:
        self.accounts.recount()
        figures = self._changed_figures()
        members = self._census.members()
        unreadable = self._census.unreadable_groups(members)
        if (done := self.accounts.tally.take()) is not None:
            self._peer.send(done)
        self._peer.send(wire.Figures(request, figures, self._census.rows(members), unreadable))

    def _count_some(self, request: int, ids: list[int]) -> None:
        accounts = self.accounts
        accounts.book()
        accounts.recount(accounts.counters[id] for id in ids)
        self._peer.send(wire.Figures(request, self._changed_figures(), [], []))

    def _changed_figures(self) -> list[list[int]]:
        """Of the counters with others than the supervisor was told, as `Figures` has them."""
        told, counters, figures = self._told, self.accounts.counters, []
        for id in self._estate.take_changed():
            if (c := counters.get(id)) is not None:
                row = [id, c.held, c.minheld, c.maxheld, c.failcnt, c.admitted]
                if told.get(id) != row:
                    told[id] = row
                    figures.append(row)
        return figures

    def _show(self, *groups: int) -> None:
        """Count for the figures what somebody has come to, or left: now, or soon where it is much.

        What is charged is right without.
        """
        self._unsampled = _SAMPLES_AFTER_TRAP
        started = time.monotonic()
        if started >= self._next_show:
            self.accounts.recount_groups(*groups)
            self._next_show = started + (time.monotonic() - started) * SHOW_SHARE

    # -- in the place of another agent ------------------------------------------------

    def _adopt(self, job: int, group: int, traps: list[str]) -> None:
        """Listen to a job that another agent has placed, from `Resume` on."""
        fd = self._receive_listener()
        if fd is not None:
            self._listen(fd, job, group, traps)

    def _resume(self, request: int) -> None:
        """Go on where the agent before this one was ended."""
        from workers.succession import Succession

        listeners = list(self._listeners.values())
        succession = Succession(self._estate, self._census, self.accounts, listeners)
        succession.complete()
        self._confinement.resume(self.accounts.terms)
        self._unsampled = _SAMPLES_AFTER_TRAP
        refused = [[c.id, c.failcnt] for c in self.accounts.counters.values() if c.failcnt]
        self._peer.send(wire.JobRefusals(self._estate.refusals()))
        self._peer.send(wire.Refusals(refused))
        tickets = self._docket.resume(succession.waits)
        for trap in succession.received():
            self._docket.consider(trap)
        for listener in listeners:
            self._hear(listener)
        self._peer.send(wire.Resumed(request, tickets))

    # -- in the background ---------------------------------------------------------

    def _look_back(self, now: float) -> None:
        """There were traps: do what is due after some."""
        if self._wake_up.due(now):
            sync = self._wake_up.choose(now)
            if self._focus.last is not None:
                self._focus.last.wake(sync)
        if now >= self._next_sample:
            self._sample()

    def _sample(self) -> None:
        """Recount for ``maxheld``, at most so often that it costs next to nothing."""
        started = time.monotonic()
        self._unsampled -= 1
        self._focus.goes_on = False  # the next answer is to be timed
        for listener in self._listeners.values():
            listener.time_next()
        self.accounts.recount()
        took = time.monotonic() - started
        self._next_sample = started + max(SAMPLE_INTERVAL, took * SAMPLE_SHARE)
