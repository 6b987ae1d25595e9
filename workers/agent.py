"""The agent: answers trapped calls, counts, moves and confines, as the supervisor's plans say.

One thread, one epoll loop. A trap is answered here and now; ZeroMQ carries plans in and
figures out, never a question about a single call.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from governor.core.counter import Counter
from governor.transport import Peer, close_all
from governor.wire import agent as wire
from workers import affinity, channel, cpu, membership, seccomp
from workers.accounts import Accounts, Verdict
from workers.census import Census
from workers.demands import Demands
from workers.hits import Hits
from workers.listener import ONCE, Listener, Trap
from workers.membership import Tag
from workers.privilege import privileged
from workers.syscalls import table
from workers.tasks import Reservation
from workers.watch import Watch

if TYPE_CHECKING:
    from workers.entries import Entries
    from workers.memory import Mover

LOOK_AGAIN = 0.001
"""Seconds until a call that waits for reservations to settle is judged again."""
SAMPLE_INTERVAL = 0.01
"""Seconds between two counts for ``maxheld`` while traps arrive; without traps nothing grows."""
SAMPLE_SHARE = 100
"""Counting for ``maxheld`` alone takes at most one part in so many of the agent's time."""
_FIRST_TASK = (("tasks", 1), ("physpages", 1), ("rsspages", 1))
"""What the process that a job begins with asks for, as any fork does."""
_LONG_STREAK = 64
"""Traps of one listener in a row after which it is worth waiting in that one alone."""
_SAMPLES_AFTER_TRAP = 2
"""What the last trap made may not be there yet when the first count comes."""


