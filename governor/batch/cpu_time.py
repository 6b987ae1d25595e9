"""Ending jobs that have used up their CPU time, whichever of their processes used it.

Such a job gets a container of its own in a hierarchy of our own, so that whatever its processes do
is charged to it. No event tells that so much was used, but it takes a while: so many seconds on
so many CPUs. Only when that is over it is looked again.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Container, Governor, Hierarchy, Job
    from governor.batch.plan import BatchPlan, JobPlan

GRACE: Final = 2.0
"""Seconds from TERM to KILL, as for a timeout."""
_LEAST: Final = 0.05
"""Seconds between two looks at least."""
_USAGE: Final = "cpuacct.usage"


class _Budget:
    def __init__(self, container: Container, seconds: float, look_at: float) -> None:
        self.container = container
        self.seconds = seconds
        self.due = look_at
        self.spent = 0.0
        self.is_over = False

    def look(self) -> None:
        """Find out how many seconds have been spent."""
        with contextlib.suppress(GovernorError):  # it goes away with its last process
            self.spent = int(self.container[_USAGE]) / 1e9


class CpuTime:
    """The jobs with a limit of CPU time that run. ``hierarchy``: its name, None without any."""

    def __init__(self, governor: Governor, plan: BatchPlan) -> None:
        self._governor = governor
        self._budgets: dict[Job, _Budget] = {}
        self._mounted: Hierarchy | None = None
        self._cpus = os.cpu_count() or 1
        self.hierarchy: str | None = None
        if any(job.cpu_timeout is not None for job in plan.jobs):
            labels = [label for hierarchy in plan.hierarchies for label in hierarchy.subsystems]
            taken = {hierarchy.name for hierarchy in plan.hierarchies}
            taken |= {label.partition("@")[2] for label in labels}
            self.hierarchy = "cpu_timeout"
            while self.hierarchy in taken:
                self.hierarchy += "_"
            self._mounted = governor.mount(self.hierarchy, [f"cpuacct@{self.hierarchy}"])

    def container(self, plan: JobPlan, attempt: int) -> list[Container]:
        """Return the container for an attempt of a job, or nothing when it has no limit."""
        if plan.cpu_timeout is None or self._mounted is None:
            return []
        made = self._mounted.mkdir(f"/{plan.name}.{attempt}")
        made["auto_remove"] = 1
        return [made]

    def watch(self, job: Job, plan: JobPlan, containers: list[Container], now: float) -> None:
        """Have an eye on a job that was started in ``containers`` of ours."""
        for container in containers:
            assert plan.cpu_timeout is not None
            look_at = now + plan.cpu_timeout / self._cpus
            self._budgets[job] = _Budget(container, plan.cpu_timeout, look_at)

    def due(self) -> float | None:
        """Return when it is to be looked again."""
        return min((budget.due for budget in self._budgets.values()), default=None)

    def look(self, now: float) -> None:
        """Do what is due: TERM to all processes of a job that is over its limit, KILL later."""
        for job, budget in self._budgets.items():
            if now < budget.due:
                continue
            if budget.is_over:
                self._governor.stop([job], grace=0)
                budget.due = now + GRACE
                continue
            budget.look()
            if (left := budget.seconds - budget.spent) > 0:
                budget.due = now + max(_LEAST, left / self._cpus)
            else:
                budget.is_over = True
                budget.due = now + GRACE
                # A stopped process would sleep through its TERM.
                for number in (signal.SIGTERM, signal.SIGCONT):
                    with contextlib.suppress(GovernorError):  # all of them have ended just now
                        budget.container.kill(number)

    def ended(self, job: Job) -> tuple[float, bool]:
        """Forget a job whose first process has ended.

        Return the seconds it had spent when last looked at, and whether that was too much.
        """
        budget = self._budgets.pop(job, None)
        if budget is None:
            return 0.0, False
        if budget.is_over:
            self._governor.stop([job], grace=0)
        return budget.spent, budget.is_over
