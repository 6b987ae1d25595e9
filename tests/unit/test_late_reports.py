"""What the spawner reports of a process after its container has gone is not lost."""

from __future__ import annotations

from typing import Any, cast

import pytest

from governor.core.usage import Use
from governor.supervisor import policy as policy_module
from governor.supervisor.agent import AgentLink
from governor.supervisor.events import Events
from governor.supervisor.figures import Figures
from governor.supervisor.policy import Policy
from governor.wire import agent as wire

NONCE = 0


class FakeAgent:
    """Knows of no process and does as it is told."""

    def count(self) -> wire.Figures:
        return wire.Figures(1, [], [], [])

    def has_told_refusals(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


class Bench:
    """A policy with a hierarchy and its figures."""

    def __init__(self) -> None:
        agent = cast("AgentLink", FakeAgent())
        self.policy = Policy(agent, NONCE, Events())
        self.figures = Figures(agent, self.policy, lambda: None)
        self.policy.mount("cpu", ["cpuacct"])

    def job_in(self, path: str) -> int:
        """The group of a job that has been in a new container, and is reaped."""
        container = self.policy.mkdir("cpu", path)
        group = self.policy.admit([container])
        self.policy.ledger.enter(group.id, group.id, group.id, Use(500, 400))
        return group.id

    def report(self, group: int) -> None:
        self.policy.ledger.reap(group, group, group, Use(1500, 600))

    def usage(self, path: str = "/") -> tuple[Any, ...]:
        self.figures.refresh()
        container = self.policy.forest.lookup("cpu", path)
        files = self.policy.forest.files(container)
        names = ("usage", "usage_user", "usage_own")
        return tuple(files[f"cpuacct.{name}"].read(container) for name in names)


def test_it_is_charged_to_the_containers_above() -> None:
    bench = Bench()
    bench.policy.mkdir("cpu", "/a")
    group = bench.job_in("/a/b")
    bench.figures.refresh()
    bench.policy.rmdir("cpu", "/a/b")
    assert bench.usage("/a") == (0, 0, 0)
    bench.report(group)
    assert bench.usage("/a") == (1000, 200, 1000)
    assert bench.usage("/") == (1000, 200, 0)


def test_what_is_kept_for_it_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_module, "RELEASED_MAX", 3)
    bench = Bench()
    groups = []
    for number in range(5):
        groups.append(bench.job_in(f"/{number}"))
        bench.policy.rmdir("cpu", f"/{number}")
    assert list(bench.policy.plans.compiled) == groups[-3:]
    for group in groups[-3:]:
        bench.report(group)
    assert bench.usage() == (3000, 600, 3000)
