"""A sample of the named faults: every protocol and every kind of fault at least once.

``make stress`` runs all combinations, of which this file checks that none is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from governor.wire import agent, client, job, spawner
from tests.capabilities import need
from tests.faults.judge import PROGRAMS, Verdict, can_enter, judge
from tests.faults.kinds import KINDS
from tests.faults.matrix import COMBINATIONS, EXCEPTIONS, POSSIBLE, Combination
from tests.faults.protocols import PROTOCOLS, STEPS
from tests.process.helpers import program

SAMPLE = (
    "tree.Mkdir:delay",
    "spawn.StartWorker:fork",
    "spawn.Started:kill-before",
    "spawn.Ready:truncate",
    "spawn.Go:kill-receiver",
    "failure.Failed:truncate",
    "place.SetCounter:drop",
    "place.Placed:reorder",
    "place.Listening:descriptors",
    "trap.recount:descriptors",
    "trap.answer:kill-before",
    "attach.MoveAll:duplicate",
    "attach.MovedAll:truncate",
    "gather.MoveAll:kill-receiver",
    "gather.go-on:kill-after",
    "limit.SetCounter:reorder",
    "limit.Ping:stall-receiver",
    "limit.Pong:drop",
    "limit.record:disk-full",
    "attach.sync:disk-broken",
    "place.record:kill-after",
    "count.Figures:stall-sender",
    "takeover.StartAgent:fork",
    "takeover.SetPlan:drop",
    "takeover.Resume:kill-receiver",
    "succession.ask-again:kill-agent",
    "succession.bury-spawner:kill-before",
    "rmdir.record:kill-after",
    "end.Reaped:kill-before",
    "end.Result:clock-sender",
    "enter.Enter:drop",
    "rmdir.DropCounter:kill-after",
    "shutdown.Shutdown:clock-receiver",
)
"""Where faults were found once, and one of whatever is left."""


AT_ONCE = 3
"""Most of the time a combination waits for somebody's patience to end."""


@pytest.fixture(scope="module")
def verdicts() -> Iterator[dict[str, Future[Verdict]]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name in PROGRAMS:
            program(name)  # before several would compile it at once
        chosen = [c for name in SAMPLE for c in POSSIBLE if c.name == name]
        yield {c.name: pool.submit(judge, c.step.name, c.kind, c.expected) for c in chosen}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_harms_nobody(verdicts: dict[str, Future[Verdict]], name: str) -> None:
    need(not name.startswith("enter.") or can_enter(), "no user namespaces for this user")
    assert verdicts[name].result().violations == []


def test_nothing_goes_wrong_without_a_fault() -> None:
    verdict = judge("none", "none", ("healed",))
    assert (verdict.violations, verdict.told) == ([], [])


def test_the_sample_has_every_protocol_and_every_kind() -> None:
    chosen = [c for c in POSSIBLE if c.name in SAMPLE]
    assert len(chosen) == len(SAMPLE)
    assert {c.step.protocol for c in chosen} == set(PROTOCOLS)
    assert {c.kind for c in chosen} == set(KINDS)


def test_names_are_distinct_and_each_combination_is_tried_or_explained() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert len(COMBINATIONS) == len(STEPS) * len(KINDS)
    assert all(bool(c.expected) != bool(c.why_not) for c in COMBINATIONS)
    assert set(EXCEPTIONS) <= {c.name for c in POSSIBLE}


def test_a_step_between_two_is_a_message() -> None:
    """One of another name would never be met, and no fault strike."""
    wires = (agent, client, job, spawner)
    messages = {kind for wire in wires for kind in vars(wire)}
    assert {step.what for step in STEPS if step.receiver} <= messages


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_has_a_fault(step: object) -> None:
    tried: list[Combination] = [c for c in POSSIBLE if c.step is step]
    assert tried
