"""Shares of a counted resource: control files, and what follows from them for its counters.

A cap lowers what a container's counter admits. A guarantee makes a *pool* of each container:
its own tasks, say, and what each child holds over its minimum. The pool of a parent has room
for what the parent may hold less the minimums of its children, so that a child below its
minimum asks nobody, and siblings cannot take what is kept for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from governor.core.counter import Counter
from governor.core.shares import Change, Shares
from governor.errors import GovernorError
from governor.subsystem import ControlFile, CountedSubsystem, Metric, Value, format_limit
from governor.units import UNLIMITED, format_count, parse_count

if TYPE_CHECKING:
    from governor.core.container import Container
    from governor.core.plan import PlanBuilder

_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


class SharedCounter(Counter):
    """A counter with shares, and with a pool from the time when something is guaranteed."""

    __slots__ = ("pool", "shares")

    def __init__(self, id: int, resource: str, shares: Shares) -> None:
        super().__init__(id, resource)
        self.shares = shares
        self.pool: Counter | None = None

    def settle(
        self, above: SharedCounter | None, guaranteed: bool, new_id: Callable[[], int]
    ) -> None:
        """Bring cap and pool up to what shares are worth now; the parent's come first."""
        self.cap = self.shares.cap
        if guaranteed and self.pool is None:
            self.pool = Counter(new_id(), self.resource)
        pool = self.pool
        if pool is None:
            return
        kept = self.shares.reserved
        pool.limit = UNLIMITED if self.bound == UNLIMITED else max(self.bound - kept, 0)
        lender = above.pool if above is not None and guaranteed else None
        guarantee = self.shares.minimum - kept
        if (lender, guarantee) != (pool.lender, pool.guarantee):
            pool.borrow(lender, guarantee)

    def leave(self) -> None:
        """The container is gone."""
        self.shares.leave()
        if self.pool is not None:
            self.pool.borrow(None)

    @property
    def failures(self) -> int:
        """Refusals at the limit, at the cap, or for what is kept for others."""
        return self.failcnt + (self.pool.failcnt if self.pool is not None else 0)


