"""Counted resources: what a container holds, may hold, and was refused.

Figures follow the seeds' beancounters: ``held``, ``minheld``, ``maxheld``, ``barrier``,
``limit``, ``failcnt``. Two things are added, each by one field: a counter with an ``interval``
counts what is made in a time, a rate; one with a ``lender`` borrows what it holds over its
guarantee from a pool that is shared with others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from governor.core.container import EMPTY, put, take
from governor.units import UNLIMITED

FIGURES = ("maxheld", "minheld", "failcnt")
"""What can be reset."""
_NO_RESETS: frozenset[str] = frozenset()


class Counter:
    """One counted resource of one container.

    Ends are not seen, so there are two figures: ``charged`` grows with every charge and is
    never less than the truth; ``held`` is what the last recount found. ``maxheld`` and
    ``minheld`` are the highest and the lowest recount, ``failcnt`` how many charges were
    refused here. Ordinary callers meet the ``ceiling``: the barrier, and the limit where
    there is no barrier below it. Privileged ones may pass the barrier, up to the limit.
    """

    __slots__ = (
        "_barrier",
        "_cap",
        "_limit",
        "admitted",
        "borrowers",
        "ceiling",
        "charged",
        "failcnt",
        "guarantee",
        "held",
        "id",
        "interval",
        "lender",
        "maxheld",
        "minheld",
        "resets",
        "resource",
        "since",
    )

    def __init__(
        self, id: int, resource: str, limit: int = UNLIMITED, *, interval: float = 0
    ) -> None:
        self.id = id
        self.resource = resource
        self._limit = self._barrier = self._cap = self.ceiling = UNLIMITED
        self.limit = limit
        self.interval = interval
        """Seconds in which at most ``limit`` may be charged; 0: as much may be held at once."""
        self.since = float("-inf")
        """When the running interval began."""
        self.lender: Counter | None = None
        self.guarantee = 0
        self.borrowers: Mapping[Counter, None] = EMPTY
        self.charged = 0
        self.held = 0
        self.minheld = 0
        self.maxheld = 0
        self.failcnt = 0
        self.admitted = 0
        """Calls that were let through; the kernel may have failed some of them afterwards."""
        self.resets: Set[str] = _NO_RESETS
        """Figures that were reset here since `pass_on`."""

    def __repr__(self) -> str:
        return f"Counter({self.id}, {self.resource!r}, charged={self.charged}, limit={self.limit})"

    # -- bounds --------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """What nobody may exceed."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self.ceiling = min(self.bound, self._barrier)

    @property
    def cap(self) -> int:
        """What nobody may exceed whatever the limit is, since others have a right to the rest."""
        return self._cap

    @cap.setter
    def cap(self, cap: int) -> None:
        self._cap = cap
        self.ceiling = min(self.bound, self._barrier)

    @property
    def bound(self) -> int:
        """What nobody may exceed: the limit, or a cap below it."""
        return min(self._limit, self._cap)

    @property
    def barrier(self) -> int:
        """What only privileged callers may exceed; `UNLIMITED`: it follows the limit."""
        return self._barrier

    @barrier.setter
    def barrier(self, barrier: int) -> None:
        self._barrier = barrier
        self.ceiling = min(self.bound, barrier)

    @property
    def limited(self) -> bool:
        """Whether a charge here can be refused at all, by this counter or by its lender."""
        return self.ceiling != UNLIMITED or self.lender is not None

    # -- figures -------------------------------------------------------------------

    def recount(self, held: int, reserved: int = 0) -> None:
        """Take over a recount; ``reserved`` are charges that may not be visible in it yet.

        What borrowers hold over their guarantees is added: they are recounted first.
        """
        charged = held + reserved
        for borrower in self.borrowers:
            held += borrower.over(borrower.held)
            charged += borrower.over(borrower.charged)
        self.held = held
        self.charged = charged
        self.maxheld = max(self.maxheld, held)
        self.minheld = min(self.minheld, held)

    def witness(self, held: int) -> None:
        """So much at least is held just now: somebody has seen that who has not looked at all."""
        self.maxheld = max(self.maxheld, held)

    def refuse(self) -> None:
        """Count a refusal: it belongs to the container whose limit was met."""
        self.failcnt += 1

    def reset(self, figure: str) -> None:
        """Start a figure again.

        ``maxheld`` and ``minheld`` start from what is held, ``failcnt`` and ``admitted``
        from 0, and ``since``, the running interval, with the next charge.
        """
        anew = {"maxheld": self.held, "minheld": self.held, "since": float("-inf")}
        setattr(self, figure, anew.get(figure, 0))
        self.resets |= {figure}

    def pass_on(self) -> list[str]:
        """What was reset here, for whoever has to tell others; not to be told again."""
        resets, self.resets = self.resets, _NO_RESETS
        return sorted(resets)

    # -- rates ---------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Bring a rate's figures up to date: nothing has been made since an interval is over."""
        self.recount(self.charged)
        if now - self.since >= self.interval:
            self.recount(0)

    def begin(self, now: float) -> None:
        """Something is about to be charged to a rate: begin an interval when the last is over."""
        if now - self.since >= self.interval:
            self.tick(now)
            self.since = now

    # -- pools ---------------------------------------------------------------------

    def borrow(self, lender: Counter | None, guarantee: int = 0) -> None:
        """From now on borrow what is held over ``guarantee`` from ``lender``; None: no more.

        The figures are right again after the next recount of the whole pool. A subsystem that
        destroys a counter ends its borrowing first.
        """
        if self.lender is not None:
            self.lender.borrowers = take(self.lender.borrowers, self)
        self.lender = lender
        self.guarantee = guarantee
        if lender is not None:
            lender.borrowers = put(lender.borrowers, self, None)

    def over(self, figure: int) -> int:
        """What of ``figure`` exceeds the guarantee, and so is borrowed."""
        return max(0, figure - self.guarantee)

    @property
    def pooled(self) -> bool:
        """Whether the counter borrows or lends."""
        return self.lender is not None or bool(self.borrowers)


