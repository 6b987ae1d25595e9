"""The contract between the core and a subsystem (a controller).

A subsystem is one small file in ``subsystems/`` or in somebody else's package: a class
with a name, a state per container, control files, and a say in each group's plan. All
callbacks run in the supervisor, must not block, and only those that say so may refuse
(by raising `GovernorError`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from governor.core.counter import Counter
from governor.results import ENFORCED
from governor.results import Value as Value
from governor.units import UNLIMITED, format_count, parse_count

if TYPE_CHECKING:
    from governor.core.container import Container
    from governor.core.plan import PlanBuilder


def to_number(value: Value) -> float:
    """A count as metrics have it: ``max`` is infinity. ValueError for a text that is none."""
    return float("inf") if value == "max" else float(value)


class Metric(NamedTuple):
    """How a control file is exported: as ``governor_SUBSYSTEM_NAME``, of this ``kind``.

    A ``unit`` of Prometheus (seconds, bytes) is appended to the name, and ``_total`` to a
    counter's, which never falls while its container exists. ``number(value)`` gives the file's
    value in that unit, and raises ValueError where there is none to give.
    """

    name: str
    help: str
    kind: Literal["gauge", "counter"] = "gauge"
    unit: str = ""
    number: Callable[[Value], float] = to_number


class ControlFile(NamedTuple):
    """A named attribute of a container, such as ``numtasks.limit``.

    ``read(container)`` gives the value. ``parse(value)`` checks a value by itself, before
    any container exists, and ``write(container, parsed)`` checks it against the tree and
    stores it; both may refuse, with ValueError and `GovernorError` respectively. A file
    without ``write`` is read-only. One without ``metric`` is exported under its own name, of
    no known kind, while it reads as a number.
    """

    read: Callable[[Container], Value]
    parse: Callable[[Value], Any] | None = None
    write: Callable[[Container, Any], None] | None = None
    metric: Metric | None = None

    @property
    def writable(self) -> bool:
        """Whether the file takes values."""
        return self.write is not None


class Subsystem:
    """Base of every controller. Subclasses set ``name`` and override what they need."""

    name: ClassVar[str] = ""
    traps: ClassVar[frozenset[str]] = frozenset()
    """Facilities whose system calls must be trapped in the job: affinity, or what is counted."""
    facility: ClassVar[str | None] = None
    """The facility of the host that decides how well this subsystem is enforced."""
    looks_inside: ClassVar[bool] = False
    """Whether processes that may not be looked into (another user's) hide what it counts."""
    best: ClassVar[str] = ENFORCED
    """The best level it can have on any host (one of `governor.results.LEVELS`)."""
    why: ClassVar[str] = ""
    """What keeps ``best`` from being a better one, in a few words."""

    def create(self, container: Container) -> object:
        """The state for a new container. May refuse; must leave nothing behind then."""
        raise NotImplementedError

    def destroy(self, container: Container, state: object) -> None:
        """Undo `create`. Cannot refuse."""
        raise NotImplementedError

    def can_attach(self, container: Container, pid: int) -> None:
        """May refuse that ``pid`` moves into ``container``; reserves what it needs."""

    def cancel_attach(self, container: Container, pid: int) -> None:
        """Undo a `can_attach` that passed, since another subsystem refused."""

    def attach(self, container: Container, old: Container, pid: int) -> None:
        """``pid`` has moved from ``old``. Cannot refuse."""

    def bind(self, root: Container) -> None:
        """The subsystem now belongs to the hierarchy of ``root``. Cannot refuse."""

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Add what ``container`` and its ancestors ask for to a group's plan."""

    def populate(self) -> Mapping[str, ControlFile]:
        """The control files, by their full names (``numtasks.limit``)."""
        return {}


class CountedSubsystem(Subsystem):
    """A controller of one counted resource: a `Counter` in every container.

    Subclasses name the ``resource``; charging, limits and the four files come from here.
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

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Processes count in their container and in all its ancestors."""
        for node in container.ancestors():
            plan.count(self.counter(node))

    def populate(self) -> Mapping[str, ControlFile]:
        """``held``, ``maxheld``, ``limit`` and ``failcnt`` of the resource."""

        def set_limit(container: Container, limit: int) -> None:
            # Lowering below what is held is never refused: it denies what comes next.
            self.counter(container).limit = limit

        metrics = counted_metrics(self.resource)
        return {
            f"{self.name}.held": ControlFile(
                lambda c: self.counter(c).held, metric=metrics["held"]
            ),
            f"{self.name}.maxheld": ControlFile(
                lambda c: self.counter(c).maxheld, metric=metrics["maxheld"]
            ),
            f"{self.name}.limit": ControlFile(
                lambda c: format_limit(self.counter(c).limit),
                parse_count,
                set_limit,
                metrics["limit"],
            ),
            f"{self.name}.failcnt": ControlFile(
                lambda c: self.counter(c).failcnt, metric=metrics["failcnt"]
            ),
        }


def counted_metrics(resource: str) -> dict[str, Metric]:
    """How the files of a counted resource are exported, by the last part of their names."""
    what = resource.capitalize()
    return {
        "held": Metric("held", f"{what} held, sub-containers included."),
        "maxheld": Metric("held_max", f"Most {resource} that were seen to be held at once."),
        "limit": Metric("limit", f"{what} that may be held; +Inf where there is no limit."),
        "failcnt": Metric("failures", f"Requests for {resource} refused at this limit.", "counter"),
    }


def format_limit(limit: int) -> Value:
    """A limit as control files show it: a number, or ``max``."""
    return format_count(limit) if limit == UNLIMITED else limit
