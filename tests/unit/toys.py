"""Subsystems for tests: they refuse when told to and write down every callback."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import NamedTuple

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.plan import PlanBuilder
from governor.core.usage import Meter
from governor.errors import GovernorError
from governor.results import Value
from governor.subsystem import ControlFile, CountedSubsystem, Subsystem

REFUSAL = errno.EPERM
"""What a toy refuses with: an errno that nothing else gives."""

CANNOT_REFUSE = ("destroy", "bind", "cancel_attach", "cancel_fork")
"""Callbacks of which a toy's failure must be nobody else's."""


class Call(NamedTuple):
    """A callback that came: which, of which subsystem, for which container."""

    callback: str
    subsystem: str
    path: str


class Mood:
    """Shared by the toys of one forest: what they refuse, and what they were asked.

    Toys are known by their labels here, such as ``alpha`` and ``alpha@x``.
    """

    def __init__(self) -> None:
        self.refuses: set[tuple[str, str]] = set()
        self.fails: set[tuple[str, str]] = set()
        """As ``refuses``, but by a mistake and not by a decision."""
        self.calls: list[Call] = []
        self.failed: list[tuple[str, str]] = []
        """The failures of callbacks that cannot refuse, as they were told."""
        self.alive: list[object] = []

    def asked(self, callback: str, subsystem: str, container: Container) -> None:
        """Write a callback down; refuse it, or fail, when told to."""
        self.calls.append(Call(callback, subsystem, container.path))
        self.decide(callback, subsystem)

    def decide(self, callback: str, subsystem: str) -> None:
        """Refuse, or fail, when told to."""
        if (callback, subsystem) in self.refuses:
            raise GovernorError(REFUSAL, f"{subsystem} refuses {callback}")
        if (callback, subsystem) in self.fails:
            raise ZeroDivisionError(f"{callback} of {subsystem}")

    def tell(self, subsystem: Subsystem, callback: str, *args: object) -> None:
        """What a forest tells its subsystems with."""
        try:
            getattr(subsystem, callback)(*args)
        except ZeroDivisionError:
            self.failed.append((callback, subsystem.label))


class Toy(Subsystem):
    """Base of the toys, mixed in before the real base class."""

    def __init__(self, mood: Mood) -> None:
        self.mood = mood

    def state(self, container: Container) -> object:
        """The state of a new container."""
        raise NotImplementedError

    def create(self, container: Container) -> object:
        self.mood.asked("create", self.label, container)
        state = self.state(container)
        self.mood.alive.append(state)
        return state

    def destroy(self, container: Container, state: object) -> None:
        self.mood.alive.remove(state)
        self.mood.asked("destroy", self.label, container)

    def populate(self) -> Mapping[str, ControlFile]:
        self.mood.decide("populate", self.label)
        return super().populate()

    def can_attach(self, container: Container, old: Container, pid: int) -> None:
        self.mood.asked("can_attach", self.label, container)

    def cancel_attach(self, container: Container, pid: int) -> None:
        self.mood.asked("cancel_attach", self.label, container)

    def bind(self, root: Container) -> None:
        self.mood.asked("bind", self.label, root)

    def can_fork(self, container: Container) -> None:
        self.mood.asked("can_fork", self.label, container)

    def cancel_fork(self, container: Container) -> None:
        self.mood.asked("cancel_fork", self.label, container)


class _Counted(CountedSubsystem):
    """Type checkers see one ``create``; at run time the toy's comes first."""


class Alpha(Toy, _Counted):  # type: ignore[misc]
    name = "alpha"
    resource = "tasks"

    def state(self, container: Container) -> Counter:
        return Counter(container.hierarchy.new_id(), self.resource)


class Beta(Alpha):
    name = "beta"
    resource = "files"


class Gamma(Alpha):
    """A second subsystem of a resource that has one already."""

    name = "gamma"
    resource = "tasks"


class Delta(Toy):
    """Confines; ``delta.set`` takes digits."""

    name = "delta"

    def state(self, container: Container) -> frozenset[int]:
        return frozenset(range(10))

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        for node in container.ancestors():
            state = node.states[self.name]
            assert isinstance(state, frozenset)
            plan.confine("digits", state)

    def populate(self) -> Mapping[str, ControlFile]:
        self.mood.decide("populate", self.label)

        def write(container: Container, digits: frozenset[int]) -> None:
            self.mood.alive.remove(container.states[self.name])
            self.mood.alive.append(digits)
            container.states[self.name] = digits

        def read(container: Container) -> str:
            state = container.states[self.name]
            assert isinstance(state, frozenset)
            return "".join(map(str, sorted(state)))

        return {"delta.set": ControlFile(read, parse_digits, write)}


class Epsilon(Toy):
    """Measures."""

    name = "epsilon"

    def state(self, container: Container) -> Meter:
        return Meter("cpu")

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        for node in container.ancestors():
            state = node.states[self.name]
            assert isinstance(state, Meter)
            plan.measure(state)


def parse_digits(value: Value) -> frozenset[int]:
    """Digits; ValueError for anything else."""
    if not str(value).isdigit():
        raise ValueError("only digits are allowed")
    return frozenset(map(int, str(value)))


TOYS: dict[str, type[Toy]] = {cls.name: cls for cls in (Alpha, Beta, Gamma, Delta, Epsilon)}
LABELS = (*TOYS, "alpha@x", "alpha@y", "delta@x")
"""What can be mounted: every toy, and named instances of some."""

COUNTED = {name: cls.resource for name, cls in TOYS.items() if issubclass(cls, Alpha)}


def loader(mood: Mood) -> Callable[[str], Subsystem]:
    """What a forest loads its subsystems with; ENOENT for one that is no toy."""

    def load(label: str) -> Subsystem:
        name, _, instance = label.partition("@")
        if name not in TOYS:
            raise GovernorError(errno.ENOENT, f"no toy {name!r}")
        toy = TOYS[name](mood)
        toy.instance = instance
        return toy

    return load
