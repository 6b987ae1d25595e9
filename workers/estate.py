"""The estate: what one agent leaves to the next, in memory that outlives it.

The supervisor makes the memory and hands it to every agent in turn; only one of them runs at a
time. It is a row of records. A record counts from the store of its kind, which is the last one
made for it, and no longer from the store that clears the kind: whenever the agent is killed, a
record is there as a whole or not at all.

Requests are received right into their records. The kernel is given more room than it fills,
since Python would bounce anything up to 1024 bytes through its stack, where it is lost.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from governor.core.counter import Counter

SIZE = 16 << 20
"""Bytes of an estate: room for 130,000 counters, listeners and waiting calls. Unused, none."""

LISTENER, CALL, COUNTER, ENTRY, REFUSED = _KINDS = range(1, 6)
"""Kinds of records, and their owners: a job, a job, a counter, a ticket, a counter and a job."""

_LEAST = 4096
_RECORD = 128
_WORD = 8
_WORDS = _RECORD // _WORD
_BODY = 2
"""The first words of a record are its kind and its owner."""
REQUEST_SIZE = 80
_ROOM = 2048
"""Bytes handed to RECV; it writes no more than `REQUEST_SIZE` of them."""

_USED, _AGENTS, _TICKET, _REFUSALS = range(4)
"""Words of record 0: how many records are or were in use, agents so far, the last ticket, and
how many refusals there were, those that are being answered included."""
_SCRAP = 1
"""The record of everything that there is no room for; nobody inherits it."""
_REFUSAL = 2
"""The record of a refusal that is being answered: counter, failcnt with it, job, call, and how
many the counter has refused to the job with it, and what it held."""
_JOB_BITS = 20
"""What of the owner of a `REFUSED` is the job; the rest is the counter."""
_CHARGE = 3
"""The record of the last call that was charged to rates: job, call, and three words for each."""
_RATES = (_WORDS - 3) // 3
"""So many rates of one call can be noted."""
_FIRST = 4


def make() -> int:
    """The descriptor of an empty estate; smaller where no file may be that large."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = SIZE if limit == resource.RLIM_INFINITY else min(SIZE, limit)
    descriptor = os.memfd_create("governor-estate", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, max(size, _LEAST))
    return descriptor


def refusals_until_now(descriptor: int) -> int:
    """How many refusals there were in all, those that are being answered included.

    The caller of each that has been answered goes on after that is to be seen here.
    """
    return int.from_bytes(os.pread(descriptor, _WORD, _REFUSALS * _WORD), sys.byteorder)


