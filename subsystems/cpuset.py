"""cpuset: the CPUs the processes of a container may run on.

Every thread of every member runs within ``cpuset.cpus``; a job's own sched_setaffinity is
clamped to it, as the kernel does for cpusets. A new container starts with its parent's
CPUs. Rules are those of cpusets.txt: a child's set lies within its parent's [EACCES], a
parent cannot shrink below a child [EBUSY], and no set may be empty or name a CPU the
machine does not have [EINVAL].

Not promised: memory placement (cpuset.mems), and CPUs a process of another user holds.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from governor.core.container import Container
from governor.core.plan import PlanBuilder
from governor.errors import GovernorError
from governor.subsystem import ControlFile, Metric, Subsystem, Value
from governor.units import format_cpus, parse_cpus


class CpuSet(Subsystem):
    """CPU affinity, confined per container."""

    name = "cpuset"
    traps = frozenset({"affinity"})
    facility = "affinity"

    def create(self, container: Container) -> frozenset[int]:
        """A child starts with its parent's CPUs, the root with those governor may use."""
        if container.parent is None:
            return frozenset(os.sched_getaffinity(0))
        return self.cpus(container.parent)

    def destroy(self, container: Container, state: object) -> None:
        """A set of CPUs holds nothing."""

    def cpus(self, container: Container) -> frozenset[int]:
        """The container's set."""
        state = container.states[self.name]
        assert isinstance(state, frozenset)
        return state

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Sets nest, so the container's own set is the narrowest."""
        plan.confine("cpus", self.cpus(container))

    def populate(self) -> Mapping[str, ControlFile]:
        """``cpuset.cpus``, a list such as ``0-3,5``."""
        metric = Metric(
            "cpus",
            "CPUs that the container's processes may run on.",
            number=lambda cpus: len(parse_cpus(str(cpus))),
        )
        return {
            "cpuset.cpus": ControlFile(
                lambda c: format_cpus(self.cpus(c)), parse_own_cpus, self._set_cpus, metric
            )
        }

    def _set_cpus(self, container: Container, cpus: frozenset[int]) -> None:
        if container.parent is None:
            raise GovernorError(errno.EACCES, f"cpuset.cpus of the root {container.label} is fixed")
        allowed = self.cpus(container.parent)
        if not cpus <= allowed:
            raise GovernorError(
                errno.EACCES,
                f"cpuset.cpus {format_cpus(cpus)} of {container.label} is not within "
                f"{format_cpus(allowed)} of its parent {container.parent.label}",
            )
        for child in container.children.values():
            if not self.cpus(child) <= cpus:
                raise GovernorError(
                    errno.EBUSY,
                    f"cpuset.cpus of {container.label} cannot leave out CPUs of {child.label}, "
                    f"which has {format_cpus(self.cpus(child))}",
                )
        container.states[self.name] = cpus


def parse_own_cpus(value: Value) -> frozenset[int]:
    """A CPU list within the CPUs this process may use; ValueError says which those are."""
    cpus = parse_cpus(str(value))
    usable = os.sched_getaffinity(0)
    if not cpus:
        raise ValueError("a CPU list names at least one CPU")
    if not cpus <= usable:
        raise ValueError(
            f"no CPU {format_cpus(cpus - usable)} here; usable are {format_cpus(frozenset(usable))}"
        )
    return cpus
