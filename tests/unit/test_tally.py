"""What agents have had to do: told in parts, and added up again."""

from __future__ import annotations

from governor.core.counter import Counter
from governor.units import UNLIMITED
from governor.wire.agent import LATENCY_BOUNDS
from workers.bills import Terms
from workers.tally import Tally

OPEN = (("files", 1),)


def test_the_parts_are_the_whole() -> None:
    agent, supervisor = Tally(), Tally()
    for part in range(3):
        agent.calls[257] += part
        agent.calls[56] += 1
        agent.answered(bool(part), 7_000)
        agent.recounts += 1
        agent.recounting += 10
        told = agent.take()
        assert told is not None
        supervisor.add(told)
    assert agent.take() is None
    assert supervisor.calls == {257: 3, 56: 3}
    assert (supervisor.recounts, supervisor.recounting) == (3, 30)
    assert [sum(row[1:]) for row in supervisor.answers] == [1, 2]
    assert [row[0] for row in supervisor.answers] == [7_000, 14_000]


def test_answers_are_sorted_by_their_bounds() -> None:
    tally = Tally()
    for place, bound in enumerate(LATENCY_BOUNDS, 1):
        tally.answered(False, bound)
        assert tally.answers[0][place] == 1
    tally.answered(False, LATENCY_BOUNDS[-1] + 1)
    assert tally.answers[0][-1] == 1


def test_every_system_call_has_a_bill_of_its_own() -> None:
    counter = Counter(1, "files", UNLIMITED)
    terms = Terms(1, {"files": [counter]}, None)
    opened, made = terms.bill(OPEN, 257), terms.bill(OPEN, 85)
    assert opened is terms.bill(OPEN, 257)
    assert len({id(bill) for bill in (opened, made, terms.bill(OPEN))}) == 3
    assert (opened.nr, terms.bill(OPEN).nr) == (257, None)
    assert opened.note == terms.bill(OPEN).note
