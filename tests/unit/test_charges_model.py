"""What a death does to charges of rates, and to what is told of refusals: every step of both.

As `test_takeover_model`, with other parts of the protocol: workers.accounts `_charge`, the note in
workers.estate, `take_back`; workers.hits, and the sum of `AgentLink.untold`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import pytest

DEATHS = 3
LIMIT = 3
CALLS = 4
REFUSALS = 3
RESETS = 1

S = TypeVar("S", bound=Hashable)


def explore(start: S, after: Callable[[S], Iterable[S]], lawful: Callable[[S], None]) -> int:
    """Visit every state that can be reached; how many there are."""
    seen, queue = {start}, deque([start])
    while queue:
        state = queue.popleft()
        lawful(state)
        for following in after(state):
            if following not in seen:
                seen.add(following)
                queue.append(following)
    return len(seen)


# -- rates --------------------------------------------------------------------------------


class Rate(NamedTuple):
    """One caller calls again and again; ``call`` is the one that waits, 0 for none.

    ``current`` is the one that the agent sees to.
    """

    charged: int = 0
    note: tuple[int, int] = (0, 0)
    calls: int = 0
    call: int = 0
    current: int = 0
    admitted: int = 0
    in_vain: int = 0
    """Charged for a caller that was killed before it was answered."""
    step: str = "receive"
    deaths: int = 0

    @property
    def is_made(self) -> bool:
        """Whether the call that waits has been charged."""
        call, charged = self.note
        return bool(self.call) and call == self.call and charged == self.charged


def charging(state: Rate, skip: str = "") -> Iterator[Rate]:
    """What may come next; without the step ``skip``."""
    if not state.call and state.calls < CALLS:
        yield state._replace(calls=state.calls + 1, call=state.calls + 1)
    if state.call:  # the caller is killed
        yield state._replace(call=0, in_vain=state.in_vain + state.is_made)
    if state.deaths < DEATHS:
        yield state._replace(deaths=state.deaths + 1, step="take back")
    match state.step:
        case "take back":
            back = state.is_made and skip != "take back"
            yield state._replace(charged=state.charged - back, step="receive")
        case "receive" if state.call:
            step = "note" if state.charged < LIMIT else "refuse"
            yield state._replace(current=state.call, step=step)
        case "note" if skip == "note":
            yield state._replace(step="charge")
        case "note":
            yield state._replace(note=(state.current, state.charged + 1), step="charge")
        case "charge":
            in_vain = state.in_vain + (state.call != state.current)
            yield state._replace(charged=state.charged + 1, in_vain=in_vain, step="admit")
        case "admit":
            after = _answered(state)
            yield after._replace(admitted=state.admitted + (state.call == state.current))
        case "refuse":
            yield _answered(state)


def _answered(state: Rate) -> Rate:
    """Nothing happens when nobody waits."""
    is_another = state.call != state.current
    return state._replace(call=state.call if is_another else 0, step="receive")


def charged_once(state: Rate) -> None:
    """What has to hold in every state."""
    assert state.admitted <= LIMIT
    assert state.charged == state.admitted + state.in_vain + state.is_made, "charged twice"


def test_a_call_is_charged_to_a_rate_once() -> None:
    assert explore(Rate(), charging, charged_once) > 100


@pytest.mark.parametrize("skip", ["note", "take back"])
def test_a_charge_that_is_not_noted_or_not_taken_back_is_made_twice(skip: str) -> None:
    with pytest.raises(AssertionError, match="charged twice"):
        explore(Rate(), lambda state: charging(state, skip), charged_once)


# -- what is told -------------------------------------------------------------------------


class Told(NamedTuple):
    """Messages on the way are lost with the agent: hits by how many, and figures."""

    refused: int = 0
    failcnt: int = 0
    untold: int = 0
    queue: tuple[tuple[str, int], ...] = ()
    known: int = 0
    events: int = 0
    resets: int = 0
    unsure: bool = False
    step: str = "serve"
    deaths: int = 0
    lost: int = 0
    """What was on the way when the agent was ended over a reset."""

    def say(self, kind: str, number: int) -> Told:
        return self._replace(queue=(*self.queue, (kind, number)))


def telling(state: Told, skip: str = "") -> Iterator[Told]:
    """What may come next; without the step ``skip``."""
    if state.queue:
        (kind, number), *rest = state.queue
        heard = state._replace(queue=tuple(rest))
        if kind == "hit":
            yield heard._replace(known=state.known + number, events=state.events + number)
        elif kind == "pong":
            yield heard._replace(unsure=False)
        else:
            missing = max(0, number - state.known)
            yield heard._replace(known=number, events=state.events + missing)
    if state.deaths < DEATHS:
        begun = ("figure", 0) in state.queue or state.step == "say"
        left = max(0, state.failcnt - state.known)  # the successor finds so many
        lost = state.refused - state.events - state.lost - left if begun else 0
        dead = state._replace(queue=(), untold=0, deaths=state.deaths + 1, lost=state.lost + lost)
        yield dead._replace(step="succeed")
    if state.resets < RESETS and not state.unsure:
        yield state._replace(resets=state.resets + 1, unsure=True, step=state.step)
    match state.step:
        case "succeed":
            said = state if skip == "succeed" else state.say("figure", state.failcnt)
            yield said._replace(step="serve")
        case "serve":
            if state.refused < REFUSALS:
                more = state._replace(refused=state.refused + 1, failcnt=state.failcnt + 1)
                yield more._replace(untold=state.untold + 1)
            if state.untold:
                yield state.say("hit", state.untold)._replace(untold=0)
            if state.unsure and ("pong", 0) not in state.queue:
                told = state.say("hit", state.untold) if state.untold else state
                yield told._replace(untold=0, step="reset")
        case "reset":
            yield state._replace(failcnt=0, step="say")
        case "say":
            said = state if skip == "say" else state.say("figure", 0)
            yield said.say("pong", 0)._replace(step="serve")


def told_once(state: Told) -> None:
    """What has to hold in every state, and where nothing is on the way."""
    assert state.events <= state.refused, "told twice"
    if state.step == "serve" and not state.queue and not state.untold:
        assert state.events + state.lost >= state.refused, "not told"


def test_a_refusal_is_told_of_once() -> None:
    assert explore(Told(), telling, told_once) > 1000


@pytest.mark.parametrize("skip", ["succeed", "say"])
def test_what_a_successor_or_a_reset_does_not_say_is_missed(skip: str) -> None:
    with pytest.raises(AssertionError, match="not told"):
        explore(Told(), lambda state: telling(state, skip), told_once)
