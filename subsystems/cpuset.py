"""cpuset: the CPUs the processes of a container may run on, and the nodes of their memory.

Every thread of every member runs within ``cpuset.effective_cpus``: those of ``cpuset.cpus``
that are online, or when none is, those of the parent. A job's own sched_setaffinity is clamped
to them, as the kernel does for cpusets. Rules are those of cpuset(7), but a new container has
what its parent has, where the kernel's is empty. Memory nodes are as in memset.

Not promised: CPUs of processes of another user, the scheduler's load balancing, what memset
does not promise, and the same container's CPUs after one has gone and come back in between
two looks (every second while anything runs).
"""

from __future__ import annotations

from governor.core.container import Container
from governor.core.plan import PlanBuilder
from governor.subsystem.nested import CPUS, MEMS
from subsystems.memset import MemSet


class CpuSet(MemSet):
    """CPU affinity and memory nodes, confined per container."""

    name = "cpuset"
    traps = frozenset({"affinity"})
    facility = "affinity"
    kinds = (CPUS, MEMS)

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Sets nest, so the container's own is the narrowest."""
        plan.confine("cpus", self.sets[CPUS.name].effective(container))
        super().contribute(plan, container)
