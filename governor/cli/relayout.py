"""A layout on top of a state that has trees already: the same is accepted, nothing is changed.

So a service can be started by one command line for ever. What is to be another is changed by the
commands for that, while the governor runs.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from governor import registry
from governor.errors import GovernorError
from governor.supervisor.corefiles import CORE_FILES

if TYPE_CHECKING:
    from governor.api import Container, Governor, Hierarchy
    from governor.subsystem import ControlFile

ALL = "all"

Settings = Iterable[tuple[tuple[str, str], str, int | str]]
"""``((hierarchy, path), file, value)``"""


def check_same(governor: Governor, mounts: Mapping[str, list[str]], settings: Settings) -> None:
    """Refuse what contradicts the trees that are there; EEXIST."""
    there = {report.name: report.subsystems for report in governor.hierarchies()[1:]}
    for name, wanted in mounts.items():
        if name in there and ALL not in wanted and set(wanted) != set(there[name]):
            raise GovernorError(
                errno.EEXIST,
                f"hierarchy {name!r} is in the state with {','.join(there[name])}, and is to have "
                f"{','.join(wanted)}; give it as it is, or 'governor remount' it first",
            )
    for (name, path), file, value in settings:
        container = find(governor.hierarchy(name), path) if name in there else None
        if container is not None:
            _check_setting(container, there[name], file, value)


def _check_setting(container: Container, labels: list[str], name: str, value: int | str) -> None:
    file = _file(labels, name)
    if file is None or file.parse is None:
        return  # writing it says what is wrong
    present = container[name]
    try:
        same = file.parse(value) == file.parse(present)
    except ValueError:
        return
    if not same:
        place = f"{container.hierarchy.name}:{container.path}"
        raise GovernorError(
            errno.EEXIST,
            f"{name} of {place} is {present} in the state, and is to be {value}; "
            f"leave that out, or 'governor set' it first",
        )


def _file(labels: list[str], name: str) -> ControlFile | None:
    kind = name.partition(".")[0]
    for label in labels:
        if label.partition("@")[0] == kind:
            return registry.load(label).populate().get(name)
    return CORE_FILES.get(name)


def find(hierarchy: Hierarchy, path: str) -> Container | None:
    """The container at a path, None when there is none."""
    try:
        container: Container = hierarchy[path]
    except GovernorError as error:
        if error.errno != errno.ENOENT:
            raise
        return None
    return container
