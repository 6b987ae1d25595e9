"""Where jobs are: in the containers that their first processes are in now."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from governor.core.container import Container
from governor.core.group import Group
from governor.supervisor.jobs import Job
from governor.supervisor.policy import Policy

GONE_MAX: Final = 1_000
"""Groups that went with a container and are remembered, at most."""

Places = list[list[str]]
"""Hierarchy and path, of each container."""


class Whereabouts:
    """Where jobs are, and for those that have ended where they were seen last."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._last: dict[int, Group] = {}
        """By job, as of the last look."""
        self._gone: dict[int, Group] = {}
        """Those of which a container was removed, by id."""

    def look(self, jobs: Collection[Job]) -> list[Places]:
        """Of each of these jobs; others are forgotten."""
        found = [self._group(job) for job in jobs]
        self._last = {
            job.id: group for job, group in zip(jobs, found, strict=True) if group is not None
        }
        in_use = {job.group for job in jobs}
        self._gone = {id: group for id, group in self._gone.items() if id in in_use}
        return [self._places(group) if group is not None else [] for group in found]

    def leaving(self, container: Container) -> None:
        """The groups of this container are about to go with it."""
        for group in self._policy.forest.groups_of(container):
            self._gone[group.id] = group
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]

    def _group(self, job: Job) -> Group | None:
        if job.result is not None and job.id in self._last:
            return self._last[job.id]
        return self._policy.members.group_of_job(job) or self._gone.get(job.group)

    def _places(self, group: Group) -> Places:
        """Not those of hierarchies that are no more."""
        there = self._policy.forest.hierarchies
        return [
            [c.hierarchy.name, c.path]
            for c in group.containers
            if there.get(c.hierarchy.name) is c.hierarchy
        ]
