"""memset: the nodes of memory that the processes of a container may allocate from.

A job starts with the policy MPOL_BIND to ``memset.mems``, and all that comes from it inherits
that. With ``memset.memory_migrate``, pages follow when the set changes or a process moves in.
Rules are those of cpuset(7). On a machine with one node there is nothing to choose.

Not promised: a running process keeps the policy it started with, which nobody else can change:
one that was moved in, or whose container's set was changed, goes on allocating where it did, and
the level is ``partial`` then. A program's own set_mempolicy(2) or mbind(2) goes beyond the set.
Pages that processes share stay where they are, unless governor has CAP_SYS_NICE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

from governor.core.container import Container
from governor.core.plan import PlanBuilder
from governor.subsystem import ControlFile, Host, Metric
from governor.subsystem.nested import MEMS, Kind, NumberSet
from governor.subsystem.sets import SetState, SetSubsystem
from governor.units import parse_flag


class MemState(SetState):
    """Also whether pages follow, and whether some process goes by another set of nodes."""

    __slots__ = ("migrate", "stale")

    def __init__(self, sets: dict[str, NumberSet]) -> None:
        super().__init__(sets)
        self.migrate = self.stale = False


class MemSet(SetSubsystem):
    """Memory nodes, confined per container."""

    name = "memset"
    facility = "mempolicy"
    kinds: ClassVar[tuple[Kind, ...]] = (MEMS,)
    flags = ("stale",)

    def create(self, container: Container) -> MemState:
        """As for every set; memory stays where it is."""
        return MemState(super().create(container).sets)

    def _state(self, container: Container) -> MemState:
        state = container.states[self.name]
        assert isinstance(state, MemState)
        return state

    def _nodes(self, container: Container) -> frozenset[int]:
        return self.sets[MEMS.name].effective(container)

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Sets nest, so the container's own is the narrowest. All nodes are no confinement."""
        nodes = self._nodes(container)
        if nodes < self._nodes(container.hierarchy.root):
            plan.confine("mems", nodes)
            if self._state(container).migrate:
                plan.confine("pages", nodes)

    def attach(self, container: Container, old: Container, pid: int) -> None:
        """The process goes by the set that it came from."""
        if self._state(old).stale or self._nodes(container) != self._nodes(old):
            self._state(container).stale = True

    def lapsed(self, container: Container) -> bool:
        """Whether some process goes by another set of nodes than its container's."""
        return self._state(container).stale

    def sampled(self, root: Container, host: Host) -> Iterable[Container]:
        """As for every set; processes go by what was there when they started."""
        nodes = self.sets[MEMS.name]
        before = nodes.present
        changed = list(super().sampled(root, host))
        if nodes.present != before:
            for container in root.descendants():
                self._leave_behind(container, nodes.effective(container, before))
        return changed

    def _set_mems(self, container: Container, nodes: frozenset[int]) -> Callable[[], None]:
        state = self._state(container)
        before, stale = self._nodes(container), state.stale
        restore = self.sets[MEMS.name].set_members(container, nodes)
        self._leave_behind(container, before)

        def take_back() -> None:
            restore()
            state.stale = stale

        return take_back

    def _leave_behind(self, container: Container, before: frozenset[int]) -> None:
        if container.tasks and self._nodes(container) != before:
            self._state(container).stale = True

    def populate(self) -> Mapping[str, ControlFile]:
        """The files of every set, and ``memory_migrate``."""
        files = dict(super().populate())
        mems, migrate = f"{self.name}.{MEMS.name}", f"{self.name}.memory_migrate"
        files[mems] = files[mems]._replace(write=self._set_mems)
        files[migrate] = ControlFile(
            lambda c: int(self._state(c).migrate),
            parse_flag,
            lambda c, on: setattr(self._state(c), "migrate", on),
            Metric("memory_migrate", "1 when pages follow a change of the memory nodes."),
        )
        return files