class Estate:
    """The records, for the agent that runs now. ``successor``: another one ran before it."""

    def __init__(self, descriptor: int) -> None:
        import mmap

        size = os.fstat(descriptor).st_size
        self._bytes = memoryview(mmap.mmap(descriptor, size))
        self.words = self._bytes.cast("q")
        self._room = (size - _ROOM) // _RECORD
        self._used = max(self.words[_USED], _FIRST)
        self._free: list[int] = []
        self._found: dict[int, dict[int, int]] = {kind: {} for kind in _KINDS}
        for record in range(_FIRST, self._used):
            kind, owner = self.words[record * _WORDS : record * _WORDS + _BODY]
            if kind:
                self._found[kind][owner] = record
            else:
                self._free.append(record)
        self.changed: set[int] = set()
        """Counters whose figures are not those of the last `take_changed`."""
        self.successor = self.words[_AGENTS] > 0
        self.words[_AGENTS] += 1

    # -- records -------------------------------------------------------------------

    def find(self, kind: int, owner: int) -> int | None:
        """The record of this kind and owner."""
        return self._found[kind].get(owner)

    def add(self, kind: int, owner: int, body: bytes = b"") -> int:
        """A new record that begins with ``body`` and has zeros after it."""
        record = self._take()
        start = record * _RECORD + _BODY * _WORD
        whole = body.ljust(_RECORD - _BODY * _WORD, b"\0")
        self._bytes[start : start + len(whole)] = whole
        self.words[record * _WORDS + 1] = owner
        if record != _SCRAP:
            self.words[record * _WORDS] = kind
            self._found[kind][owner] = record
        return record

    def free(self, record: int) -> None:
        """Forget a record."""
        if record != _SCRAP:
            first = record * _WORDS
            found, owner = self._found[self.words[first]], self.words[first + 1]
            self.words[first] = 0
            if found.get(owner) == record:
                del found[owner]
            self._free.append(record)

    def drop(self, kind: int, owner: int) -> None:
        """Forget the record of this kind and owner, if there is one."""
        record = self.find(kind, owner)
        if record is not None:
            self.free(record)

    def owners(self, kind: int) -> list[int]:
        """Who has a record of this kind; for calls, once each."""
        return list(self._found[kind])

    def body(self, record: int) -> bytes:
        """What a record has after its kind and owner."""
        return bytes(self._bytes[record * _RECORD + _BODY * _WORD : (record + 1) * _RECORD])

    def word(self, record: int, index: int) -> int:
        """Where in ``words`` this word of a record's body is."""
        return record * _WORDS + _BODY + index

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        if self._used >= self._room:
            return _SCRAP
        self._used += 1
        self.words[_USED] = self._used
        return self._used - 1

    # -- calls ---------------------------------------------------------------------

    def slot(self, job: int) -> memoryview:
        """Where requests of this job's listener are received."""
        record = self.find(LISTENER, job) or self.add(LISTENER, job)
        start = record * _RECORD + _BODY * _WORD
        return self._bytes[start : start + _ROOM]

    def calls(self) -> Iterator[tuple[int, int, bytes]]:
        """All that was received and may not be answered: record, job, request."""
        for record in range(_FIRST, self._used):
            kind, job = self.words[record * _WORDS : record * _WORDS + _BODY]
            if kind in (LISTENER, CALL):
                start = record * _RECORD + _BODY * _WORD
                yield record, job, bytes(self._bytes[start : start + REQUEST_SIZE])

    def is_kept(self, record: int) -> bool:
        """Whether this is the record of a call that waits."""
        return self.words[record * _WORDS] == CALL

    # -- refusals ------------------------------------------------------------------

    def refusing(self, counter: int, failcnt: int, job: int, call: int, held: int) -> None:
        """This call is about to be refused, and with that its counter has ``failcnt``."""
        first = _REFUSAL * _WORDS
        times = self.words[self._times(job, counter)] + 1
        self.words[first + 1 : first + 7] = memoryview(
            b"".join(n.to_bytes(8, "little") for n in (counter, failcnt, job, call, times, held))
        ).cast("q")
        self.words[_REFUSALS] += 1
        self.words[first] = 1

    def refused(self, counts: bool) -> None:
        """It has been answered, and counts, or nobody has waited for it."""
        first = _REFUSAL * _WORDS
        if counts:
            counter, _, job, _, times, held = self.words[first + 1 : first + 7]
            self._count(job, counter, times, held)
        self.words[first] = 0

    def refused_to(self, job: int, counter: int, held: int) -> None:
        """A job was refused its start."""
        self.words[_REFUSALS] += 1
        self._count(job, counter, self.words[self._times(job, counter)] + 1, held)

    def _count(self, job: int, counter: int, times: int, held: int) -> None:
        first = self._times(job, counter)
        self.words[first], self.words[first + 1] = times, held

    def last_refusal(self) -> tuple[int, int, int, int] | None:
        """What `refusing` was told, if `refused` did not follow."""
        first = _REFUSAL * _WORDS
        if not self.words[first]:
            return None
        counter, failcnt, job, call = self.words[first + 1 : first + 5]
        return counter, failcnt, job, call % (1 << 64)

    def _times(self, job: int, counter: int) -> int:
        """Where the number of calls is that a counter has refused to a job."""
        owner = counter << _JOB_BITS | job
        record = self.find(REFUSED, owner)
        return self.word(self.add(REFUSED, owner) if record is None else record, 0)

    def refusals(self) -> list[list[int]]:
        """A job, a counter, how many calls that has refused to it, and what it held then."""
        rows = []
        for owner in self.owners(REFUSED):
            job, counter = owner % (1 << _JOB_BITS), owner >> _JOB_BITS
            first = self._times(job, counter)
            rows.append([job, counter, self.words[first], self.words[first + 1]])
        return rows

    def forget_refusals(self, job: int | None = None, counter: int | None = None) -> None:
        """Nobody will ask what was refused to this job, or by this counter."""
        for one, other, *_ in self.refusals():
            if one == job or other == counter:
                self.drop(REFUSED, other << _JOB_BITS | one)

    # -- rates ---------------------------------------------------------------------

    def charging(self, job: int, call: int, rates: list[tuple[int, int, int]]) -> None:
        """This call is about to be charged to rates: their counters, how much, the sum then.

        What a rate was charged is in no recount, so that a call that was not answered is to be
        charged again by a successor, and not twice.
        """
        first = _CHARGE * _WORDS
        words = self.words
        words[first] = 0
        words[first + 1] = job
        words[first + 2] = call - (call >> 63 << 64)
        numbers = [number for rate in rates[:_RATES] for number in rate]
        for index, number in enumerate(numbers, first + 3):
            words[index] = number
        words[first] = 1 + len(numbers)

    def last_charge(self) -> tuple[int, int, list[tuple[int, int, int]]] | None:
        """What `charging` was told last."""
        first = _CHARGE * _WORDS
        used = self.words[first]
        if not used:
            return None
        job, call, *numbers = self.words[first + 1 : first + 2 + used].tolist()
        rates = zip(*[iter(numbers)] * 3, strict=True)
        return job, call % (1 << 64), list(rates)

    def take_changed(self) -> list[int]:
        """The counters whose figures have changed since this was last asked."""
        changed, self.changed = self.changed, set()
        return sorted(changed)

    # -- tickets -------------------------------------------------------------------

    def new_ticket(self) -> int:
        """A number that no agent has used yet."""
        self.words[_TICKET] += 1
        return self.words[_TICKET]


