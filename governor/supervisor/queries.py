"""What clients may ask: questions that change nothing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from governor import __version__
from governor.core.container import Container
from governor.core.forest import TASKS
from governor.core.hierarchy import Hierarchy
from governor.results import HierarchyReport, JobReport, Place, ProcessReport, StatusReport
from governor.supervisor.agent import AgentLink
from governor.supervisor.answers import Handler, Reply, at_once
from governor.supervisor.figures import Figures
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.wire import client as wire

if TYPE_CHECKING:
    from governor.supervisor.columns import Columns


class Queries:
    """Answers questions about everything. ``directory`` is where the governor's sockets are."""

    def __init__(
        self, policy: Policy, jobs: Jobs, figures: Figures, directory: str, agent: AgentLink
    ) -> None:
        self._policy = policy
        self._jobs = jobs
        self._figures = figures
        self._directory = directory
        self._agent = agent
        self._columns: Columns | None = None
        self._began = time.monotonic()
        self.handlers: dict[type, Handler] = {
            wire.Snapshot: at_once(self._snapshot),
            wire.Look: at_once(self._look),
            wire.Scrape: at_once(self._scrape),
            wire.Hierarchies: at_once(self._hierarchies),
            wire.List: at_once(self._list),
            wire.Where: at_once(self._where),
            wire.Processes: at_once(self._processes),
            wire.Jobs: at_once(self._all_jobs),
            wire.Follow: self._follow,
            wire.Log: self._log,
            wire.Status: at_once(self._status),
        }

    def _snapshot(self, _: wire.Snapshot) -> list[list[object]]:
        self._figures.refresh()
        return [list(report) for report in self._figures.report()]

    def _look(self, request: wire.Look) -> list[list[object]]:
        self._figures.refresh()
        return [list(report) for report in self._figures.report(tuple(request.endings))]

    def _scrape(self, request: wire.Scrape) -> dict[str, Any]:
        if self._columns is None:
            from governor.supervisor.columns import Columns

            self._columns = Columns(self._policy, self._jobs, self._figures, self._agent)
        return self._columns.answer(request)

    def _hierarchies(self, _: wire.Hierarchies) -> list[list[object]]:
        forest = self._policy.forest
        return [list(self._hierarchy(h)) for h in (forest.unbound, *forest.hierarchies.values())]

    def _hierarchy(self, hierarchy: Hierarchy) -> HierarchyReport:
        containers = list(hierarchy.containers())
        groups = len(self._policy.forest.groups)
        return HierarchyReport(
            hierarchy.name, hierarchy.labels, hierarchy.mounted, len(containers), groups
        )

    def _list(self, request: wire.List) -> list[object]:
        container = self._policy.forest.lookup(request.hierarchy, request.path)
        files = self._policy.forest.files(container)
        rows = [[TASKS, True], *([name, file.writable] for name, file in files.items())]
        return [list(container.children), rows]

    def _where(self, request: wire.Where) -> list[list[object]]:
        group = self._policy.members.group_of(request.pid)
        return [list(Place(c.hierarchy.labels, c.hierarchy.name, c.path)) for c in group.containers]

    def _processes(self, request: wire.Processes) -> list[list[object]]:
        container = self._policy.forest.lookup(request.hierarchy, request.path)
        members = self._policy.members.of(container, request.recursive)
        rows = []
        for pid, tag in sorted(members.items()):
            group = self._policy.forest.groups.get(tag.group)
            if group is not None:
                rows += _process(pid, tag.job, _path_in(container.hierarchy, group.containers))
        return rows

    def _all_jobs(self, _: wire.Jobs) -> list[list[object]]:
        return [list(self._job(job)) for job in self._jobs.by_id.values()]

    def _job(self, job: Job) -> JobReport:
        group = self._policy.members.group_of_job(job)
        labels = [container.label for container in group.containers] if group else []
        result = job.result
        seconds = result.wall_seconds if result else time.monotonic() - job.began
        code = result.exit_code if result else None
        return JobReport(job.id, job.name, job.pid, labels, seconds, code)

    def _log(self, request: wire.Log, reply: Reply) -> None:
        self._policy.events.has(request.keeper, request.after)  # even if too many wait
        self._follow(request, reply)

    def _follow(self, request: wire.Follow | wire.Log, reply: Reply) -> None:
        self._policy.events.follow(
            request.after,
            request.timeout,
            lambda answer: reply([answer[0], answer[1], [list(event) for event in answer[2]]]),
        )

    def _status(self, _: wire.Status) -> list[object]:
        forest, process = self._policy.forest, self._agent.process
        return list(
            StatusReport(
                __version__,
                os.getpid(),
                os.getuid(),
                self._directory,
                time.monotonic() - self._began,
                len(forest.hierarchies),
                sum(1 for h in forest.hierarchies.values() for _ in h.containers()),
                len(forest.groups),
                self._jobs.count_running,
                len(self._policy.members.all()),
                process.restarts,
                process.spawner.restarts,
                process.pid,
                process.spawner.pid,
            )
        )


def _path_in(hierarchy: Hierarchy, containers: tuple[Container, ...]) -> str:
    return next(c.path for c in containers if c.hierarchy is hierarchy)


def _process(pid: int, job: int, path: str) -> list[list[object]]:
    """One row about a process, none when it has gone meanwhile."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            command = file.read(65536).rstrip(b"\0").replace(b"\0", b" ") or b"[%s]" % name
    except (FileNotFoundError, ProcessLookupError):
        return []
    fields = rest.split()
    state, threads = fields[0].decode(), int(fields[17])
    return [list(ProcessReport(pid, job, path, state, threads, command.decode(errors="replace")))]
