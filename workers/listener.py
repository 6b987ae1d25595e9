"""One job's seccomp listener: the hot path from a trapped call to its answer."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from fcntl import ioctl
from typing import TYPE_CHECKING, Final

from workers import membership, seccomp
from workers.accounts import Bill, Terms
from workers.demands import ERRNO, Demands
from workers.seccomp import CONTINUE, RECV, REQUEST, RESPONSE, SEND

if TYPE_CHECKING:
    from governor.core.counter import Counter
    from workers.accounts import Accounts

PATIENCE: Final = 1.0
"""Seconds a call waits at most for reservations that stand in its way to settle."""

_ZERO: Final = bytes(REQUEST.size)
_EVALUATE: Final = 64
_MANY_CALLERS: Final = 16

_unpack = REQUEST.unpack_from
_pack = RESPONSE.pack_into


class Trap:
    """A call that needs more than the fast path."""

    __slots__ = ("_listener", "args", "bill", "deadline", "group", "id", "nr", "tid")

    def __init__(
        self, listener: Listener, id: int, tid: int, nr: int, args: Sequence[int], group: int
    ) -> None:
        self._listener = listener
        self.id = id
        self.tid = tid
        self.nr = nr
        self.args = args
        self.group = group
        self.deadline = time.monotonic() + PATIENCE
        self.bill: Bill

    def still_valid(self) -> bool:
        """Whether the caller still waits for this answer."""
        return seccomp.id_valid(self._listener.fd, self.id)

    def admit(self) -> None:
        """Let the kernel carry out the call."""
        self._listener.send(self.id, 0, CONTINUE)

    def fail(self, number: int) -> bool:
        """Answer the call with an errno, or with success for 0; False when nobody waits."""
        return self._listener.send(self.id, -number, 0)

    def refuse(self, counter: Counter) -> bool:
        """Answer that the limit of ``counter`` is met; False when nobody waits any more."""
        return self.fail(ERRNO[counter.resource])


class Listener:
    """Receives the traps of one job and answers those that there is room for."""

    def __init__(
        self, fd: int, job: int, group: int, demands: Demands, affinity: int, accounts: Accounts
    ) -> None:
        self.fd = fd
        self.job = job
        self.moved = False
        self._group = group
        self._demands = demands
        self._affinity = affinity
        self._accounts = accounts
        self._bills: dict[int, Bill] = {}
        self._request = bytearray(REQUEST.size)
        self._response = bytearray(RESPONSE.size)
        self._sync = self._can_sync = seccomp.set_sync(fd, True)
        self._traps = self._changes = self._last_tid = 0

    def forget_bills(self) -> None:
        """Plans have changed: work the bills out again."""
        self._bills.clear()

    def answer(self) -> Trap | None:
        """Receive one trapped call and admit it if there is room; otherwise return it."""
        request = self._request
        request[:] = _ZERO  # the kernel insists
        try:
            ioctl(self.fd, RECV, request)
        except OSError as error:
            # ENOENT: the caller died in between. EINTR: a signal of ours.
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        id, tid, _, nr, _, _, *args = _unpack(request)
        accounts = self._accounts
        accounts.pending.pop(tid, None)  # this call settles the thread's last one
        if accounts.doubtful:
            accounts.doubtful.pop(tid, None)
        if self.moved:
            self._follow(tid)
        bill = self._bills.get(nr)
        if bill is None:
            if nr == self._affinity:
                return Trap(self, id, tid, nr, args, self._group)
            bill = self._bills[nr] = self._terms().bill(self._demands.quick[nr])
        for counter, amount in bill.entries:
            if counter.charged + amount > counter.limit:
                return self._look_closer(id, tid, nr, args)
        for counter, amount in bill.entries:
            counter.charged += amount
        accounts.pending[tid] = bill.note
        self.send(id, 0, CONTINUE)
        if self._can_sync:
            self._watch_callers(tid)
        return None

    def send(self, id: int, error: int, flags: int) -> bool:
        """Answer a call; False when its caller is gone."""
        _pack(self._response, 0, id, 0, error, flags)
        try:
            ioctl(self.fd, SEND, self._response)
        except OSError as failure:
            if failure.errno == errno.ENOENT:
                return False
            raise
        return True

    def _look_closer(self, id: int, tid: int, nr: int, args: list[int]) -> Trap | None:
        """There may be too little room: find out what exactly the call asks for."""
        demand = self._demands.exact(nr, args, tid)
        if not demand:
            self.send(id, 0, CONTINUE)
            return None
        trap = Trap(self, id, tid, nr, args, self._group)
        trap.bill = self._terms().bill(demand)
        return trap

    def _terms(self) -> Terms:
        return self._accounts.terms[self._group]

    def _follow(self, tid: int) -> None:
        """Once something of the job has moved, the tag of each caller tells its group."""
        try:
            tag = membership.read(tid)
        except ProcessLookupError:
            return
        if tag is not None and tag.group != self._group:
            self._group = tag.group
            self._bills.clear()

    def _watch_callers(self, tid: int) -> None:
        """Wake callers synchronously only while there is one: it would serialise several.

        A synchronous wake-up makes the caller run next on this CPU, which saves most of
        the latency when nobody else is waiting for an answer (Linux 6.6).
        """
        if tid != self._last_tid:
            self._last_tid = tid
            self._changes += 1
        self._traps += 1
        if self._traps < _EVALUATE:
            return
        wanted = self._changes < _MANY_CALLERS
        if wanted != self._sync:
            self._sync = seccomp.set_sync(self.fd, wanted)
        self._traps = self._changes = 0
