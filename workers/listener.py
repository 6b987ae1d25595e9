"""One job's seccomp listener: the hot path from a trapped call to its answer."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable, Sequence
from fcntl import ioctl
from typing import TYPE_CHECKING, Final

from workers import membership, seccomp
from workers.bills import Bill, Demand, Terms
from workers.demands import Demands
from workers.estate import CALL
from workers.seccomp import CONTINUE, RECV, REQUEST, RESPONSE, SEND

if TYPE_CHECKING:
    from governor.core.counter import Counter
    from workers.accounts import Accounts
    from workers.estate import Estate

PATIENCE: Final = 1.0
"""Seconds a call waits at most for reservations that stand in its way to settle."""

_NOT_COPIED: Final = 1025
_ZERO: Final = bytes(REQUEST.size)

_TID: Final = 2
_NR: Final = 4
"""Where these fields of a REQUEST are, in words of 32 bits."""
_ID: Final = struct.Struct("=Q")
_unpack_id = _ID.unpack_from


class Trap:
    """A call that needs more than the fast path."""

    __slots__ = (
        "args",
        "began",
        "bill",
        "deadline",
        "demand",
        "group",
        "id",
        "kept",
        "listener",
        "nr",
        "tid",
    )

    def __init__(
        self, listener: Listener, id: int, tid: int, nr: int, args: Sequence[int], group: int
    ) -> None:
        self.listener = listener
        self.id = id
        self.tid = tid
        self.nr = nr
        self.args = args
        self.group = group
        self.began = time.monotonic()
        self.deadline = self.began + PATIENCE
        self.demand: Demand = ()
        self.bill: Bill
        self.kept = 0
        """The record of the estate in which this waits, 0 for none."""

    def keep(self) -> None:
        """The answer will take a while: let a successor find it, whatever is received meanwhile."""
        if not self.kept:
            request = REQUEST.pack(self.id, self.tid, 0, self.nr, 0, 0, *self.args)
            self.kept = self.listener.estate.add(CALL, self.listener.job, request)

    def forget(self) -> None:
        """It has been answered, or nobody waits for it."""
        if self.kept:
            self.listener.estate.free(self.kept)
            self.kept = 0

    @property
    def call(self) -> tuple[int, int]:
        """The job and the id, as `Accounts` know a call."""
        return self.listener.job, self.id

    def still_valid(self) -> bool:
        """Whether the caller still waits for this answer."""
        return seccomp.id_valid(self.listener.fd, self.id)

    def admit(self) -> None:
        """Let the kernel carry out the call."""
        self.listener.send(self.id, 0, CONTINUE)
        self._answered()

    def fail(self, number: int) -> bool:
        """Answer the call with an errno, or with success for 0; False when nobody waits."""
        waited = self.listener.send(self.id, -number, 0)
        self._answered()
        return waited

    def refuse(self, counter: Counter) -> bool:
        """Answer that the limit of ``counter`` is met, and count that there.

        False when nobody waits any more.
        """
        demands = self.listener.demands
        value, number = demands.refusal(counter.resource, self.nr, self.args, self.tid)
        estate = self.listener.estate
        estate.refusing(counter.id, counter.failcnt + 1, self.listener.job, self.id, counter.held)
        waited = self.listener.send(self.id, -number, 0, value)
        if waited:
            counter.refuse()
        estate.refused(waited)
        self._answered()
        return waited

    def _answered(self) -> None:
        self.forget()
        self.listener.tally.answered(True, int((time.monotonic() - self.began) * 1e9))


class Bell:
    """Says when to stop answering; this one has rung already, so that one call is answered."""

    rang = True


ONCE: Final = Bell()


class Listener:
    """Receives the traps of one job and answers those that there is room for."""

    def __init__(
        self,
        fd: int,
        job: int,
        group: int,
        demands: Demands,
        affinity: int,
        accounts: Accounts,
        estate: Estate,
        turns: list[int],
    ) -> None:
        """``turns`` is told of each caller that is not the one before (`wake_up`)."""
        self.fd = fd
        self.job = job
        self._group = group
        self._moved = False
        self.demands = demands
        self._affinity = affinity
        self._accounts = accounts
        self.tally = accounts.tally
        self._bills: dict[int, Bill] = {}
        self.estate = estate
        self._request = estate.slot(job)
        # More than 1024 bytes are not copied first, and the interpreter is kept, for a little less.
        self._go_on = bytearray(RESPONSE.pack(0, 0, 0, CONTINUE).ljust(_NOT_COPIED, b"\0"))
        self._sync = self._can_sync = seccomp.set_sync(fd, True)
        self._turns = turns
        self._quick = self._answerer()
        self.answer = self._quick
        """The hot path, or `_timed` in its place for once."""

    @property
    def last_id(self) -> int:
        """The id of the last call that was admitted here; ids of one filter are consecutive."""
        id: int = _unpack_id(self._go_on)[0]
        return id

    def close(self) -> None:
        """Nobody waits for answers any more. The hot path holds on to us, and we to it."""
        del self.answer, self._quick
        os.close(self.fd)

    def time_next(self) -> None:
        """Measure how long the next answer takes that is not one of many in a row."""
        self.answer = self._timed

    def _timed(self, bell: Bell) -> Trap | None:
        """In the place of the hot path: so that does not have to look whether to measure."""
        if bell is not ONCE:  # that waits for a call first, nobody knows for how long
            return self._quick(bell)
        self.answer = self._quick
        before, began = self.last_id, time.monotonic_ns()
        trap = self._quick(bell)
        if self.last_id != before:
            self.tally.answered(False, time.monotonic_ns() - began)
        return trap

    def forget_bills(self) -> None:
        """Plans have changed: work the bills out again."""
        self._bills.clear()

    def found_in(self, groups: set[int]) -> None:
        """These are the groups of the job's processes, some of which may have moved before."""
        if len(groups) == 1:
            (self._group,) = groups
        else:
            self.follow()

    def follow(self) -> None:
        """Something of the job has moved: from now on the tag of each caller tells its group."""
        self._moved = True
        self._bills.clear()

    def _answerer(self) -> Callable[[Bell], Trap | None]:
        """The hot path: a closure, since looking up attributes takes a tenth of an answer."""
        fd, request, go_on, bills = self.fd, self._request, self._go_on, self._bills
        filled = request[: REQUEST.size]
        accounts = self._accounts
        prepay, reservations = accounts.prepay, accounts.reservations
        pending, doubtful = reservations.pending, reservations.doubtful
        everything = slice(None)
        # Copied as bytes, an id takes half as long as by way of a number.
        received, answered = request[: _ID.size], memoryview(go_on)[: _ID.size]
        job = self.job
        # A call that lets the watch run while it blocks, unlike the other one.
        wait, there = seccomp.waiting_receive(request)
        words = filled.cast("i")  # a field is had in less time than by unpacking
        turn = self._turns.append
        last_tid = 0

        def answer(bell: Bell) -> Trap | None:
            """Receive trapped calls and admit those there is room for, until the bell has rung.

            Returns at once the first one that needs a closer look.
            """
            nonlocal last_tid
            ready = bell is ONCE  # there is a call, so that receiving it does not block
            while True:
                filled[everything] = _ZERO  # the kernel insists
                if ready:
                    try:
                        ioctl(fd, RECV, request)
                    except OSError as error:
                        # ENOENT: the caller died in between.
                        if error.errno in (errno.ENOENT, errno.EINTR):
                            return None
                        raise
                elif wait(fd, RECV, there) < 0:
                    return None  # the bell, or what is met again when the next call is ready
                tid, nr = words[_TID], words[_NR]
                if tid != last_tid:
                    last_tid = tid
                    turn(tid)
                bill = bills.get(nr) or self._work_out(nr, tid)
                if bill is None or not (bill.credit or prepay(bill, (job, _unpack_id(request)[0]))):
                    id, _, _, _, _, _, *args = REQUEST.unpack_from(request)
                    return self._look_closer(id, tid, nr, args)
                bill.credit -= 1
                # Replaces what this thread reserved before: it is in one call at a time.
                pending[tid] = bill.note
                if doubtful:
                    doubtful.pop(tid, None)
                answered[everything] = received
                try:
                    ioctl(fd, SEND, go_on)
                except FileNotFoundError:
                    pass  # the caller died in between
                except InterruptedError:
                    self._send(go_on)
                if bell.rang:
                    return None

        return answer

    def send(self, id: int, error: int, flags: int, value: int = 0) -> bool:
        """Answer a call; False when its caller is gone."""
        return self._send(bytearray(RESPONSE.pack(id, value, error, flags)))

    def _send(self, response: bytearray) -> bool:
        while True:
            try:
                ioctl(self.fd, SEND, response)
            except FileNotFoundError:
                return False
            except InterruptedError:  # by a signal, while another caller had the lock
                continue
            return True

    def _work_out(self, nr: int, tid: int) -> Bill | None:
        """The bill for a call by its number alone; None for one that is not charged."""
        if self._moved:
            self._find_group(tid)
        demand = self.demands.quick.get(nr)
        if demand is None or nr in self.demands.closely:
            return None
        terms = self._terms()
        if not terms.limited.isdisjoint(self.demands.vague.get(nr, ())):
            return None
        bill = terms.bill(demand, nr)
        if not self._moved:
            self._bills[nr] = bill
        return bill

    def again(self, request: bytes, kept: int) -> Trap | None:
        """Look at a call that an agent before this one has received.

        ``kept``: its record in the estate, 0 for none.
        """
        id, tid, _, nr, _, _, *args = REQUEST.unpack(request)
        if self._moved:
            self._find_group(tid)
        return self._look_closer(id, tid, nr, args, kept)

    def _look_closer(
        self, id: int, tid: int, nr: int, args: Sequence[int], kept: int = 0
    ) -> Trap | None:
        """There may be too little room, or it is no call to charge: look at its arguments."""
        self.tally.calls[nr] += 1
        self._accounts.reservations.drop(tid)
        trap = Trap(self, id, tid, nr, args, self._group)
        trap.kept = kept
        if nr != self._affinity:
            if unasked := self.demands.unasked(nr, args, tid):
                self._accounts.charge_unasked(self._terms().bill(unasked))
            trap.demand = self.demands.exact(nr, args, tid)
            if not trap.demand and nr not in self.demands.closely:
                trap.admit()
                return None
            trap.bill = self._terms().bill(trap.demand)
        return trap

    def _terms(self) -> Terms:
        return self._accounts.terms[self._group]

    def _find_group(self, tid: int) -> None:
        try:
            tag = membership.read(tid)
        except ProcessLookupError:
            return
        if tag is not None:
            self._group = tag.group

    def wake(self, sync: bool) -> None:
        """Wake callers synchronously from now on, or not (`wake_up`)."""
        if sync is not self._sync and self._can_sync:
            self._sync = sync
            seccomp.set_sync(self.fd, sync)
