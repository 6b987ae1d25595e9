"""Where the agent waits when some call has to be looked at again in a moment."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from workers import agent as module
from workers.agent import Agent


@pytest.fixture
def agent() -> Any:
    """An agent whose traps have all come from one listener lately; it stops in its second turn."""
    agent: Any = Agent.__new__(Agent)
    vars(agent).update(dict.fromkeys(("_docket", "_confinement", "_moves"), False))
    agent._peer, agent._epoll, agent._switchboard = MagicMock(), MagicMock(), MagicMock()
    agent._peer.receive.return_value = None
    agent._switchboard.goes_on.return_value = False
    agent._hits, agent._readings = MagicMock(untold={}), MagicMock(left=0)
    agent._running, agent._has_told, agent._work_on = True, False, MagicMock()
    waited: list[float] = []

    def poll(timeout: float) -> list[tuple[int, int]]:
        waited.append(timeout)
        agent._running = len(waited) < 2
        return []

    agent._epoll.poll, agent.waited = poll, waited
    return agent


def test_one_listener_is_waited_in_alone(agent: Any) -> None:
    agent.serve()
    assert agent._switchboard.answer_alone.call_count == 2
    assert agent.waited == [-1, -1]


@pytest.mark.parametrize("what", ["_docket", "_confinement", "_moves"])
def test_what_is_to_be_looked_at_again_does_not_wait_for_the_bell(agent: Any, what: str) -> None:
    setattr(agent, what, True)
    agent.serve()
    assert agent._switchboard.answer_alone.call_count == 0
    assert agent.waited == [module.LOOK_AGAIN] * 2
