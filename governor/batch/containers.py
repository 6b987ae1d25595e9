"""The hierarchies and containers of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from governor.batch.plan import BatchPlan

if TYPE_CHECKING:
    from governor.api import Container, Governor

Containers = Mapping[tuple[str, str], "Container"]


def make_containers(governor: Governor, plan: BatchPlan) -> Containers:
    """Mount the hierarchies of ``plan``, make its containers and write their control files.

    Returns them by (hierarchy, path), the roots included.
    """
    made: dict[tuple[str, str], Container] = {}
    for wanted in plan.hierarchies:
        hierarchy = governor.mount(wanted.name, list(wanted.subsystems))
        made[wanted.name, "/"] = hierarchy.root
        for container in wanted.containers:
            if container.path != "/":
                made[wanted.name, container.path] = hierarchy.mkdir(container.path)
            for setting in container.settings:
                made[wanted.name, container.path][setting.file] = setting.value
    return made
