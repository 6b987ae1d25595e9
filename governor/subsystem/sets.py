"""Base of the controllers that confine processes to nested sets of numbered things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from governor.subsystem import ControlFile, Host, Metric, Subsystem
from governor.subsystem.machine import Machine
from governor.subsystem.nested import Kind, NestedSets, NumberSet
from governor.units import format_cpus, parse_flag, parse_numbers

if TYPE_CHECKING:
    from governor.core.container import Container


class SetState:
    """A container's sets, by the names of their kinds."""

    __slots__ = ("sets",)

    def __init__(self, sets: dict[str, NumberSet]) -> None:
        self.sets = sets


class SetSubsystem(Subsystem):
    """A controller with a nested set of each of its ``kinds`` in every container.

    Rules, control files, what is refused to processes, and what follows when something goes
    offline come from here; what a set means for a plan is for subclasses to say.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ()
    flags: ClassVar[tuple[str, ...]] = ()
    """What a state says besides, and no file that can be written does."""

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine or Machine()
        self.sets = {kind.name: self._nested(kind) for kind in self.kinds}

    def _nested(self, kind: Kind) -> NestedSets:
        usable = self._machine.usable(kind.name)
        present = self._machine.present(kind.name) or usable
        return NestedSets(kind, usable, present, partial(self._own, kind.name))

    def _own(self, kind: str, container: Container) -> NumberSet:
        state = container.states[self.name]
        assert isinstance(state, SetState)
        return state.sets[kind]

    def create(self, container: Container) -> SetState:
        """A child starts with what its parent has and no sibling has for itself."""
        return SetState({kind: sets.new(container.parent) for kind, sets in self.sets.items()})

    def destroy(self, container: Container, state: object) -> None:
        """Siblings may have what was its own."""
        assert isinstance(state, SetState)
        for kind, sets in self.sets.items():
            sets.gone(container, state.sets[kind])

    def save(self, container: Container) -> dict[str, Any]:
        """The sets, and flags."""
        state = container.states[self.name]
        return super().save(container) | {flag: getattr(state, flag) for flag in self.flags}

    def restore(self, container: Container, saved: Mapping[str, Any]) -> list[str]:
        """The sets, as far as the host has what is in them."""
        for flag in self.flags:
            setattr(container.states[self.name], flag, bool(saved[flag]))
        return super().restore(container, saved)

    def can_fork(self, container: Container) -> None:
        """No job starts where a set is empty; ENOSPC."""
        for sets in self.sets.values():
            sets.require_room(container)

    def can_attach(self, container: Container, old: Container, pid: int) -> None:
        """Nor does a process move there; ENOSPC."""
        self.can_fork(container)

    def sampled(self, root: Container, host: Host) -> Iterable[Container]:
        """When something has come or gone, every plan may be another."""
        changed = False
        for kind, sets in self.sets.items():
            present = self._machine.present(kind) or sets.present  # what cannot be read stays
            changed |= present != sets.present
            sets.present = present
        return [root] if changed else []

    def populate(self) -> Mapping[str, ControlFile]:
        """For CPUs: ``S.cpus``, ``S.cpu_exclusive`` and ``S.effective_cpus`` of subsystem S."""
        files: dict[str, ControlFile] = {}
        for sets in self.sets.values():
            files |= self._files(sets)
        return files

    def _files(self, sets: NestedSets) -> dict[str, ControlFile]:
        name, flag, words, _ = sets.kind

        def count(text: object) -> int:
            return len(parse_numbers(str(text), words))

        own = Metric(name, f"How many {words} the container was given.", number=count)
        exclusive = Metric(flag, f"1 when no sibling has any of the container's {words}.")
        effective = Metric(
            f"effective_{name}", f"How many {words} processes may use now.", number=count
        )
        return {
            f"{self.name}.{name}": ControlFile(
                lambda c: format_cpus(sets.of(c).members),
                sets.parse,
                sets.set_members,
                own,
                needs="nothing",
            ),
            f"{self.name}.{flag}": ControlFile(
                lambda c: int(sets.of(c).exclusive),
                parse_flag,
                sets.set_exclusive,
                exclusive,
                needs="nothing",
            ),
            f"{self.name}.effective_{name}": ControlFile(
                lambda c: format_cpus(sets.effective(c)), metric=effective
            ),
        }
