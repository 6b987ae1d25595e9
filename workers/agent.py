"""The agent: answers trapped calls, counts, moves and confines, as the supervisor's plans say.

One thread, one epoll loop. A trap is answered here and now; ZeroMQ carries plans in and
figures out, never a question about a single call.
"""

from __future__ import annotations

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
from workers.docket import Docket
from workers.estate import COUNTER, LISTENER, Estate, KeptCounter
from workers.hits import Hits
from workers.membership import Tag
from workers.readings import SAMPLE_INTERVAL, Readings
from workers.switchboard import Switchboard
from workers.syscalls import table

if TYPE_CHECKING:
    from governor.wire.codec import Message
    from workers.listener import Listener
    from workers.moves import Moves

LOOK_AGAIN = 0.001
"""Seconds until a call that waits for reservations to settle is judged again."""
_FIRST_TASK = (("tasks", 1), ("physpages", 1), ("rsspages", 1))
"""What the process that a job begins with asks for, as any fork does."""
_FIRST_CALL = 0
"""What is noted for it, where the id of a call is: the kernel begins with a random one."""


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
        self._confinement = Confinement(self._census, self.accounts, nonce)
        self._docket = Docket(
            self._table, self.accounts, self._confinement, self._hits, estate, self._tell
        )
        self._readings = Readings(self.accounts, estate)
        self._epoll = select.epoll()
        self._epoll.register(peer.fileno(), select.EPOLLIN)
        # Not what comes in, which a message announces: that would wake us until it is read.
        self._epoll.register(end.fileno(), select.EPOLLRDHUP)
        self._switchboard = Switchboard(
            self._epoll, self._table, self._census, self._docket, self._readings, estate
        )
        # Made by the first move.
        self._moves: Moves | None = None
        self._ended: set[int] = set()
        """Jobs that have ended after they were refused something, and left tasks."""
        self._running = True
        self._has_told = False

    def serve(self) -> None:
        """Work until told to stop, or until the supervisor is gone and nobody is to follow it."""
        self._peer.send(wire.Hello(os.getpid()))
        self._obey()
        listeners, answer = self._switchboard.listeners, self._switchboard.answer
        timeout = self._timeout()
        while self._running:
            for fd, event in self._epoll.poll(timeout):
                listener = listeners.get(fd)
                if listener is None:
                    self._control(fd, event)
                elif event & select.EPOLLIN:
                    answer(listener)
                else:
                    self._forget(listener)
            if not self._is_pending():
                self._switchboard.answer_alone(self._has_work)
            self._work_on()
            timeout = self._timeout()

    def _work_on(self) -> None:
        """Do what had to wait: calls, forks under way with an old affinity, figures."""
        if self._docket:
            self._docket.look_again()
        if self._confinement:
            self._confinement.again()
        if self._moves:
            self._tell_of_moves(self._moves.again())
        if self._readings.left:
            self._look_back(time.monotonic())
        if self._hits.untold and self._hits.wait() == 0:
            self._tell_of(self._hits.take())
        if self._has_told:
            self._has_told = False
            self._obey()

    def _timeout(self) -> float:
        if self._switchboard.goes_on():
            return 0
        if self._is_pending():
            return LOOK_AGAIN
        hit = self._hits.wait() if self._hits.untold else None
        if self._readings.left:
            return SAMPLE_INTERVAL if hit is None else min(hit, SAMPLE_INTERVAL)
        return -1 if hit is None else hit

    def _is_pending(self) -> bool:
        """Whether something has to be looked at again in a moment."""
        return bool(self._docket or self._confinement or self._moves)

    def _has_work(self) -> bool:
        """Whether a call that was looked at closely has left something to do at once."""
        return bool(self._docket) or self._has_told or self._hits.wait() == 0

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
                self._switchboard.forget_bills()
            case wire.SetLender(id, lender, guarantee):
                accounts.set_lender(id, lender, guarantee)
                self._switchboard.forget_bills()
            case wire.Reset(id, figure):
                self._reset(id, figure)
            case wire.DropCounter(id):
                accounts.drop_counter(id)
                self._readings.forget(id)
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
                self._docket.enter(ticket, group, self._switchboard.follow)
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
        self._readings.forget(id)
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
            self._switchboard.forget_bills()

    def _place(self, job: int, pid: int, group: int, traps: list[str]) -> None:
        """Admit a job's first process: charged like any other task, so it may be refused."""
        listener_fd = channel.receive_descriptor(self._end, wire.ON_CHANNEL) if traps else None
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
            failed = membership.try_to_write(pid, tag)
            cpus = self.accounts.terms[group].cpus
            if cpus is not None:  # they may have changed since the worker was described
                affinity.confine([pid], cpus)
            if listener_fd is not None:
                self._switchboard.hear(self._switchboard.listen(listener_fd, job, group, traps))
            self.accounts.witness(pid, group)
        elif listener_fd is not None:
            os.close(listener_fd)
        refused = 0 if full is None else full.id
        own, start = (used.own_ns, used.start) if used else (0, 0)
        self._peer.send(wire.Placed(job, refused, failed, own, start))
        if full is None:  # while the job begins: looking at all processes takes a while
            self._readings.show(group)

    def _forget(self, listener: Listener) -> None:
        """No task is left under this filter, and so nobody who waits for an answer."""
        self._docket.drop(listener)
        self._switchboard.remove(listener)
        self._estate.drop(LISTENER, listener.job)
        self._tell_of(self._hits.take_all(job=listener.job))
        self._hits.forget(job=listener.job)
        if listener.job in self._ended:
            self._job_ended(listener.job)
        listener.close()
        self.accounts.reservations.prune()

    def _job_ended(self, job: int) -> None:
        """Nobody will ask what it was refused; what is left of it may still be refused more."""
        if job in self._switchboard.of_job:
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
                self._switchboard.follow,
                self._switchboard.traps_forks,
                self._table.tasks,
            )
        self._tell_of_moves(self._moves.begin(order))

    def _tell_of_moves(self, answer: wire.MovedAll | None) -> None:
        if answer is None:
            return
        self._tell(answer)
        assert self._moves is not None
        self._readings.show_soon(self._moves.groups)

    def _count(self, request: int) -> None:
        self.accounts.recount()
        figures = self._readings.changed()
        members = self._census.members()
        unreadable = self._census.unreadable_groups(members)
        if (done := self.accounts.tally.take()) is not None:
            self._peer.send(done)
        self._peer.send(wire.Figures(request, figures, self._census.rows(members), unreadable))

    def _count_some(self, request: int, ids: list[int]) -> None:
        accounts = self.accounts
        accounts.book()
        accounts.recount(accounts.counters[id] for id in ids)
        self._peer.send(wire.Figures(request, self._readings.changed(), [], []))

    # -- in the place of another agent ------------------------------------------------

    def _adopt(self, job: int, group: int, traps: list[str]) -> None:
        """Listen to a job that another agent has placed, from `Resume` on."""
        fd = channel.receive_descriptor(self._end, wire.ON_CHANNEL)
        if fd is not None:
            self._switchboard.listen(fd, job, group, traps)

    def _resume(self, request: int) -> None:
        """Go on where the agent before this one was ended."""
        from workers.succession import Succession

        listeners = list(self._switchboard.listeners.values())
        succession = Succession(self._estate, self._census, self.accounts, listeners)
        succession.complete()
        self._confinement.resume(self.accounts.terms)
        self._readings.expect()
        refused = [[c.id, c.failcnt] for c in self.accounts.counters.values() if c.failcnt]
        self._peer.send(wire.JobRefusals(self._estate.refusals()))
        self._peer.send(wire.Refusals(refused))
        tickets = self._docket.resume(succession.waits)
        for trap in succession.received():
            self._docket.consider(trap)
        for listener in listeners:
            self._switchboard.hear(listener)
        self._peer.send(wire.Resumed(request, tickets))

    # -- in the background ---------------------------------------------------------

    def _look_back(self, now: float) -> None:
        """There were traps: do what is due after some."""
        self._switchboard.choose_wake_up(now)
        if self._readings.due(now) and not self._readings.catch_up(now):
            self._switchboard.time_next()
            self._readings.sample()
