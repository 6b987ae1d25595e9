"""Calls that the fast path could not admit: judged, kept waiting, refused, told of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from governor.core.counter import Counter
from governor.wire import agent as wire
from governor.wire.codec import Message
from workers import affinity, cpu, seccomp
from workers.accounts import Accounts, Call, Verdict
from workers.bills import Bill
from workers.confinement import Confinement
from workers.estate import ENTRY, Estate
from workers.hits import Hits
from workers.listener import Listener, Trap
from workers.privilege import privileged
from workers.syscalls import Table

if TYPE_CHECKING:
    from workers.entries import Entries, Entry
    from workers.membership import Tag


class Docket:
    """All calls that are looked at closely. ``send`` tells the supervisor.

    What waits for its answer is kept in the ``estate``.
    """

    def __init__(
        self,
        table: Table,
        accounts: Accounts,
        confinement: Confinement,
        hits: Hits,
        estate: Estate,
        send: Callable[[Message], None],
    ) -> None:
        self._table = table
        self.accounts = accounts
        self._confinement = confinement
        self._hits = hits
        self._estate = estate
        self._send = send
        self._waiting: list[Trap] = []
        # Made by the first listener that traps what brings a task into other namespaces.
        self._entries: Entries | None = None

    def __bool__(self) -> bool:
        """Whether some call has to be looked at again in a moment."""
        return bool(self._waiting or self._entries)

    def trapping(self, traps: list[str]) -> None:
        """A filter with these facilities is listened to from now on."""
        if seccomp.NAMESPACES in traps and self._entries is None:
            from workers.entries import Entries

            self._entries = Entries(self._table, self._estate)

    # -- judging -------------------------------------------------------------------

    def consider(self, trap: Trap) -> None:
        """Decide about a call; it may have to wait."""
        if trap.nr == self._table.sched_setaffinity:
            cpus = self._confinement.cpus_of
            trap.fail(affinity.emulate(trap.tid, trap.args, cpus, trap.still_valid))
        elif not self._begin_entry(trap):
            self._judge(trap, set())

    def look_again(self) -> None:
        """Judge those that wait, and see which calls into namespaces are over."""
        waiting, self._waiting = self._waiting, []
        recounted: set[Counter] = set()  # one recount serves all that wait for it
        for trap in waiting:
            trap.bill = self.accounts.renewed(trap.bill)
            self._judge(trap, recounted)
        self._end_entries()

    def _judge(self, trap: Trap, recounted: set[Counter]) -> None:
        if not trap.demand:
            trap.admit()
            return
        late = time.monotonic() >= trap.deadline
        if not late and self.accounts.too_soon(trap.bill, recounted):
            trap.keep()
            self._waiting.append(trap)
            return
        caller = partial(privileged, trap.tid)
        verdict, counter = self.accounts.judge(trap.bill, recounted, caller, trap.call)
        if verdict is Verdict.WAIT and not late:
            trap.keep()
            self._waiting.append(trap)
        elif verdict is Verdict.ADMIT:
            self.accounts.reservations.pending[trap.tid] = trap.bill.note
            trap.admit()
            if counter is not None:
                self._hits.passed(counter, trap.listener.job, trap.tid)
        elif counter is not None and trap.refuse(counter):
            self._hits.refused(counter, trap.listener.job, trap.tid)

    def admits(self, bill: Bill, pid: int, call: Call) -> Counter | None:
        """Charge a bill for a process that waits for no answer; the counter without room.

        ``call`` is what that is noted for.
        """
        verdict, counter = self.accounts.judge(bill, set(), partial(privileged, pid), call)
        if verdict is not Verdict.ADMIT:
            assert counter is not None
            counter.refuse()
            self._estate.refused_to(call[0], counter.id, counter.held)
            self._hits.refused(counter, call[0], pid)
            return counter
        if counter is not None:
            self._hits.passed(counter, call[0], pid)
        return None

    # -- what happens to callers -----------------------------------------------------

    def moved(self, threads: list[int], group: int) -> None:
        """The calls of a moved process that wait for room are to find it in its new group."""
        for trap in self._waiting:
            if trap.tid in threads:
                trap.bill = self.accounts.terms[group].bill(trap.bill.note.demand)

    def drop(self, listener: Listener) -> None:
        """No task is left under this filter, and so nobody who waits for an answer."""
        for trap in self._waiting:
            if trap.listener is listener:
                trap.forget()
        self._waiting = [trap for trap in self._waiting if trap.listener is not listener]
        if self._entries is not None:
            for entry in self._entries.drop(lambda trap: trap.listener is listener):
                self._send(wire.Entered(entry.ticket, False, 0, 0))

    # -- calls into other namespaces -------------------------------------------------

    def resume(self, waits: Callable[[int, int], bool]) -> list[int]:
        """Take over the calls that another agent saw; the tickets of those that are not over.

        ``waits(job, id)``: whether a call waits for its answer.
        """
        if self._entries is not None:
            return self._entries.resume(waits)
        for ticket in self._estate.owners(ENTRY):
            self._estate.drop(ENTRY, ticket)
        return []

    def _begin_entry(self, trap: Trap) -> bool:
        """Ask the supervisor for a container if the call brings somebody into other namespaces."""
        if self._entries is None or trap.nr not in trap.listener.demands.closely:
            return False
        self._end_entries(trap.tid)
        entry = self._entries.begin(trap)
        if entry is not None:
            self._send(wire.Entering(entry.ticket, entry.pid, entry.child))
        return entry is not None

    def enter(self, ticket: int, group: int, follow: Callable[[int], None]) -> None:
        """Let a call go on that brings its caller, or a child, into other namespaces.

        ``follow(job)`` is called before a process of that job changes its group.
        """
        entry = self._entries.allow(ticket, group, follow) if self._entries is not None else None
        if entry is None:
            return
        trap = entry.trap
        assert trap is not None
        if entry.new is not None:
            self._moved(entry.pid, entry.old, group)
            self._confinement.confine(group)
            trap.bill = self.accounts.terms[group].bill(trap.demand)
        else:
            trap.bill = self.accounts.renewed(trap.bill)
        self._judge(trap, set())

    def _moved(self, pid: int, source: Tag | None, group: int) -> None:
        from workers.passages import Passages

        moved = pid, None if source is None else source.group, group
        Passages(self.accounts).charge([moved])
        self.accounts.recount()

    def _end_entries(self, tid: int | None = None) -> None:
        for entry, entered in self._over(tid):
            if entry.old is not None and not entered:
                self._moved(entry.pid, entry.new, entry.old.group)
                self._confinement.confine(entry.old.group)
            self._send(wire.Entered(entry.ticket, entered, *cpu.used(entry.pid)))

    def _over(self, tid: int | None) -> Iterator[tuple[Entry, bool]]:
        return self._entries.over(tid) if self._entries is not None else iter(())
