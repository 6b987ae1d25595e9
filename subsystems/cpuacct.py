"""cpuacct: the CPU time that the processes of a container have used, in nanoseconds.

``cpuacct.usage`` of a container includes its sub-containers and everything that has ended
there; it never falls. At the end of a job it is exact, while it runs it lags by at most a
clock tick per process.

Not promised: CPU time of a process whose parent ignores SIGCHLD is lost after the last
sample before its end, since the kernel adds it to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

from governor.core.container import Container
from governor.core.plan import PlanBuilder
from governor.core.usage import Meter
from governor.subsystem import ControlFile, Metric, Subsystem


class CpuAcct(Subsystem):
    """CPU time, charged per container."""

    name = "cpuacct"
    facility = "cpu"

    def create(self, container: Container) -> Meter:
        """A meter at zero."""
        return Meter("cpu")

    def destroy(self, container: Container, state: object) -> None:
        """What was used stays in the parent's meter, which includes it already."""

    def meter(self, container: Container) -> Meter:
        """The container's meter."""
        state = container.states[self.name]
        assert isinstance(state, Meter)
        return state

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """CPU time runs into the meters of the container and of all its ancestors."""
        for node in container.ancestors():
            plan.measure(self.meter(node))

    def populate(self) -> Mapping[str, ControlFile]:
        """``cpuacct.usage`` in nanoseconds."""
        metric = Metric(
            "usage",
            "CPU time used, sub-containers and ended processes included.",
            kind="counter",
            unit="seconds",
            number=lambda nanoseconds: int(nanoseconds) / 1e9,
        )
        return {"cpuacct.usage": ControlFile(lambda c: self.meter(c).total, metric=metric)}
