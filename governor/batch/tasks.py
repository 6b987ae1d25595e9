"""A batch, as its schedule sees it: which jobs count under which containers."""

from __future__ import annotations

from collections.abc import Iterator

from governor.batch.plan import BatchPlan, JobPlan, parents
from governor.batch.schedule import Task


def bounds(plan: BatchPlan) -> dict[str, int]:
    """Return how many jobs may run at once in and below each container that says so."""
    return {
        f"{hierarchy.name}:{container.path}": container.max_jobs
        for hierarchy in plan.hierarchies
        for container in hierarchy.containers
        if container.max_jobs is not None
    }


def tasks(plan: BatchPlan) -> list[Task]:
    """Return what the schedule is to know of each job, in the file's order."""
    known = bounds(plan)
    return [
        Task(
            job.name,
            job.after,
            job.priority,
            tuple(place for place in _places(plan, job) if place in known),
        )
        for job in plan.jobs
    ]


def _places(plan: BatchPlan, job: JobPlan) -> Iterator[str]:
    """Yield every container that a job is in or below of; it is in each hierarchy somewhere."""
    chosen = dict(job.containers)
    for hierarchy in plan.hierarchies:
        path = chosen.get(hierarchy.name, "/")
        yield f"{hierarchy.name}:/"
        if path != "/":
            for container in (*parents(path), path):
                yield f"{hierarchy.name}:{container}"
