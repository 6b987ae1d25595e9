"""cpuacct: the CPU time that the processes of a container have used, and their load.

``cpuacct.usage`` of a container includes its sub-containers and everything that has ended
there; it never falls, and neither do its user and its system part. At any moment it is both
``usage_own`` and the ``usage`` of each sub-container, and ``usage_user`` and ``usage_sys``, to
the nanosecond: all figures come from one sample. At the end of a job it is exact, while it
runs it lags by at most a clock tick per process.

Not promised: CPU time of a process whose parent ignores SIGCHLD is lost after the last
sample before its end, since the kernel adds it to nobody. What is user and what is system
time is the kernel's estimate, from what its ticks have found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from governor.core.container import Container
from governor.core.plan import PlanBuilder
from governor.core.usage import Meter
from governor.subsystem import ControlFile, Host, Metric, Subsystem, Value
from subsystems._load import Account, Period, parse_interval, turn


class CpuAcct(Subsystem):
    """CPU time, charged per container."""

    name = "cpuacct"
    facility = "cpu"

    def create(self, container: Container) -> Account:
        """An account at zero; it shares the intervals of its hierarchy."""
        parent = container.parent
        return Account(self.account(parent).period if parent else Period())

    def destroy(self, container: Container, state: object) -> None:
        """What was used stays in the parent's account, which includes it already."""

    def account(self, container: Container) -> Account:
        """The container's account."""
        state = container.states[self.name]
        assert isinstance(state, Account)
        return state

    def meters(self, container: Container) -> Iterable[Meter]:
        """The one account."""
        return (self.account(container),)

    def own(self, container: Container) -> int:
        """Nanoseconds used in the container itself, or in sub-containers that are gone."""
        below = sum(self.account(child).total for child in container.children.values())
        return self.account(container).total - below

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """CPU time runs into the accounts of the container and of all its ancestors."""
        for node in container.ancestors():
            plan.measure(self.account(node))

    def sampled(self, root: Container, host: Host) -> Iterable[Container]:
        """End the interval of the load when it has been long enough."""
        turn(self.account(root).period, map(self.account, root.descendants()), host.now)
        return ()

    def populate(self) -> Mapping[str, ControlFile]:
        """Times in nanoseconds, but for ``stat`` (clock ticks) and ``interval`` (seconds)."""

        def set_interval(container: Container, seconds: float) -> None:
            account(container).period.seconds = seconds

        account = self.account
        load = Metric("load", "CPUs in use over the last complete interval.", number=_parts)
        interval = Metric("interval", "How long an interval of the load is.", unit="seconds")
        return {
            "cpuacct.usage": _time(lambda c: account(c).total, "usage", "of all, ended ones too"),
            "cpuacct.usage_user": _time(lambda c: account(c).user, "usage_user", "in user mode"),
            "cpuacct.usage_sys": _time(lambda c: account(c).system, "usage_sys", "in the kernel"),
            "cpuacct.usage_own": _time(self.own, "usage_own", "without that of sub-containers"),
            "cpuacct.stat": ControlFile(lambda c: _stat(account(c))),
            "cpuacct.load": ControlFile(lambda c: account(c).load, metric=load),
            "cpuacct.interval": ControlFile(
                lambda c: f"{account(c).period.seconds:.12g}",
                parse_interval,
                set_interval,
                interval,
                on="root",
            ),
        }


def _time(read: Callable[[Container], int], name: str, what: str) -> ControlFile:
    """A file of nanoseconds, and a counter of seconds over it."""
    metric = Metric(name, f"CPU time {what}.", "counter", "seconds", lambda ns: int(ns) / 1e9)
    return ControlFile(read, metric=metric)


def _parts(percent: Value) -> float:
    return int(percent) / 100


def _stat(account: Account) -> str:
    """User and system time in ticks of USER_HZ, as the file of this name in cgroup v1."""
    ns_per_tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return f"user {account.user // ns_per_tick}\nsystem {account.system // ns_per_tick}"