Entry = tuple[Counter, int]
"""A counter and how much of it a call asks for."""


def without_room(entries: Iterable[Entry], privileged: bool = False) -> list[Entry]:
    """Those entries whose counter cannot take their amount more; empty when all can."""
    if privileged:
        return [(c, amount) for c, amount in entries if c.charged + amount > c.limit]
    return [(c, amount) for c, amount in entries if c.charged + amount > c.ceiling]


def at_barrier(entries: Iterable[Entry]) -> bool:
    """Whether a barrier is among what these meet, which privileged callers may pass."""
    return any(counter.ceiling < counter.limit for counter, _ in entries)


def charge(entries: Iterable[Entry], times: int = 1) -> None:
    """Charge all entries so many times; whether they may was asked before."""
    for counter, amount in entries:
        counter.charged += times * amount


def flow(entries: Iterable[Entry], figure: str = "charged") -> Iterator[Entry]:
    """These entries, and what each makes its counter borrow: from its lender, and from theirs.

    A counter below its guarantee borrows nothing, so that nobody above can refuse it.
    ``figure`` (charged or held) is what the counters are taken to have.
    """
    for first, wanted in entries:
        counter: Counter | None = first
        amount = wanted
        while counter is not None and amount:
            yield counter, amount
            before = getattr(counter, figure)
            amount = counter.over(before + amount) - counter.over(before)
            counter = counter.lender


def with_pools(counters: Iterable[Counter]) -> list[Counter]:
    """These counters and all that share pools with them, borrowers before their lenders."""
    found: dict[Counter, None] = {}
    for counter in counters:
        top = counter
        while top.lender is not None:
            top = top.lender
        if top in found:
            continue
        lenders_first, below = [], [top]
        while below:
            lenders_first.append(below.pop())
            below += lenders_first[-1].borrowers
        found.update(dict.fromkeys(reversed(lenders_first)))
    return list(found)
