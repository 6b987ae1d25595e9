"""The takeover protocol, small enough to try every step at which an agent can be killed.

A kernel with a limit on tasks, two callers that fork, and an agent reduced to the order of its
stores and calls, as in workers.listener, .docket, .estate and .succession. It is killed at every
step, and its successors are killed again, up to so many deaths; callers go on or are killed in
between. Every state that can be reached is visited once, and has to be a lawful one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NamedTuple

import pytest

LIMIT = 2
CALLERS = 2
DEATHS = 2
CALLS = 2
"""How often each caller forks."""


class Call(Enum):
    """Where a caller is, as the kernel sees it."""

    OUTSIDE = auto()
    TRAPPED = auto()
    RECEIVED = auto()
    LET_THROUGH = auto()
    REFUSED = auto()
    DEAD = auto()


class Step(Enum):
    """What the agent does next."""

    LOOK = auto()  # a successor: reservations from what threads are in
    SETTLE = auto()  # a successor: was the refusal that was under way answered?
    LEFT = auto()  # a successor: judge what was received
    ZERO = auto()
    RECEIVE = auto()
    JUDGE = auto()
    SEND_ADMIT = auto()
    NOTE_REFUSAL = auto()
    SEND_REFUSAL = auto()
    COUNT_REFUSAL = auto()
    CLOSE_REFUSAL = auto()
    KEEP = auto()
    FORGET = auto()


class Estate(NamedTuple):
    """What outlives an agent: the slot, the calls that wait, the refusal, the figure."""

    slot: tuple[int, int] | None = None
    kept: frozenset[tuple[int, int]] = frozenset()
    refusal: tuple[tuple[int, int], int] | None = None
    failcnt: int = 0


class State(NamedTuple):
    """Everything. A call is a caller and the number of its call: the id of its notification."""

    calls: tuple[Call, ...] = (Call.OUTSIDE,) * CALLERS
    numbers: tuple[int, ...] = (0,) * CALLERS
    children: int = 0
    refusals: int = 0
    answers: tuple[tuple[int, int], ...] = ()
    estate: Estate = Estate()
    deaths: int = 0
    step: Step = Step.ZERO
    current: tuple[int, int] | None = None
    pending: frozenset[int] = frozenset()
    successor: bool = False

    @property
    def tasks(self) -> int:
        """What the kernel's own count would be: callers are not counted, their children are."""
        return self.children

    def valid(self, call: tuple[int, int]) -> bool:
        """ID_VALID."""
        caller, number = call
        return self.calls[caller] is Call.RECEIVED and self.numbers[caller] == number

    def with_call(self, caller: int, call: Call) -> State:
        calls = list(self.calls)
        calls[caller] = call
        return self._replace(calls=tuple(calls))

    def answered(self, call: tuple[int, int], how: Call) -> State:
        """SEND: nothing happens when nobody waits."""
        if not self.valid(call):
            return self
        after = self.with_call(call[0], how)._replace(answers=(*self.answers, call))
        return after._replace(refusals=self.refusals + (how is Call.REFUSED))


def kernel(state: State) -> Iterator[State]:
    """What callers and the kernel may do next."""
    for caller, call in enumerate(state.calls):
        if call is Call.OUTSIDE and state.numbers[caller] < CALLS:
            numbers = list(state.numbers)
            numbers[caller] += 1
            yield state.with_call(caller, Call.TRAPPED)._replace(numbers=tuple(numbers))
        elif call is Call.LET_THROUGH:
            made = state.with_call(caller, Call.OUTSIDE)
            yield made._replace(children=state.children + 1)
            yield made  # the kernel could not
        elif call is Call.REFUSED:
            yield state.with_call(caller, Call.OUTSIDE)
    if state.calls[0] in (Call.TRAPPED, Call.RECEIVED, Call.LET_THROUGH):
        yield state.with_call(0, Call.DEAD)
    if state.children:
        yield state._replace(children=state.children - 1)


def killed(state: State) -> State:
    """Another agent takes over. All that the old one knew is gone."""
    return state._replace(
        deaths=state.deaths + 1, step=Step.LOOK, current=None, pending=frozenset(), successor=True
    )


