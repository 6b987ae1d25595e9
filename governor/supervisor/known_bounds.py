"""What an agent has been told: it hears only of what has changed, and its successor of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from governor.core.counter import Counter
from governor.units import UNLIMITED
from governor.wire import agent as wire
from governor.wire.codec import Message

_OF_COUNTERS = (wire.SetCounter, wire.SetBarrier, wire.SetInterval, wire.SetLender)
_LASTING = (*_OF_COUNTERS, wire.SetPlan)
"""What an agent goes by until it is told otherwise, in the order in which it is to hear it."""
_ONCE = (wire.Reset, wire.Enter, wire.JobEnded)
"""What is said once, and said again if an agent may have died over it."""


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


class Said:
    """What was said to an agent and is to be said again to the next one."""

    def __init__(self) -> None:
        self._lasting: dict[type, dict[int, Message]] = {kind: {} for kind in _LASTING}
        self._unsure: list[Message] = []

    def note(self, message: Message) -> None:
        """This is being said."""
        kind = type(message)
        if kind in self._lasting:
            self._lasting[kind][message[0]] = message
        elif kind in _ONCE:
            self._unsure.append(message)

    def drop_plan(self, group: int) -> None:
        """There is no such plan any more."""
        self._lasting[wire.SetPlan].pop(group, None)

    def drop_counter(self, id: int) -> None:
        """There is no such counter any more, nor anybody who borrows from it."""
        for kind in _OF_COUNTERS:
            self._lasting[kind].pop(id, None)
        lent = self._lasting[wire.SetLender]
        for borrower in [one for one, message in lent.items() if message.lender == id]:
            del lent[borrower]

    def carried_out(self) -> None:
        """The agent has done all that was said until now."""
        self._unsure.clear()

    def lasting(self) -> list[Message]:
        """What an agent goes by, in the order in which it is to hear it."""
        return [message for messages in self._lasting.values() for message in messages.values()]

    def unsure(self) -> list[Message]:
        """What the agent may not have done yet."""
        return list(self._unsure)