class Agent:
    """Serves one supervisor. Listeners come over ``end``, everything else over ``peer``."""

    def __init__(self, peer: Peer, end: socket.socket, nonce: int) -> None:
        self._peer = peer
        self._end = end
        self._nonce = nonce
        self._table = table()
        self._census = Census(nonce, self._table)
        self.accounts = Accounts(self._census)
        self._hits = Hits(time.monotonic)
        self._listeners: dict[int, Listener] = {}
        self._waiting: list[Trap] = []
        # Group to the forks that were under way when its processes were confined.
        self._confining: dict[int, dict[int, Reservation]] = {}
        # Made by the first listener that traps what brings a task into other namespaces.
        self._entries: Entries | None = None
        self._unsampled = 0
        self._next_sample = 0.0
        self._epoll = select.epoll()
        self._epoll.register(peer.fileno(), select.EPOLLIN)
        self._epoll.register(end.fileno(), select.EPOLLIN)
        self._mover: Mover | None = None
        self._running = True
        self._watch = Watch(self._epoll)
        self._last: Listener | None = None
        self._streak = 0

    def serve(self) -> None:
        """Work until told to stop, or until the supervisor is gone."""
        self._peer.send(wire.Hello(os.getpid()))
        self._obey()
        listeners, poll = self._listeners, self._epoll.poll
        timeout: float = -1
        while self._running:
            for fd, event in poll(timeout):
                listener = listeners.get(fd)
                if listener is None:
                    self._control(fd, event)
                elif event & select.EPOLLIN:
                    self._answer(listener)
                else:
                    self._forget(listener)
            if self._last is not None and self._streak >= _LONG_STREAK:
                self._answer_only(self._last)
            self._work_on()
            timeout = self._timeout()

    def _answer(self, listener: Listener) -> None:
        """Answer one trapped call, and notice when all come from one listener."""
        self._unsampled = _SAMPLES_AFTER_TRAP
        trap = listener.answer(ONCE)
        if trap is not None:
            self._consider(trap, set())
        self._streak = self._streak + 1 if listener is self._last else 0
        self._last = listener

    def _answer_only(self, listener: Listener) -> None:
        """Wait in this listener alone, until the watch has seen something else to do."""
        watch = self._watch
        before = listener.last_id
        self._epoll.modify(listener.fd, 0)
        watch.begin(max(SAMPLE_INTERVAL, self._next_sample - time.monotonic()))
        while not watch.rang:
            trap = listener.answer(watch)
            if trap is not None:
                self._consider(trap, set())
                if self._waiting or self._hits.wait() == 0:
                    break
        watch.end()
        self._epoll.modify(listener.fd, select.EPOLLIN)
        self._unsampled = _SAMPLES_AFTER_TRAP
        self._streak = min(_LONG_STREAK, listener.last_id - before)

    def _work_on(self) -> None:
        """Do what had to wait: calls, forks under way with an old affinity, figures."""
        if self._waiting or self._confining:
            self._look_again()
        if self._entries:
            self._end_entries()
        if self._unsampled and time.monotonic() >= self._next_sample:
            self._sample()
        if self._hits.untold and self._hits.wait() == 0:
            for hit in self._hits.take():
                self._peer.send(hit)
            self._obey()

    def _timeout(self) -> float:
        if self._waiting or self._confining or self._entries:
            return LOOK_AGAIN
        hit = self._hits.wait() if self._hits.untold else None
        if self._unsampled:
            return SAMPLE_INTERVAL if hit is None else min(hit, SAMPLE_INTERVAL)
        return -1 if hit is None else hit

    # -- traps ---------------------------------------------------------------------

    def _consider(self, trap: Trap, recounted: set[Counter]) -> None:
        """Judge a call the fast path could not admit; it may have to wait."""
        if trap.nr == self._table.sched_setaffinity:
            trap.fail(affinity.emulate(trap.tid, trap.args, self._cpus, trap.still_valid))
            return
        if not self._begin_entry(trap):
            self._judge(trap, recounted)

    def _judge(self, trap: Trap, recounted: set[Counter]) -> None:
        if not trap.demand:
            trap.admit()
            return
        caller = partial(privileged, trap.tid)
        verdict, counter = self.accounts.judge(trap.bill, recounted, caller)
        if verdict is Verdict.WAIT and time.monotonic() < trap.deadline:
            self._waiting.append(trap)
        elif verdict is Verdict.ADMIT:
            self.accounts.pending[trap.tid] = trap.bill.note
            trap.admit()
            if counter is not None:
                self._hits.passed(counter, trap.tid)
        elif counter is not None and trap.refuse(counter):
            self._refused(counter, trap.tid)

    def _refused(self, counter: Counter, tid: int) -> None:
        """A refusal has been answered: count it, and tell of it."""
        counter.refuse()
        self._hits.refused(counter, tid)

    def _cpus(self, tid: int) -> frozenset[int] | None:
        """The CPUs that a thread is confined to, None for any; ProcessLookupError when gone."""
        tag = membership.read(tid)
        terms = self.accounts.terms.get(tag.group) if tag and tag.nonce == self._nonce else None
        return terms.cpus if terms else None

    def _look_again(self) -> None:
        waiting, self._waiting = self._waiting, []
        recounted: set[Counter] = set()  # one recount serves all that wait for it
        for trap in waiting:
            trap.bill = self.accounts.renewed(trap.bill)
            self._judge(trap, recounted)
        for group, forks in list(self._confining.items()):
            self._confine(group, forks)

    # -- the supervisor's messages --------------------------------------------------

    def _control(self, fd: int, event: int) -> None:
        # The channel is read when a message announces a listener; here it can only have closed.
        if fd == self._end.fileno() and event & (select.EPOLLHUP | select.EPOLLRDHUP):
            self._running = False
        self._obey()

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
                accounts.reset(id, figure)
            case wire.DropCounter(id):
                accounts.drop_counter(id)
                self._hits.forget(id)
            case wire.SetPlan(group, charges, counts, confined):
                self._set_plan(group, charges, counts, confined)
            case wire.DropPlan(group):
                accounts.drop_plan(group)
                if self._mover is not None:
                    self._mover.drop_plan(group)
            case wire.Place(job, pid, group, traps):
                self._place(job, pid, group, traps)
            case wire.Move(request, pid, job, group):
                self._move(request, pid, job, group)
            case wire.Count(request):
                self._count(request)
            case wire.Enter(ticket, group):
                self._enter(ticket, group)
            case wire.Ping(request):
                self._peer.send(wire.Pong(request))
            case wire.Stop():
                self._running = False

    def _set_plan(
        self,
        group: int,
        charges: dict[str, list[int]],
        counts: dict[str, list[int]],
        confined: dict[str, list[int]],
    ) -> None:
        before = self.accounts.terms.get(group)
        cpus = confined.get("cpus")
        allowed = None if cpus is None else frozenset(cpus)
        self.accounts.set_plan(group, charges, counts, allowed)
        if before is not None and before.cpus != allowed:
            self._confine(group)
        if self._mover is None and "mems" in confined:
            from workers.memory import Mover

            self._mover = Mover(self._members)
        if self._mover is not None:
            self._mover.set_plan(group, confined)
        self._forget_bills()

    def _forget_bills(self) -> None:
        for listener in self._listeners.values():
            listener.forget_bills()

    def _place(self, job: int, pid: int, group: int, traps: list[str]) -> None:
        """Admit a job's first process: charged like any other task, so it may be refused."""
        listener_fd = self._receive_listener() if traps else None
        bill = self.accounts.terms[group].bill(_FIRST_TASK)
        verdict, counter = self.accounts.judge(bill, set(), partial(privileged, pid))
        refused = failed = 0
        used = cpu.sample(pid)
        if verdict is Verdict.ADMIT:
            if counter is not None:
                self._hits.passed(counter, pid)
            failed = self._tag(pid, Tag(self._nonce, job, group))
            cpus = self.accounts.terms[group].cpus
            if cpus is not None:  # they may have changed since the worker was described
                affinity.confine([pid], cpus)
            if listener_fd is not None:
                self._listen(listener_fd, job, group, traps)
            self._unsampled = _SAMPLES_AFTER_TRAP
            self.accounts.recount_group(group)
        else:
            assert counter is not None
            self._refused(counter, pid)
            refused = counter.id
            if listener_fd is not None:
                os.close(listener_fd)
        own, start = (used.own_ns, used.start) if used else (0, 0)
        self._peer.send(wire.Placed(job, refused, failed, own, start))

    def _receive_listener(self) -> int | None:
        received = channel.receive(self._end, wire.ON_CHANNEL)
        return received[1][0] if received and received[1] else None

    def _tag(self, pid: int, tag: Tag) -> int:
        """Tag a process; the errno when that failed, EBUSY when another governor prevents it."""
        try:
            membership.write(pid, tag)
            return 0 if membership.read(pid) == tag else errno.EBUSY
        except OSError as error:
            return error.errno or errno.EPERM

    def _listen(self, fd: int, job: int, group: int, traps: list[str]) -> None:
        if seccomp.NAMESPACES in traps and self._entries is None:
            from workers.entries import Entries

            self._entries = Entries(self._table)
        demands = Demands(self._table, traps, self._census.unreadable)
        affinity_call = self._table.sched_setaffinity
        self._listeners[fd] = Listener(fd, job, group, demands, affinity_call, self.accounts)
        self._epoll.register(fd, select.EPOLLIN)

    def _forget(self, listener: Listener) -> None:
        """No task is left under this filter, and so nobody who waits for an answer."""
        self._waiting = [trap for trap in self._waiting if trap.listener is not listener]
        if self._entries is not None:
            for entry in self._entries.drop(lambda trap: trap.listener is listener):
                self._peer.send(wire.Entered(entry.ticket, False, 0, 0))
        self._epoll.unregister(listener.fd)
        del self._listeners[listener.fd]
        self._last = None
        os.close(listener.fd)
        self.accounts.prune()

    def _move(self, request: int, pid: int, job: int, group: int) -> None:
        """One write moves the process and its children to come; then its figures follow."""
        try:
            tag = membership.read(pid)
        except ProcessLookupError:
            tag = None
        ours = tag is not None and tag.nonce == self._nonce
        owner = tag.job if tag is not None and ours else job
        self._follow(owner)
        failed = self._tag(pid, Tag(self._nonce, owner, group))
        if not failed:
            self._confine(group)
            self.accounts.moved(pid, group)
            self._charge_elsewhere(pid, group)
            if self._mover is not None:
                self._mover.moved(pid, tag.group if tag is not None and ours else None, group)
        self._peer.send(wire.Moved(request, failed, *cpu.used(pid)))

    def _charge_elsewhere(self, pid: int, group: int) -> None:
        """The calls of a moved process that wait for room are to find it in its new group."""
        threads = self._census.threads(pid)
        for trap in self._waiting:
            if trap.tid in threads:
                trap.bill = self.accounts.terms[group].bill(trap.bill.note.demand)

    def _begin_entry(self, trap: Trap) -> bool:
        """Ask the supervisor for a container if the call brings somebody into other namespaces."""
        if self._entries is None or trap.nr not in trap.listener.demands.closely:
            return False
        self._end_entries(trap.tid)
        entry = self._entries.begin(trap)
        if entry is not None:
            self._peer.send(wire.Entering(entry.ticket, entry.pid, entry.child))
        return entry is not None

    def _enter(self, ticket: int, group: int) -> None:
        """Let a call go on that brings its caller, or a child, into other namespaces."""
        entry = self._entries.allow(ticket, group) if self._entries is not None else None
        if entry is None:
            return
        trap = entry.trap
        if entry.new is not None:
            self._follow(entry.new.job)
            self.accounts.moved(entry.pid, group)
            self._confine(group)
            trap.bill = self.accounts.terms[group].bill(trap.demand)
        self._judge(trap, set())

    def _end_entries(self, tid: int | None = None) -> None:
        for entry, entered in self._entries.over(tid) if self._entries is not None else ():
            if entry.old is not None and not entered:
                self.accounts.moved(entry.pid, entry.old.group)
                self._confine(entry.old.group)
            self._peer.send(wire.Entered(entry.ticket, entered, *cpu.used(entry.pid)))

    def _follow(self, job: int) -> None:
        """From now on the tag of each caller of this job tells its group."""
        for listener in self._listeners.values():
            if listener.job == job:
                listener.follow()

    def _count(self, request: int) -> None:
        self.accounts.recount()
        self.accounts.book()
        members = self._census.members()
        figures = [
            [c.id, c.held, c.minheld, c.maxheld, c.failcnt, c.admitted]
            for c in self.accounts.counters.values()
        ]
        unreadable = self.accounts.unreadable_groups(members)
        self._peer.send(wire.Figures(request, figures, self._census.rows(), unreadable))

    # -- in the background ---------------------------------------------------------

    def _members(self, group: int) -> list[int]:
        return [pid for pid, tag in self._census.members().items() if tag.group == group]

    def _confine(self, group: int, forks: dict[int, Reservation] | None = None) -> None:
        """Set the affinity of every member.

        A child takes its parent's affinity early in a fork and appears late: whoever was
        in a fork when the set changed may yet bring a child with the old one. So this is
        done again until those ``forks`` are over.
        """
        terms = self.accounts.terms.get(group)
        if terms is None or terms.cpus is None:
            self._confining.pop(group, None)
            return
        under_way = self.accounts.forking()
        if forks is not None:
            under_way = {tid: r for tid, r in forks.items() if under_way.get(tid) is r}
        affinity.confine(self._members(group), terms.cpus)
        if under_way:
            self._confining[group] = under_way
        else:
            self._confining.pop(group, None)

    def _sample(self) -> None:
        """Recount for ``maxheld``, at most so often that it costs next to nothing."""
        started = time.monotonic()
        self._unsampled -= 1
        for listener in self._listeners.values():
            listener.choose_wake_up()
        self.accounts.recount()
        took = time.monotonic() - started
        self._next_sample = started + max(SAMPLE_INTERVAL, took * SAMPLE_SHARE)


def main(endpoint: str, end: socket.socket, nonce: int) -> None:
    """Run an agent until its supervisor says stop or goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a collection would delay a trap
    peer = Peer(endpoint, wire.TO_AGENT)
    try:
        Agent(peer, end, nonce).serve()
    finally:
        close_all([peer])
