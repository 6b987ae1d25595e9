"""What an agent has been told of a counter, so that it is told only of what has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from governor.core.counter import Counter
from governor.units import UNLIMITED
from governor.wire import agent as wire
from governor.wire.codec import Message


class Told(NamedTuple):
    """What an agent knows of a counter; by default what it takes a new one to have."""

    limit: int = -1
    barrier: int = UNLIMITED
    interval: float = 0
    lender: int = 0
    guarantee: int = 0

    @classmethod
    def of(cls, counter: Counter) -> Told:
        """What it should know."""
        lender = counter.lender.id if counter.lender is not None else 0
        return cls(counter.bound, counter.barrier, counter.interval, lender, counter.guarantee)

    def news(self, known: Told, id: int, resource: str) -> Iterator[Message]:
        """What is to be said of a counter to an agent that knows what ``known`` says of it."""
        if self.limit != known.limit:
            yield wire.SetCounter(id, resource, self.limit)
        if self.barrier != known.barrier:
            yield wire.SetBarrier(id, self.barrier)
        if self.interval != known.interval:
            yield wire.SetInterval(id, self.interval)
        if (self.lender, self.guarantee) != (known.lender, known.guarantee):
            yield wire.SetLender(id, self.lender, self.guarantee)

    def tightened(self, other: Told) -> Told:
        """The same with whatever ``other`` has stricter."""
        guarantee = min(self.guarantee, other.guarantee)
        return self._replace(limit=min(self.limit, other.limit), guarantee=guarantee)
