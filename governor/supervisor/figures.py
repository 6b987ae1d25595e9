"""Figures: counters and meters brought up to date, and everything reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from governor.core.container import Container
from governor.core.forest import control_files
from governor.core.usage import Row
from governor.results import ContainerReport
from governor.subsystem import ControlFile, Subsystem
from governor.supervisor.agent import AgentLink
from governor.supervisor.levels import Record, level_of
from governor.supervisor.policy import Policy
from governor.supervisor.told import tell

SAMPLE_SHARE = 20
"""Sampling takes at most one part in so many of the supervisor's time."""


class Figures:
    """Asks the agent for counts and spreads them. ``catch_up`` takes in what has ended."""

    def __init__(self, agent: AgentLink, policy: Policy, catch_up: Callable[[], None]) -> None:
        self._agent = agent
        self._policy = policy
        self._catch_up = catch_up
        self._next = 0.0

    def refresh(self) -> None:
        """Bring every figure up to date, and let every subsystem look at them."""
        if self._policy.plans.compiled:
            self._count()
        self._catch_up()
        self._settle_usage()
        self._show()
        self._policy.changes.figures()

    def refresh_for(self, container: Container, name: str, file: ControlFile) -> None:
        """Bring up to date what a reading of this file of a container needs.

        Where that is its own counters, it costs what is in the container, and not all there is.
        """
        if file.needs == "nothing":
            return
        subsystem = container.hierarchy.subsystems.get(name.partition(".")[0])
        if file.needs == "own" and subsystem is not None and not _looks(subsystem):
            self._take(self._agent.count_some(subsystem.counters(container)))
            self._policy.changes.figures()
        else:
            self.refresh()

    def tick(self) -> float:
        """Refresh when that is due; seconds until it is due again."""
        now = time.monotonic()
        if now >= self._next:
            self.refresh()
            took = time.monotonic() - now
            interval = min((s.interval for s in self._policy.subsystems()), default=1.0)
            self._next = now + max(interval, SAMPLE_SHARE * took)
        return max(0.0, self._next - time.monotonic())

    def _count(self) -> None:
        policy = self._policy
        counted = self._agent.count()
        self._take(counted.counters)
        for group in counted.unreadable:
            policy.levels.unreadable(group)
        policy.ledger.observe(Row(*row[:7], *row[8:9]) for row in counted.rows)

    def _take(self, rows: Iterable[list[int]]) -> None:
        """Take over figures of counters, as `wire.agent.Figures` has them."""
        by_id = self._agent.counters
        for id, held, minheld, maxheld, failcnt, admitted in rows:
            if id in by_id:
                counter = by_id[id]
                counter.held, counter.failcnt, counter.admitted = held, failcnt, admitted
                counter.minheld, counter.maxheld = minheld, maxheld

    def _settle_usage(self) -> None:
        """Add what has been used since the last time to the meters."""
        plans = self._policy.plans.compiled
        for group, used in self._policy.ledger.drain().items():
            for meter in plans[group].meters if group in plans else ():
                meter.add(*used)

    def _show(self) -> None:
        """Let the subsystems see the figures; renew the plans of what they change."""
        changed: list[Container] = []
        for hierarchy in self._policy.forest.hierarchies.values():
            for subsystem in hierarchy.subsystems.values():
                with self._policy.host.one_look():
                    found = tell(subsystem, "sampled", hierarchy.root, self._policy.host)
                changed += found if isinstance(found, list | tuple | set) else ()
        for container in changed:
            self._policy.plans.renew_below(container)

    def report(self, endings: tuple[str, ...] = ("",)) -> list[ContainerReport]:
        """Every container of every hierarchy, as it is now; only files with one of ``endings``."""
        reports = []
        records = self._policy.levels.by_container(self._policy.forest.groups)
        for hierarchy in self._policy.forest.hierarchies.values():
            files: dict[bool, dict[str, ControlFile]] = {}
            for container in hierarchy.containers():
                is_root = container.parent is None
                if is_root not in files:
                    files[is_root] = {
                        name: file
                        for name, file in control_files(container).items()
                        if name.endswith(endings)
                    }
                record = records.get(container, Record())
                level = {
                    kind: level_of(record, subsystem, container)
                    for kind, subsystem in hierarchy.subsystems.items()
                }
                values = {name: file.read(container) for name, file in files[is_root].items()}
                reports.append(ContainerReport(hierarchy.name, container.path, level, values))
        return reports


def _looks(subsystem: Subsystem) -> bool:
    """Whether a subsystem has something to do at every reading."""
    return type(subsystem).sampled is not Subsystem.sampled