def agent(state: State) -> Iterator[State]:
    """The agent's next step; it may have a choice where another thing happens to be first."""
    yield from STEPS[state.step](state)


def _look(state: State) -> Iterator[State]:
    # Nobody gets past a trap meanwhile, so that looking at each in turn is like at all at once.
    inside = (Call.TRAPPED, Call.RECEIVED, Call.LET_THROUGH)
    pending = {caller for caller, call in enumerate(state.calls) if call in inside}
    yield state._replace(pending=frozenset(pending), step=Step.SETTLE)


def _settle(state: State) -> Iterator[State]:
    estate = state.estate
    if estate.refusal is not None:
        call, failcnt = estate.refusal
        if estate.failcnt < failcnt and not state.valid(call):
            estate = estate._replace(failcnt=failcnt)
    yield state._replace(estate=estate._replace(refusal=None), step=Step.LEFT)


def _left(state: State) -> Iterator[State]:
    """One call that was left, or nothing any more: those that wait are kept."""
    slot = state.estate.slot
    if slot is not None and slot not in state.estate.kept and state.valid(slot):
        yield _look_closer(state, slot)
        return
    kept = frozenset(call for call in state.estate.kept if state.valid(call))
    yield state._replace(estate=state.estate._replace(kept=kept), step=Step.ZERO, successor=False)


def _look_closer(state: State, call: tuple[int, int]) -> State:
    # It traps again, so what it had reserved is over.
    return state._replace(current=call, pending=state.pending - {call[0]}, step=Step.JUDGE)


def _zero(state: State) -> Iterator[State]:
    yield state._replace(estate=state.estate._replace(slot=None), step=Step.RECEIVE)
    for call in state.estate.kept:  # instead, one that waits is looked at again
        yield _look_closer(state, call)


def _receive(state: State) -> Iterator[State]:
    for caller, call in enumerate(state.calls):
        if call is Call.TRAPPED:
            got = caller, state.numbers[caller]
            received = state.with_call(caller, Call.RECEIVED)
            yield _look_closer(received._replace(estate=received.estate._replace(slot=got)), got)
    if state.estate.kept:
        yield state._replace(step=Step.ZERO)


def _judge(state: State) -> Iterator[State]:
    """Count, and add reservations: of threads that are seen elsewhere there is none."""
    assert state.current is not None
    caller = state.current[0]
    settled = {
        other
        for other in state.pending
        if state.calls[other] in (Call.OUTSIDE, Call.REFUSED, Call.DEAD)
    }
    pending = state.pending - settled
    state = state._replace(pending=pending)
    if state.tasks + len(pending) + 1 <= LIMIT:
        yield state._replace(pending=pending | {caller}, step=Step.SEND_ADMIT)
    elif state.tasks + 1 <= LIMIT:
        yield state._replace(step=Step.KEEP)
    else:
        yield state._replace(step=Step.NOTE_REFUSAL)


def _send_admit(state: State) -> Iterator[State]:
    assert state.current is not None
    yield state.answered(state.current, Call.LET_THROUGH)._replace(step=Step.FORGET)


def _note_refusal(state: State) -> Iterator[State]:
    assert state.current is not None
    refusal = state.current, state.estate.failcnt + 1
    estate = state.estate._replace(refusal=refusal)
    yield state._replace(estate=estate, step=Step.SEND_REFUSAL)


def _send_refusal(state: State) -> Iterator[State]:
    assert state.current is not None
    step = Step.COUNT_REFUSAL if state.valid(state.current) else Step.CLOSE_REFUSAL
    yield state.answered(state.current, Call.REFUSED)._replace(step=step)


def _count_refusal(state: State) -> Iterator[State]:
    estate = state.estate._replace(failcnt=state.estate.failcnt + 1)
    yield state._replace(estate=estate, step=Step.CLOSE_REFUSAL)


def _close_refusal(state: State) -> Iterator[State]:
    yield state._replace(estate=state.estate._replace(refusal=None), step=Step.FORGET)


def _keep(state: State) -> Iterator[State]:
    assert state.current is not None
    estate = state.estate._replace(kept=state.estate.kept | {state.current})
    yield _on(state._replace(estate=estate))


