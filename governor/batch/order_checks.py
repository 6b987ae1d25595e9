"""Which jobs come after which: the names are those of jobs, and nobody waits for himself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Final

from governor.batch.checks import Finding
from governor.batch.matrix import Expansion, Instance
from governor.batch.schedule import graph
from governor.batch.schema import File, unknown

_TOLD: Final = 10
"""So many jobs of a long cycle are named."""


def predecessors(found: Expansion) -> dict[str, tuple[str, ...]]:
    """Return the jobs that come before each: a table's name stands for all of its jobs."""
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for instance in found.instances:
        written = tuple(instance.job.after)
        if written not in known:
            named = (found.tables.get(name, [name]) for name in written)
            known[written] = tuple(dict.fromkeys(job for names in named for job in names))
    return {
        instance.job.name or "": known[tuple(instance.job.after)] for instance in found.instances
    }


def check_order(file: File, found: Expansion) -> Iterator[Finding]:
    """Yield every name in ``after`` that is none, and every cycle: one for each table."""
    jobs = {instance.job.name or "": instance for instance in found.instances}
    known = {*jobs, *found.tables}
    told: set[tuple[int, int]] = set()
    tables = [(instance.number, instance.job.after) for instance in found.instances]
    tables += [(number, file.jobs[number].after) for number in found.broken]
    for number, after in tables:
        for place, name in enumerate(after):
            # Of a broken matrix nobody knows what is to be put into a name.
            blank = number in found.broken and "{" in name
            if not blank and name not in known and (number, place) not in told:
                told.add((number, place))
                yield ("jobs", number, "after", place), unknown("job", name, found.tables)
    yield from _cycles(jobs, predecessors(found))


def _cycles(jobs: Mapping[str, Instance], after: dict[str, tuple[str, ...]]) -> Iterator[Finding]:
    while True:
        try:
            TopologicalSorter(graph(after)).prepare()
            return
        except CycleError as error:
            # From each job to one that comes after it, and back to the first.
            cycle = [node for node in error.args[1] if isinstance(node, str)]
            if cycle[0] != cycle[-1]:
                cycle.append(cycle[0])
        index = jobs[cycle[-1]].number
        way = [*cycle[:_TOLD], "...", cycle[-1]] if len(cycle) > _TOLD + 1 else cycle
        yield (
            ("jobs", index, "after"),
            f"these jobs wait for each other, so that none could start: {' -> '.join(way)}"
            if len(cycle) > 2
            else f'"{cycle[0]}" waits for itself',
        )
        # Without what this table waits for, the other cycles are found.
        after |= {name: () for name, instance in jobs.items() if instance.number == index}
