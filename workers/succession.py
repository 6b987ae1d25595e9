"""Taking the place of an agent that was ended: what it knew, as far as it has to be known.

Plans, limits and listeners come from the supervisor, members from the kernel, figures and calls
without an answer from the estate. Reservations are lost: so every thread that may be inside a
call that was let through has one until it is seen elsewhere. While no agent listens nobody gets
past a trap, so that it is enough to look once.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from workers import seccomp, tasks
from workers.accounts import Accounts
from workers.bills import Note
from workers.census import Census
from workers.estate import COUNTER, LISTENER, REQUEST_SIZE, Estate
from workers.listener import Listener, Trap

_NOTHING = bytes(REQUEST_SIZE)


class Succession:
    """What the listeners that have been adopted mean for accounts that know only the plans."""

    def __init__(
        self, estate: Estate, census: Census, accounts: Accounts, listeners: Sequence[Listener]
    ) -> None:
        self._estate = estate
        self._census = census
        self._accounts = accounts
        self._listeners = {listener.job: listener for listener in listeners}

    def complete(self) -> None:
        """Bring the accounts to where nothing can be admitted that there is no room for."""
        self._sweep(LISTENER, self._listeners)
        self._sweep(COUNTER, self._accounts.counters)
        self._count_refusal()
        self._take_back_charge()
        self._reserve()
        self._accounts.complete = True
        self._accounts.recount()

    def _sweep(self, kind: int, owners: Container[int]) -> None:
        for owner in self._estate.owners(kind):
            if owner not in owners:
                self._estate.drop(kind, owner)

    def _count_refusal(self) -> None:
        """A refusal was about to be answered: if it was, it counts."""
        refusal = self._estate.last_refusal()
        if refusal is None:
            return
        id, failcnt, job, call = refusal
        counter = self._accounts.counters.get(id)
        counts = counter is not None and not self.waits(job, call)
        if counter is not None and counts and counter.failcnt < failcnt:
            counter.refuse()
        self._estate.refused(counts)

    def _take_back_charge(self) -> None:
        """A call that waits for its answer will be charged once more."""
        charge = self._estate.last_charge()
        if charge is not None and self.waits(*charge[:2]):
            self._accounts.take_back(charge[2])

    def waits(self, job: int, call: int) -> bool:
        """Whether a call with this id has been received and waits for its answer."""
        listener = self._listeners.get(job)
        return listener is not None and seccomp.id_valid(listener.fd, call)

    def _reserve(self) -> None:
        groups: dict[int, set[int]] = {job: set() for job in self._listeners}
        for pid, tag in self._census.members().items():
            if tag.job in groups:
                groups[tag.job].add(tag.group)
                for tid in self._census.threads(pid):
                    self._reserve_for(tid, self._listeners[tag.job], tag.group)
        for job, listener in self._listeners.items():
            listener.found_in(groups[job])

    def _reserve_for(self, tid: int, listener: Listener, group: int) -> None:
        """What a thread may be making right now: of a call it sleeps in, or of any."""
        call = tasks.call_of(tid)
        if call is tasks.GONE:
            return
        demands = listener.demands
        if call is None:
            note = Note((group,), demands.most, vague=True)
        else:
            note = Note((group,), demands.quick.get(call, ()))
        if note.demand:
            self._accounts.reservations.pending[tid] = note

    def received(self) -> list[Trap]:
        """The calls that have been received and wait, for another look at each."""
        traps: dict[tuple[int, int], Trap | None] = {}
        for record, job, request in list(self._estate.calls()):
            kept = record if self._estate.is_kept(record) else 0
            call = int.from_bytes(request[:8], "little")
            if request != _NOTHING and (job, call) not in traps and self.waits(job, call):
                traps[job, call] = self._listeners[job].again(request, kept)
            elif kept:
                self._estate.free(kept)
        return [trap for trap in traps.values() if trap is not None]
