"""numtasks: limit the tasks (processes and threads) of a container, and how fast it forks.

At the limit fork, vfork, clone, clone3 and thread creation fail with EAGAIN, whichever
ancestor's limit is met, and that container's ``numtasks.failcnt`` counts the refusal. A
task counts from its creation until it has been reaped, zombies included, as in the
kernel's pids controller. With a ``numtasks.forkrate`` at the root, each container makes at
most so many tasks in every ``numtasks.forkrate_interval`` seconds, its sub-containers not
included; more fail with EAGAIN, too, and are forkrate failures in ``numtasks.stats``.

Not promised: moving a process in, or lowering the limit below what is held, is never
refused; it only keeps new tasks from being made. ``maxheld`` is the highest recount.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.plan import PlanBuilder
from governor.subsystem import ControlFile, Metric, Value, format_limit
from governor.subsystem.shared import SharedCounter, SharedSubsystem, parse_positive
from governor.units import UNLIMITED, parse_duration

FORKRATE = Metric("forkrate", "Tasks that each container may make per interval.")
INTERVAL = Metric("forkrate_interval", "The interval of the fork rate.", unit="seconds")


class TaskCounter(SharedCounter):
    """The tasks of a container; ``rate`` are those made lately, once that is limited."""

    rate: Counter | None = None
    forkrate = UNLIMITED
    forkrate_interval = 1


class NumTasks(SharedSubsystem):
    """Processes and threads, limited per container."""

    name = "numtasks"
    resource = "tasks"
    traps = frozenset({"tasks"})
    facility = "tasks"
    counter_class = TaskCounter
    later = ("pool", "rate")

    def counter(self, container: Container) -> TaskCounter:
        """The container's counter."""
        state = container.states[self.name]
        assert isinstance(state, TaskCounter)
        return state

    def counters(self, container: Container) -> Iterable[Counter]:
        """That of the fork rate, too, once there has been a limit to it."""
        yield from super().counters(container)
        if (rate := self.counter(container).rate) is not None:
            yield rate

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """The rate is the same for all, and each has its own."""
        super().contribute(plan, container)
        counter = self.counter(container)
        root = self.counter(container.hierarchy.root)
        if counter.rate is None and root.forkrate != UNLIMITED:
            counter.rate = Counter(container.hierarchy.new_id(), self.resource)
        if counter.rate is not None:
            counter.rate.limit, counter.rate.interval = root.forkrate, root.forkrate_interval
            plan.count(counter.rate)

    def populate(self) -> Mapping[str, ControlFile]:
        """``forkrate`` tasks may be made in ``forkrate_interval`` seconds."""
        interval = self._setting("forkrate_interval", parse_seconds, INTERVAL)
        return {
            **super().populate(),
            "numtasks.forkrate": self._setting("forkrate", parse_positive, FORKRATE),
            "numtasks.forkrate_interval": interval,
        }

    def _setting(self, field: str, parse: Callable[[Value], int], metric: Metric) -> ControlFile:
        def write(root: Container, value: int) -> Callable[[], None]:
            counter = self.counter(root)
            take_back = partial(setattr, counter, field, getattr(counter, field))
            setattr(counter, field, value)
            for rate in filter(None, (self.counter(c).rate for c in root.descendants())):
                rate.reset("since")  # as in the seeds, all begin anew
            return take_back

        def read(root: Container) -> Value:
            return format_limit(getattr(self.counter(root), field))

        return ControlFile(read, parse, write, metric, on="root", needs="nothing")

    def stats(self, container: Container) -> dict[str, int]:
        """Refusals for the rate are a line of their own."""
        rate = self.counter(container).rate
        return super().stats(container) | {"forkrate_failures": rate.failcnt if rate else 0}


def parse_seconds(value: Value) -> int:
    """Whole seconds from 1, also as 10s or 1m; ValueError for anything else."""
    seconds = parse_duration(value)
    if seconds < 1 or seconds != int(seconds):
        raise ValueError("allowed are whole seconds, from 1")
    return int(seconds)