class SharedSubsystem(CountedSubsystem):
    """A controller of a counted resource with shares."""

    counter_class: ClassVar[type[SharedCounter]] = SharedCounter
    """What `create` makes."""
    later: ClassVar[tuple[str, ...]] = ("pool",)
    """Attributes of a counter that are counters, too, from the time when they are needed."""
    unsupported_shares: ClassVar[frozenset[str]] = frozenset()
    """Fields of `Change` that this resource does not have: what is written to them is ignored."""

    # -- containers ----------------------------------------------------------------

    def create(self, container: Container) -> SharedCounter:
        """A counter without a limit, and shares that care for nothing."""
        above = self.counter(container.parent).shares if container.parent else None
        shares = Shares(above, self.unsupported_shares)
        return self.counter_class(container.hierarchy.new_id(), self.resource, shares)

    def destroy(self, container: Container, state: object) -> None:
        """The minimum goes back to the parent, for whoever is in there."""
        assert isinstance(state, SharedCounter)
        self.stale |= state.shares.minimum > 0
        state.leave()

    def counter(self, container: Container) -> SharedCounter:
        """The container's counter."""
        state = container.states[self.name]
        assert isinstance(state, SharedCounter)
        return state

    def counters(self, container: Container) -> Iterable[Counter]:
        """The counter, and its pool when there is one."""
        counter = self.counter(container)
        return (counter,) if counter.pool is None else (counter, counter.pool)

    def save(self, container: Container) -> dict[str, Any]:
        """Also which counters it has besides."""
        found = {name: getattr(self.counter(container), name) for name in self.later}
        ids = {name: counter.id for name, counter in found.items() if counter is not None}
        return super().save(container) | {"later": ids}

    def restore(self, container: Container, saved: Mapping[str, Any]) -> list[str]:
        """The counters it had; what they have room for follows from files of it and of others."""
        for name in self.later:
            if id := saved["later"].get(name):
                setattr(self.counter(container), name, Counter(int(id), self.resource))
        return super().restore(container, saved)

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Processes count here and above; where anything is guaranteed, in a pool besides."""
        line = [self.counter(node) for node in container.ancestors()][::-1]
        guaranteed = line[0].shares.reserved > 0
        above = None
        for counter in line:
            counter.settle(above, guaranteed, container.hierarchy.new_id)
            above = counter
        super().contribute(plan, container)
        pool = line[-1].pool
        if guaranteed and pool is not None:
            plan.count(pool)

    # -- control files -------------------------------------------------------------

    def populate(self) -> Mapping[str, ControlFile]:
        """Those of every counted resource, and ``shares``, ``amounts``, ``stats`` and ``total``."""
        files = dict(super().populate())
        failcnt = files[f"{self.name}.failcnt"]
        files[f"{self.name}.failcnt"] = failcnt._replace(
            read=lambda c: self.counter(c).failures, write=lambda c, _: self._reset_failures(c)
        )
        total = Metric("available", f"{self.resource.capitalize()} that shares are parts of.")
        own = {
            "shares": ControlFile(
                self._read_shares, self._parse_shares, self._write_shares, needs="nothing"
            ),
            "amounts": ControlFile(
                lambda c: _line(self.counter(c).shares.amounts._asdict()), needs="nothing"
            ),
            "stats": ControlFile(
                lambda c: "\n".join(f"{name} {figure}" for name, figure in self.stats(c).items()),
                lambda _: None,
                lambda c, _: self.reset_stats(c),
                needs="own",
            ),
            "total": ControlFile(
                lambda c: format_limit(self.counter(c).shares.total),
                parse_positive,
                self._set_total,
                total,
                on="root",
                needs="nothing",
            ),
        }
        return files | {f"{self.name}.{name}": file for name, file in own.items()}

    def stats(self, container: Container) -> dict[str, int]:
        """The lines of the file ``stats``."""
        counter = self.counter(container)
        return {
            "current": counter.held,
            "successes": counter.admitted,
            "failures": counter.failures,
        }

    def reset_stats(self, container: Container) -> None:
        """Start the counts of ``stats`` again from 0."""
        self.counter(container).reset("admitted")
        for counter in self.counters(container):
            counter.reset("failcnt")

    def _reset_failures(self, container: Container) -> None:
        counter = self.counter(container)
        for each in (counter, counter.pool):
            if each is not None:
                each.reset("failcnt")

    def _read_shares(self, container: Container) -> str:
        shares = self.counter(container).shares
        return _line({**shares.fields._asdict(), "unused_min_shares": shares.unused})

    def _parse_shares(self, value: Value) -> Change:
        return parse_shares(value, self.name)

    def _write_shares(self, container: Container, change: Change) -> Callable[[], None]:
        try:
            take_back = self.counter(container).shares.change(change)
        except GovernorError as error:
            raise GovernorError(
                error.errno, f"{self.name}.shares of {container.label}: {error.message}"
            ) from None
        self.stale = True
        return take_back

    def _set_total(self, container: Container, total: int) -> Callable[[], None]:
        shares = self.counter(container).shares
        before, shares.total = shares.total, total
        self.stale = True
        return partial(setattr, shares, "total", before)


def parse_shares(value: Value, resource: str) -> Change:
    """The change written as ``min_shares=20,max_shares=50``; ValueError says what is allowed.

    What a reading says can be written back: ``unused_min_shares``, which follows from the rest,
    is passed over. ``res=`` names the subsystem, as in the seeds' files.
    """
    given: dict[str, str] = {}
    for item in filter(None, map(str.strip, str(value).split(","))):
        key, _, text = item.partition("=")
        if key in given:
            raise ValueError(f"{key} is there twice")
        given[key] = text
    if given.pop("res", resource) != resource:
        raise ValueError(f"res is {resource} here")
    given.pop("unused_min_shares", None)
    if unknown := given.keys() - set(Change._fields):
        raise ValueError(
            f"{', '.join(sorted(unknown))}: allowed are {', '.join(Change._fields)}, "
            f"each with = and an integer, with commas between"
        )
    for key, text in given.items():
        if not _INTEGER.fullmatch(text):
            raise ValueError(f"{key} is an integer, not {text!r}")
    return Change(**{key: int(text) for key, text in given.items()})


def parse_positive(value: Value) -> int:
    """A count from 1, or ``max``; ValueError for anything else."""
    count = parse_count(value)
    if count < 1:
        raise ValueError(f"allowed are counts from 1, and {format_count(UNLIMITED)}")
    return count


def _line(fields: Mapping[str, int]) -> str:
    return ",".join(f"{name}={number}" for name, number in fields.items())
