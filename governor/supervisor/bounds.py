"""Barriers and limits that are met: which container's they are, and telling of it."""

from __future__ import annotations

from collections.abc import Iterator

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.forest import Forest
from governor.results import Refusal
from governor.supervisor.events import Events
from governor.wire import agent as wire

MET_MAX = 1_000
"""Counters that are remembered because they were met lately."""


class Bounds:
    """Finds counters of a forest by the ids the agent knows them by."""

    def __init__(self, forest: Forest, events: Events) -> None:
        self._forest = forest
        self._events = events
        self._met: dict[int, tuple[Container, Counter]] = {}
        """Those that were met before, as most will be again."""

    def at_limit(self, counter: int) -> str:
        """Which container is at which limit, in words."""
        found = self._find(counter)
        if found is None:
            return "a container is at its limit"
        container, own = found
        if own.interval:
            made = f"{own.limit} new {own.resource} in {own.interval:g} s"
            return f"{container.label} is at its limit of {made}"
        kept = ", not counting what is kept for others" if own.pooled else ""
        return f"{container.label} is at its limit of {own.bound} {own.resource}{kept}"

    def hit(self, message: wire.JobHit) -> None:
        """The agent tells of a bound that was met: an event, unless its container is gone."""
        found = self._find(message.counter)
        if found is None:
            return
        container, counter = found
        at_limit = message.bound == "limit"
        self._events.of(
            "limit" if at_limit else "barrier",
            container,
            resource=counter.resource,
            bound=counter.bound if at_limit else counter.barrier,
            held=message.held,
            times=message.times,
            pid=message.pid,
            job=message.job,
            answer="admitted" if message.bound == "passed" else "refused",
        )

    def met(self, message: wire.JobHit) -> Refusal | None:
        """The same as what it is to the job; None when its container is gone."""
        found = self._find(message.counter)
        if found is None:
            return None
        container, counter = found
        bound = counter.bound if message.bound == "limit" else counter.barrier
        return Refusal(container.label, counter.resource, bound, message.held, message.times)

    def _find(self, id: int) -> tuple[Container, Counter] | None:
        """A counter by its id, with its container."""
        found = self._met.pop(id, None)
        if found is None or not _has(*found):
            found = self._search(id)
        if found is None:
            return None
        self._met[id] = found
        if len(self._met) > MET_MAX:
            del self._met[next(iter(self._met))]
        return found

    def _search(self, id: int) -> tuple[Container, Counter] | None:
        for hierarchy in self._forest.hierarchies.values():
            for container in hierarchy.containers():
                for own in own_counters(container):
                    if own.id == id:
                        return container, own
        return None


def _has(container: Container, counter: Counter) -> bool:
    """Whether a container is still there and has this counter."""
    return bool(container.states) and counter in own_counters(container)


def own_counters(container: Container) -> Iterator[Counter]:
    """The counters that the subsystems keep for a container."""
    for subsystem in container.hierarchy.subsystems.values():
        yield from subsystem.counters(container)
