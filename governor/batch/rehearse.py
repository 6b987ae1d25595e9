"""Making the containers of a batch file in the core alone, before anything real is started.

The core does no I/O, so this costs nothing; and rules between containers (a child's CPUs lie within
its parent's, ...) are found without one of them being written down here.
"""

from __future__ import annotations

from collections.abc import Iterator

from governor import registry
from governor.batch.plan import BatchPlan, HierarchyPlan, Mistake
from governor.core.forest import Forest
from governor.errors import GovernorError


def rehearse(plan: BatchPlan) -> Iterator[Mistake]:
    """Yield what the core refuses of the hierarchies, containers and settings of ``plan``."""
    forest = Forest(registry.load)
    for hierarchy in plan.hierarchies:
        try:
            forest.mount(hierarchy.name, hierarchy.subsystems)
        except GovernorError as error:
            yield Mistake(hierarchy.line, error.message)
        else:
            yield from _containers(forest, hierarchy)


def _containers(forest: Forest, hierarchy: HierarchyPlan) -> Iterator[Mistake]:
    """Make the containers of one hierarchy and write their control files."""
    for container in hierarchy.containers:
        try:
            if container.path != "/":
                forest.mkdir(hierarchy.name, container.path)
            node = forest.lookup(hierarchy.name, container.path)
        except GovernorError as error:
            yield Mistake(container.line, error.message)
            continue
        for setting in container.settings:
            try:
                forest.write(node, setting.file, setting.value)
            except GovernorError as error:
                yield Mistake(setting.line, error.message)
