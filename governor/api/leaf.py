"""A container of its own for a job, in each hierarchy that its limits and figures need."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from governor.api.container import snapshot
from governor.api.limits import Limits, Usage
from governor.errors import GovernorError
from governor.results import Refusal
from governor.units import parse_count

if TYPE_CHECKING:
    from types import TracebackType

    from governor.api.container import Container
    from governor.api.governor import Governor
    from governor.api.hierarchy import Hierarchy
    from governor.client import Client
    from governor.results import ContainerReport, HierarchyReport, Value

HIERARCHIES = {"numtasks": "load", "numfiles": "load", "cpuset": "cpu", "cpuacct": "cpu"}
"""Where a subsystem is mounted that is bound to no hierarchy yet."""

COUNTED = ("numtasks", "numfiles")
"""The subsystems whose limits refuse, so that there is something to tell of afterwards."""

_MOST_TASKS = 2**22
"""PID_MAX_LIMIT of Linux, which refuses nothing. What has no limit is not counted as it goes."""

_numbers = itertools.count(1)


class Leaf:
    """Containers of one job's own, one in each hierarchy of its limits."""

    def __init__(
        self, client: Client, containers: list[Container], own: list[Container], limits: Limits
    ) -> None:
        self._client = client
        self.containers = containers
        """Where to start the job: its own, and in other hierarchies those that were given."""
        self.limits = limits
        self._own = own

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def usage(self, wall_seconds: float) -> Usage:
        """What has been used and refused here so far; nothing is known where it was removed."""
        own = {(container.hierarchy.name, container.path) for container in self._own}
        files: dict[str, Value] = {}
        refusals: list[Refusal] = []
        for report in snapshot(self._client, _FIGURES):
            if (report.hierarchy, report.path) in own:
                files |= report.files
                refusals += _refusals(report)
        return Usage(
            int(files.get("cpuacct.usage", 0)) / 1e9,
            wall_seconds,
            _figure(files.get("numtasks.maxheld")),
            self.limits.files and _figure(files.get("numfiles.maxheld")),
            tuple(refusals),
        )

    def remove(self, grace: float = 2.0) -> None:
        """End what still runs here (TERM, KILL after ``grace`` seconds) and remove the containers.

        Nothing happens where they are gone, or the governor is.
        """
        while self._own:
            with contextlib.suppress(GovernorError):
                self._own.pop().remove(recursive=True, kill=True, grace=grace)


class Leaves:
    """Makes containers for jobs, below ``parents`` in their hierarchies and else at the top.

    A subsystem that is bound somewhere is used there, and others are mounted when limits need
    them, as for ``governor run``: numtasks and numfiles as ``load``, cpuset and cpuacct as ``cpu``.
    Can be used from any thread.
    """

    def __init__(self, governor: Governor, parents: Sequence[Container] = ()) -> None:
        self._governor = governor
        self._parents = {parent.hierarchy.name: parent for parent in parents}
        if len(self._parents) < len(set(parents)):
            raise GovernorError(errno.EINVAL, "two containers of one hierarchy; name one")
        self._lock = threading.Lock()
        self._homes: dict[str, Hierarchy] = {}

    def make(self, limits: Limits, name: str = "job") -> Leaf:
        """Containers for one job, with these limits in force.

        EACCES, EINVAL, EBUSY, ...: a limit that the container cannot have, such as CPUs that the
        one above has not; nothing is left of them then.
        """
        settings = {"numtasks.limit": _MOST_TASKS} | limits.settings()
        wanted = {file.partition(".")[0] for file in settings} | {"cpuacct"}
        homes = self._find_homes(wanted)
        path = f"{name}-{os.getpid()}-{next(_numbers)}"
        made: dict[str, Container] = {}
        try:
            for home in homes.values():
                if home.name not in made:
                    parent = self._parents.get(home.name, home.root)
                    made[home.name] = parent.mkdir(path)
            for file, value in settings.items():
                made[homes[file.partition(".")[0]].name][file] = value
        except BaseException:
            Leaf(self._governor.client, [], list(made.values()), limits).remove()
            raise
        containers = list((self._parents | made).values())
        return Leaf(self._governor.client, containers, list(made.values()), limits)

    def _find_homes(self, wanted: set[str]) -> dict[str, Hierarchy]:
        """The hierarchies that these subsystems are bound to, mounted if they are not."""
        with self._lock:
            if not wanted <= self._homes.keys():
                self._homes |= _find_or_mount(self._governor, wanted)
            return {subsystem: self._homes[subsystem] for subsystem in wanted}


def _find_or_mount(governor: Governor, wanted: set[str]) -> dict[str, Hierarchy]:
    """Where each of these subsystems is; those that are not are mounted, few hierarchies in all.

    numfiles makes every open wait for the agent, so it is there for a limit of files only.
    """
    reports = governor.hierarchies()[1:]
    homes = {s: home for s in HIERARCHIES if (home := _find(governor, reports, s)) is not None}
    taken = {report.name for report in reports}
    cheap = {"cpuset", "cpuacct"}
    for name in dict.fromkeys(HIERARCHIES.values()):
        missing = [s for s in HIERARCHIES if HIERARCHIES[s] == name and s not in homes]
        bound = [s for s in missing if s in wanted | cheap]
        if bound:
            free = name if name not in taken else f"{name}-{bound[0]}"
            homes |= dict.fromkeys(bound, governor.mount(free, bound))
    return homes


def _find(governor: Governor, reports: list[HierarchyReport], subsystem: str) -> Hierarchy | None:
    """The hierarchy of a subsystem; the plain one rather than one of its named instances."""
    for named in (False, True):
        for report in reports:
            if any(_is(label, subsystem, named) for label in report.subsystems):
                return governor.hierarchy(report.name)
    return None


def _is(label: str, subsystem: str, named: bool) -> bool:
    return label.partition("@")[0] == subsystem if named else label == subsystem


_FIGURES = (".maxheld", ".failcnt", ".limit", "cpuacct.usage")
"""The control files that usage is read from, by how their names end."""


def _refusals(report: ContainerReport) -> list[Refusal]:
    """What the limits of a container have refused, from its control files."""
    label = f"{report.hierarchy}:{report.path}"
    return [
        Refusal(
            label,
            subsystem.removeprefix("num"),
            parse_count(report.files[f"{subsystem}.limit"]),
            int(report.files[f"{subsystem}.maxheld"]),
            int(report.files[f"{subsystem}.failcnt"]),
        )
        for subsystem in COUNTED
        if report.files.get(f"{subsystem}.failcnt")
    ]


def refused_at(client: Client, containers: Iterable[Container]) -> tuple[Refusal, ...]:
    """What the limits of these containers, and of those above them, have refused by now."""
    places = [(container.hierarchy.name, container.path) for container in containers]
    reports = [
        report
        for report in snapshot(client, _FIGURES)
        if any(name == report.hierarchy and _is_at(path, report.path) for name, path in places)
    ]
    return tuple(refusal for report in reports for refusal in _refusals(report))


def _is_at(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")


def _figure(value: Value | None) -> int | None:
    return None if value is None else int(value)
