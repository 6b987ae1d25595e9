"""Base of the controllers of one counted resource."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from governor.core.counter import Counter
from governor.errors import GovernorError
from governor.results import Value
from governor.subsystem.contract import ControlFile, Metric, Subsystem
from governor.units import UNLIMITED, format_count, parse_count

if TYPE_CHECKING:
    from governor.core.container import Container
    from governor.core.plan import PlanBuilder


FIGURE_FILES = ("minheld", "maxheld", "failcnt", "stats")
"""Files that can be written, to begin anew, and do not say what was written."""


class CountedSubsystem(Subsystem):
    """A controller of one counted resource: a `Counter` in every container.

    Subclasses name the ``resource``; charging, bounds and the files come from here.
    """

    resource: ClassVar[str] = ""

    def create(self, container: Container) -> Counter:
        """A counter without a limit."""
        return Counter(container.hierarchy.new_id(), self.resource)

    def destroy(self, container: Container, state: object) -> None:
        """Counters hold nothing that outlives them."""

    def counter(self, container: Container) -> Counter:
        """The container's counter."""
        state = container.states[self.name]
        assert isinstance(state, Counter)
        return state

    def counters(self, container: Container) -> Iterable[Counter]:
        """The one counter."""
        return (self.counter(container),)

    def save(self, container: Container) -> dict[str, Any]:
        """The bounds, and which counter it is: figures are kept by that."""
        saved = super().save(container)
        for figure in FIGURE_FILES:
            saved["files"].pop(f"{self.name}.{figure}", None)
        return saved | {"id": self.counter(container).id}

    def restore(self, container: Container, saved: Mapping[str, Any]) -> list[str]:
        """The counter it was."""
        self.counter(container).id = int(saved["id"])
        return super().restore(container, saved)

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Processes count in their container and in all its ancestors."""
        for node in container.ancestors():
            plan.count(self.counter(node))

    def populate(self) -> Mapping[str, ControlFile]:
        """Figures, bounds and failures of the resource, the figures to be reset by a 0."""
        metrics = counted_metrics(self.resource)
        files = {
            "held": ControlFile(lambda c: self.counter(c).held, needs="own"),
            "minheld": self._figure("minheld"),
            "maxheld": self._figure("maxheld"),
            "barrier": ControlFile(
                lambda c: format_limit(self.counter(c).barrier),
                parse_count,
                self._set_barrier,
                needs="nothing",
                asks_who=False,
            ),
            "limit": ControlFile(
                lambda c: format_limit(self.counter(c).limit),
                parse_count,
                self._set_limit,
                needs="nothing",
                asks_who=False,
            ),
            "failcnt": self._figure("failcnt"),
        }
        return {
            f"{self.name}.{name}": file._replace(metric=metrics[name])
            for name, file in files.items()
        }

    def _figure(self, name: str) -> ControlFile:
        """A figure that reads as it was last counted, and that a 0 resets."""
        return ControlFile(
            lambda c: int(getattr(self.counter(c), name)),
            parse_reset,
            lambda c, _: self.counter(c).reset(name),
            needs="own",
            asks_who=False,
        )

    def _set_limit(self, container: Container, limit: int) -> Callable[[], None]:
        # Lowering below what is held is never refused: it denies what comes next.
        counter = self.counter(container)
        if counter.barrier != UNLIMITED and limit < counter.barrier:
            raise GovernorError(
                errno.EINVAL,
                f"{self.name}.limit of {container.label} cannot be {limit}: it must not be below "
                f"{self.name}.barrier, which is {counter.barrier}",
            )
        before, counter.limit = counter.limit, limit
        return partial(setattr, counter, "limit", before)

    def _set_barrier(self, container: Container, barrier: int) -> Callable[[], None]:
        counter = self.counter(container)
        if barrier != UNLIMITED and barrier > counter.limit:
            raise GovernorError(
                errno.EINVAL,
                f"{self.name}.barrier of {container.label} cannot be {barrier}: allowed is "
                f"{self.name}.limit, {counter.limit}, or less, or max to follow it",
            )
        before, counter.barrier = counter.barrier, barrier
        return partial(setattr, counter, "barrier", before)


def counted_metrics(resource: str) -> dict[str, Metric]:
    """How the files of a counted resource are exported, by the last part of their names."""
    what = resource.capitalize()
    return {
        "held": Metric("held", f"{what} held, sub-containers included."),
        "minheld": Metric("held_min", f"Fewest {resource} that were seen to be held."),
        "maxheld": Metric("held_max", f"Most {resource} that were seen to be held at once."),
        "barrier": Metric("barrier", f"{what} that ordinary callers may hold; +Inf: the limit."),
        "limit": Metric("limit", f"{what} that may be held; +Inf where there is no limit."),
        "failcnt": Metric("failures", f"Requests for {resource} refused at this limit.", "counter"),
    }


def format_limit(limit: int) -> Value:
    """A limit as control files show it: a number, or ``max``."""
    return format_count(limit) if limit == UNLIMITED else limit


def parse_reset(value: Value) -> int:
    """What resets a figure: 0. ValueError for anything else."""
    if value not in (0, "0") or value is False:
        raise ValueError("allowed is 0, which resets it")
    return 0
