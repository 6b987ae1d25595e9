"""Everything that metrics tell, by columns: a list of values per control file, not a row each.

A scrape of thousands of containers is mostly the same as the one before. Paths are sent when they
have changed; who asks sees from one comparison of two lists whether anything of a file has.
Imported at the first scrape only.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from governor.core.container import Container
from governor.core.forest import control_files
from governor.core.hierarchy import Hierarchy
from governor.results import Value
from governor.subsystem import ControlFile
from governor.supervisor.agent import AgentLink
from governor.supervisor.figures import Figures
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.levels import Record, levels_of
from governor.supervisor.policy import Policy
from governor.supervisor.whereabouts import Whereabouts
from governor.wire import client as wire

REMOVED_MAX: Final = 1_000
"""Containers that were removed and are still told of, at most."""

Column = list[Value | None]


class _Shape(NamedTuple):
    """The containers of a hierarchy as they were at some time."""

    version: int
    containers: list[Container]
    names: list[str]
    paths: list[str]


class _Removed(NamedTuple):
    """The last figures of a container."""

    hierarchy: str
    path: str
    levels: Mapping[str, int]
    files: Mapping[str, Value | None]
    until: float


class Columns:
    """Answers `wire.Scrape`.

    The answer has these keys. ``blocks``: ``[hierarchy, version, paths, files, levels]`` each,
    where paths are None if the asker has those of that version, version 0 is that of containers
    that were removed, and ``files`` and ``levels`` have a list by control file and by subsystem:
    a value per path, None where there is no such file; what is missing at the end is None.
    Levels are places in `governor.results.LEVELS`. ``hierarchies``: name, containers, groups.
    ``jobs``: id, name, state, age in seconds, exit code or None, and hierarchy and path of each
    container it is in. ``ended``: how many jobs have succeeded, and failed. ``work``: the fields
    of `governor.wire.agent.Trapped`. ``restarts`` of the agent, and ``spawner_restarts``.
    """

    def __init__(self, policy: Policy, jobs: Jobs, figures: Figures, agent: AgentLink) -> None:
        self._policy = policy
        self._jobs = jobs
        self._figures = figures
        self._agent = agent
        self._shapes: dict[Hierarchy, _Shape] = {}
        # Another supervisor, after this one, is not to give the same number to other paths.
        self._versions = time.time_ns()
        self._keep = 0.0
        self._removed: deque[_Removed] = deque(maxlen=REMOVED_MAX)
        self._whereabouts = Whereabouts(policy)
        policy.leaving = self._leaving

    def answer(self, request: wire.Scrape) -> dict[str, Any]:
        """All of it, as it is now."""
        self._figures.refresh()
        self._keep = request.keep
        policy, forest = self._policy, self._policy.forest
        records = policy.levels.by_container(forest.groups)
        hierarchies = list(forest.hierarchies.values())
        self._shapes = {hierarchy: self._shape(hierarchy) for hierarchy in hierarchies}
        work = self._agent.work
        return {
            "blocks": [
                *(self._block(hierarchy, records, request.shapes) for hierarchy in hierarchies),
                *self._blocks_of_removed(),
            ],
            "hierarchies": [
                [h.name, len(self._shapes[h].containers), len(forest.groups)] for h in hierarchies
            ],
            "jobs": self._job_rows(),
            "ended": [self._jobs.succeeded, self._jobs.failed],
            "work": [
                [[nr, times] for nr, times in work.calls.items()],
                work.answers,
                work.recounts,
                work.recounting,
            ],
            "restarts": self._agent.process.restarts,
            "spawner_restarts": self._agent.process.spawner.restarts,
        }

    def _shape(self, hierarchy: Hierarchy) -> _Shape:
        """The hierarchy's containers; the same object again as long as they are the same."""
        containers = list(hierarchy.containers())
        names = [container.name for container in containers]
        old = self._shapes.get(hierarchy)
        if old is not None and old.containers == containers and old.names == names:
            return old
        self._versions += 1
        return _Shape(self._versions, containers, names, [c.path for c in containers])

    def _block(
        self, hierarchy: Hierarchy, records: dict[Container, Record], known: dict[str, Any]
    ) -> list[Any]:
        shape = self._shapes[hierarchy]
        paths = None if known.get(hierarchy.name) == shape.version else shape.paths
        levels = {
            kind: levels_of(records, subsystem, shape.containers)
            for kind, subsystem in hierarchy.subsystems.items()
        }
        return [hierarchy.name, shape.version, paths, _columns(shape.containers), levels]

    # -- what is gone --------------------------------------------------------------

    def _leaving(self, container: Container) -> None:
        """Remember the last figures, which are fresh. A removal does not fail for lack of them."""
        try:
            if self._keep:
                self._remember(container)
        except Exception as error:  # a subsystem's mistake, or ours
            said = f"the last figures of {container.label} could not be kept: {error!r}"
            print(f"governor: {said}", file=sys.stderr)

    def _remember(self, container: Container) -> None:
        self._whereabouts.leaving(container)
        hierarchy = container.hierarchy
        records = self._policy.levels.by_container(self._policy.forest.groups_of(container))
        levels = {
            kind: levels_of(records, subsystem, [container])[0]
            for kind, subsystem in hierarchy.subsystems.items()
        }
        files = {name: file.read(container) for name, file in control_files(container).items()}
        until = time.monotonic() + self._keep
        self._removed.append(_Removed(hierarchy.name, container.path, levels, files, until))

    def _blocks_of_removed(self) -> list[list[Any]]:
        """Those removed lately in whose place there is no other."""
        now = time.monotonic()
        while self._removed and self._removed[0].until < now:
            self._removed.popleft()
        if not self._removed:
            return []
        told = {(h.name, path) for h, shape in self._shapes.items() for path in shape.paths}
        rows: dict[str, dict[str, _Removed]] = {}
        for gone in reversed(self._removed):
            if (gone.hierarchy, gone.path) not in told:
                rows.setdefault(gone.hierarchy, {}).setdefault(gone.path, gone)
        return [
            [
                hierarchy,
                0,
                list(by_path),
                _transposed([gone.files for gone in by_path.values()]),
                _transposed([gone.levels for gone in by_path.values()]),
            ]
            for hierarchy, by_path in rows.items()
        ]

    # -- jobs ----------------------------------------------------------------------

    def _job_rows(self) -> list[list[Any]]:
        """One for each job, but for those that ended too long ago."""
        now = time.monotonic()
        jobs = [
            job
            for job in self._jobs.by_id.values()
            if job.result is None or now - job.began - job.result.wall_seconds <= self._keep
        ]
        places = self._whereabouts.look(jobs)
        return [[*_job(job, now), where] for job, where in zip(jobs, places, strict=True)]


def _job(job: Job, now: float) -> list[Any]:
    """Id, name, state, age, exit code."""
    if job.result is None:
        return [job.id, job.name, "running" if job.placed else "starting", now - job.began, None]
    return [job.id, job.name, "ended", job.result.wall_seconds, job.result.exit_code]


def _columns(containers: list[Container]) -> dict[str, Column]:
    """A list by control file, for containers of one hierarchy that begin with its root."""
    root, below = containers[:1], containers[1:]
    columns = {name: _column(file, root) for name, file in control_files(root[0]).items()}
    if below:
        for name, file in control_files(below[0]).items():
            columns[name] = columns.get(name, [None]) + _column(file, below)
    return columns


def _transposed(rows: Sequence[Mapping[str, Value | None]]) -> dict[str, Column]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _column(file: ControlFile, containers: Collection[Container]) -> Column:
    read = file.read
    return [read(container) for container in containers]