def _forget(state: State) -> Iterator[State]:
    assert state.current is not None
    estate = state.estate._replace(kept=state.estate.kept - {state.current})
    yield _on(state._replace(estate=estate))


def _on(state: State) -> State:
    return state._replace(current=None, step=Step.LEFT if state.successor else Step.ZERO)


def lawful(state: State) -> None:
    """What has to hold in every state."""
    assert len(set(state.answers)) == len(state.answers), "a call was answered twice"
    under_way = state.calls.count(Call.LET_THROUGH)
    assert state.tasks + under_way <= LIMIT, "more may come to be than the limit allows"
    # What an agent that is dead knew, its estate has, or the next one finds out.
    refusing = state.estate.refusal is not None and not state.valid(state.estate.refusal[0])
    dead = Call.DEAD in state.calls
    assert state.estate.failcnt <= state.refusals + dead, "a refusal was counted twice"
    assert state.refusals <= state.estate.failcnt + refusing, "a refusal was not counted"
    for caller, call in enumerate(state.calls):
        if call is Call.RECEIVED:
            waiting = caller, state.numbers[caller]
            known = {state.estate.slot, state.current, *state.estate.kept}
            assert waiting in known, "nobody knows of a call that waits"
            left = {state.estate.slot, *state.estate.kept}
            assert waiting in left, "a successor would not know of a call that waits"


STEPS: dict[Step, Callable[[State], Iterator[State]]] = {
    Step.LOOK: _look,
    Step.SETTLE: _settle,
    Step.LEFT: _left,
    Step.ZERO: _zero,
    Step.RECEIVE: _receive,
    Step.JUDGE: _judge,
    Step.SEND_ADMIT: _send_admit,
    Step.NOTE_REFUSAL: _note_refusal,
    Step.SEND_REFUSAL: _send_refusal,
    Step.COUNT_REFUSAL: _count_refusal,
    Step.CLOSE_REFUSAL: _close_refusal,
    Step.KEEP: _keep,
    Step.FORGET: _forget,
}


def explore() -> int:
    """Visit every state that can be reached; how many there are."""
    start = State()
    seen = {start}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        lawful(state)
        following = [*kernel(state), *agent(state)]
        if state.deaths < DEATHS:
            following.append(killed(state))
        for after in following:
            if after not in seen:
                seen.add(after)
                queue.append(after)
    return len(seen)


def test_every_call_is_answered_once_and_the_limit_holds() -> None:
    assert explore() > 10_000


def _forgetful(state: State) -> Iterator[State]:
    yield state._replace(step=Step.SETTLE)


def _careless(state: State) -> Iterator[State]:
    yield _on(state)


def _uncounted(state: State) -> Iterator[State]:
    yield state._replace(estate=state.estate._replace(refusal=None), step=Step.LEFT)


def _unnoted(state: State) -> Iterator[State]:
    yield state._replace(step=Step.SEND_REFUSAL)


@pytest.mark.parametrize(
    ("step", "wrong", "found"),
    [
        (Step.LOOK, _forgetful, "than the limit allows"),
        (Step.KEEP, _careless, "a call that waits"),
        (Step.SETTLE, _uncounted, "not counted"),
        (Step.NOTE_REFUSAL, _unnoted, "not counted"),
    ],
)
def test_the_model_finds_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
    wrong: Callable[[State], Iterator[State]],
    found: str,
) -> None:
    monkeypatch.setitem(STEPS, step, wrong)
    with pytest.raises(AssertionError, match=found):
        explore()


def test_every_caller_can_go_on() -> None:
    """From every state in which a call waits, an agent that lives answers it some time."""
    for calls in (Call.TRAPPED, Call.RECEIVED):
        state = State(calls=(calls, Call.OUTSIDE), numbers=(1, 0), step=Step.LOOK, successor=True)
        if calls is Call.RECEIVED:
            state = state._replace(estate=Estate(slot=(0, 1)))
        for _ in range(12):
            if state.answers:
                break
            state = next(agent(state))
        assert state.answers == ((0, 1),)