_FAILCNT, _MAXHELD, _MINHELD, _HELD, _ADMITTED, _CHARGED, _SINCE = range(7)
_NANO = 1_000_000_000


class KeptCounter(Counter):
    """A counter that goes on with the figures that an agent before this one has left."""

    __slots__ = ("_estate", "_record")

    def __init__(self, estate: Estate, id: int, resource: str, limit: int) -> None:
        super().__init__(id, resource, limit)
        self._estate = estate
        estate.changed.add(id)
        record = estate.find(COUNTER, id)
        if record is None:
            record = estate.add(COUNTER, id)
        else:
            self._inherit(record)
        self._record = record

    def _inherit(self, record: int) -> None:
        first = self._estate.word(record, 0)
        figures = self._estate.words[first : first + 7].tolist()
        self.failcnt, self.maxheld, self.minheld, self.held = figures[:4]
        self.admitted, self.charged = figures[_ADMITTED], figures[_CHARGED]
        if figures[_SINCE]:
            self.since = figures[_SINCE] / _NANO

    def recount(self, held: int, reserved: int = 0) -> None:
        """As the base does, for good."""
        super().recount(held, reserved)
        self._leave()

    def witness(self, held: int) -> None:
        """As the base does, for good."""
        super().witness(held)
        self._leave()

    def _leave(self) -> None:
        self._estate.changed.add(self.id)
        words, first = self._estate.words, self._estate.word(self._record, 0)
        words[first + _MAXHELD] = self.maxheld
        words[first + _MINHELD] = self.minheld
        words[first + _HELD] = self.held
        words[first + _ADMITTED] = self.admitted
        words[first + _CHARGED] = self.charged
        words[first + _SINCE] = 0 if self.since < 0 else int(self.since * _NANO)

    def refuse(self) -> None:
        """As the base does, for good."""
        super().refuse()
        self._estate.changed.add(self.id)
        self._estate.words[self._estate.word(self._record, _FAILCNT)] = self.failcnt

    def reset(self, figure: str) -> None:
        """As the base does, for good."""
        super().reset(figure)
        self._estate.words[self._estate.word(self._record, _FAILCNT)] = self.failcnt
        self._leave()


class Left(NamedTuple):
    """The figures of a counter that are not to begin anew."""

    failcnt: int
    maxheld: int
    minheld: int
    admitted: int


def leave_figures(descriptor: int, figures: Mapping[int, Left]) -> None:
    """Fill an estate as if an agent had left it: counters, by id, are to go on with these."""
    estate = Estate(descriptor)
    for id, left in figures.items():
        words = (left.failcnt, left.maxheld, left.minheld, 0, left.admitted)
        estate.add(COUNTER, id, b"".join(word.to_bytes(8, "little") for word in words))
