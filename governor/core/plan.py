"""Charge plans: a container group compiled flat, so that enforcing it needs no tree.

What an agent must do for a process depends only on the plan of the process's group: the
counters to charge per resource and the sets to confine it to. The cost of a fork is
therefore independent of how many hierarchies exist and how deep they are; only limits
that really apply cost anything.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from governor.core.counter import Counter
from governor.core.group import Group
from governor.core.usage import Meter
from governor.errors import GovernorError


class Plan(NamedTuple):
    """What to do for the processes of one group.

    ``charges``  resource -> ids of the limited counters of all ancestors, to charge at a trap;
    ``counts``   resource -> ids of all counters the group's processes count in;
    ``confined`` resource -> the set its processes are confined to (``cpus``);
    ``meters``   where the CPU time its processes use is added up (stays in the supervisor).
    """

    charges: dict[str, list[int]]
    counts: dict[str, list[int]]
    confined: dict[str, list[int]]
    meters: list[Meter]


class PlanBuilder:
    """Handed to each bound subsystem to say what it wants for a group."""

    def __init__(self) -> None:
        self._counters: dict[str, list[Counter]] = {}
        self._confined: dict[str, frozenset[int]] = {}
        self._meters: list[Meter] = []

    def count(self, counter: Counter) -> None:
        """Count the group's processes in ``counter``, and charge it when it is limited.

        A rate is charged only: there is nothing to be counted. What a counter borrows is
        charged to its lender along with it, which therefore is not named here; the lender
        counts the processes of its own container alone.
        """
        self._counters.setdefault(counter.resource, []).append(counter)

    def confine(self, resource: str, allowed: frozenset[int]) -> None:
        """Confine the group to ``allowed``; several confinements intersect [ENOSPC: in nothing]."""
        present = self._confined.get(resource)
        both = allowed if present is None else present & allowed
        if not both:
            raise GovernorError(
                errno.ENOSPC, f"nothing is left of {resource} that all hierarchies allow"
            )
        self._confined[resource] = both

    def measure(self, meter: Meter) -> None:
        """Add what the group uses to ``meter``."""
        self._meters.append(meter)

    def build(self) -> Plan:
        """The finished plan, in a canonical order so that equal plans compare equal."""
        return Plan(
            charges={
                resource: [c.id for c in counters if c.limited]
                for resource, counters in self._counters.items()
                if any(c.limited for c in counters)
            },
            counts={
                resource: [c.id for c in counters if not c.interval]
                for resource, counters in self._counters.items()
            },
            confined={r: sorted(allowed) for r, allowed in self._confined.items()},
            meters=self._meters,
        )


def compile_plan(group: Group) -> Plan:
    """Compile a group: every bound subsystem of every hierarchy contributes.

    ENOSPC when the group's processes could run nowhere. EIO for a subsystem that fails.
    """
    builder = PlanBuilder()
    for container in group.containers:
        for subsystem in container.hierarchy.subsystems.values():
            try:
                subsystem.contribute(builder, container)
            except GovernorError:
                raise
            except Exception as error:  # as a refusal, so that it is undone like one
                raise GovernorError(
                    errno.EIO, f"contribute() of {subsystem.label} failed: {error!r}"
                ) from error
    return builder.build()
