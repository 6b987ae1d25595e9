"""What the supervisor tells its agent of counters: only changes, and what is taken away first."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.core.counter import Counter
from governor.core.plan import Plan
from governor.supervisor.agent import AgentDied, AgentLink
from governor.supervisor.agent_process import AgentProcess
from governor.supervisor.spawner_link import SpawnerLink
from governor.transport import Server, close_all
from governor.units import UNLIMITED
from governor.wire import agent as wire
from governor.wire.codec import Message

PLAN = Plan({}, {}, {}, [])


def idle_spawner(end: socket.socket) -> SpawnerLink:
    """One that nobody is at the other end of, and that is never replaced."""

    def restart() -> tuple[int, socket.socket]:
        raise AssertionError("it has not died")

    return SpawnerLink(0, end, 1, restart, 10.0)


class Link(AgentLink):
    """Keeps what it would send."""

    def __init__(self, server: Server, end: socket.socket) -> None:
        process = AgentProcess(idle_spawner(end), "nowhere")
        super().__init__(server, process, lambda: None, lambda message: None, 1.0)
        self.sent: list[Message] = []

    def _send(self, message: Message) -> None:
        self.sent.append(message)

    def take(self) -> list[Message]:
        sent, self.sent = self.sent, []
        return [message for message in sent if not isinstance(message, wire.SetPlan)]


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    server = Server(str(tmp_path / "agents"), wire.FROM_AGENT)
    here, there = socket.socketpair()
    with here, there:
        link = Link(server, here)
        yield link
        link.process.close()
    close_all([server])


def test_only_what_differs_from_a_new_counter_is_told(link: Link) -> None:
    plain, barred, rate = (Counter(id, "tasks", 9) for id in (1, 2, 3))
    barred.barrier = 4
    rate.interval = 2.5
    link.set_plan(1, PLAN, [plain, barred, rate])
    told: list[Message] = [
        wire.SetCounter(1, "tasks", 9),
        wire.SetCounter(2, "tasks", 9),
        wire.SetBarrier(2, 4),
    ]
    told += [wire.SetCounter(3, "tasks", 9), wire.SetInterval(3, 2.5)]
    assert link.take() == told
    link.set_plan(1, PLAN, [plain, barred, rate])
    assert link.sent == []
    barred.barrier = UNLIMITED
    link.renew([plain, barred, rate])
    assert link.take() == [wire.SetBarrier(2, UNLIMITED)]


def test_a_lender_is_told_of_before_its_borrowers(link: Link) -> None:
    child, parent = Counter(1, "tasks"), Counter(2, "tasks", 8)
    child.borrow(parent, 3)
    link.set_plan(1, PLAN, [child, parent])
    kinds = [(type(message).__name__, message.id) for message in link.take()]
    assert kinds == [("SetCounter", 2), ("SetCounter", 1), ("SetLender", 1)]
    child.borrow(None)
    link.renew([child, parent])
    assert link.take() == [wire.SetLender(1, 0, 0)]


@pytest.mark.parametrize("parent_first", [True, False])
def test_what_one_loses_is_told_before_what_another_gains(link: Link, parent_first: bool) -> None:
    child, parent = Counter(1, "tasks"), Counter(2, "tasks", 8)
    child.borrow(parent, 0)
    counters = [parent, child] if parent_first else [child, parent]
    link.set_plan(1, PLAN, counters)
    link.take()
    parent.limit, child.guarantee = 5, 3
    link.renew(counters)
    assert link.take() == [wire.SetCounter(2, "tasks", 5), wire.SetLender(1, 2, 3)]
    parent.limit, child.guarantee = 7, 1
    link.renew(counters)
    assert link.take() == [wire.SetLender(1, 2, 1), wire.SetCounter(2, "tasks", 7)]


def test_a_reset_is_told_once_and_only_of_counters_the_agent_has(link: Link) -> None:
    known, unknown = Counter(1, "tasks"), Counter(2, "tasks")
    link.set_plan(1, PLAN, [known])
    link.take()
    for counter in (known, unknown):
        counter.reset("maxheld")
        counter.reset("failcnt")
    link.renew([known, unknown])
    assert link.take() == [wire.Reset(1, "failcnt"), wire.Reset(1, "maxheld")]
    link.set_plan(1, PLAN, [known, unknown])
    link.renew([known, unknown])
    assert [type(message).__name__ for message in link.take()] == ["SetCounter"]


def test_a_reset_where_nobody_was_is_told_before_somebody_comes(link: Link) -> None:
    counter = Counter(1, "tasks")
    link.set_plan(1, PLAN, [counter])
    link.take()
    counter.reset("maxheld")
    link.set_plan(2, PLAN, [counter])
    assert link.take() == [wire.Reset(1, "maxheld")]
    link.renew([counter])
    assert link.take() == []


def test_a_death_heard_of_while_messages_are_read_is_not_waited_for(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether somebody may speak is asked of the spawner, which may tell of more."""

    def read() -> None:
        link.process.ended = "was ended by signal 9"

    def wait(timeout: float | None) -> set[object]:
        raise AssertionError("nothing would end this wait")

    monkeypatch.setattr(link, "_next", read)
    monkeypatch.setattr(link._poller, "poll", wait)
    with pytest.raises(AgentDied):
        link._receive()


def missed(link: Link, failcnt: int) -> int:
    return sum(hit.times for hit in link.untold(wire.Refusals([[1, failcnt]])))


def test_refusals_are_told_of_once_also_when_their_figure_begins_again(link: Link) -> None:
    counter = Counter(1, "tasks")
    link.set_plan(1, PLAN, [counter])
    assert [missed(link, 3), missed(link, 3), missed(link, 5)] == [3, 0, 2]
    assert [missed(link, 0), missed(link, 2)] == [0, 2]


def test_a_figure_that_was_counted_has_not_been_told_of_yet(link: Link) -> None:
    counter = Counter(1, "tasks")
    link.set_plan(1, PLAN, [counter])
    counter.failcnt = 3
    counter.limit = 7
    link.renew([counter])
    assert missed(link, 3) == 3


def test_a_job_that_a_new_agent_was_told_to_place_is_not_placed_twice(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place() -> None:
        link.place(1, 2, 3, [], -1)

    def take_over() -> None:
        link._peer = b"another"
        place()

    def die() -> None:
        raise AgentDied

    monkeypatch.setattr(link, "_greet", die)
    monkeypatch.setattr(link, "_take_over", take_over)
    place()
    assert link.take() == [wire.Place(1, 2, 3, [])]
