"""How the agent waits for traps and wakes up callers, chosen by where the traps come from."""

from __future__ import annotations

from typing import Any

import pytest

from workers import seccomp
from workers.focus import LONG_STREAK, STREAK, Focus
from workers.listener import Listener
from workers.wake_up import INTERVAL, WakeUp

ONE, OTHER = "one listener", "another"


def choose(cpus: int, turns: list[int], traps: int, seconds: float = INTERVAL) -> bool:
    wake_up = WakeUp(cpus)
    wake_up.choose(100.0)
    assert not wake_up.due(100.0)
    wake_up.turns += turns
    wake_up.traps = traps
    assert wake_up.due(100.0 + INTERVAL + 1e-6)
    sync = wake_up.choose(100.0 + seconds)
    assert (wake_up.turns, wake_up.traps, wake_up.sync) == ([], 0, sync)
    return sync


@pytest.mark.parametrize("cpus", [1, 2, 64])
def test_one_caller_is_woken_synchronously_however_often_it_calls(cpus: int) -> None:
    assert choose(cpus, [], 5000)
    assert choose(cpus, [7], 1)
    assert choose(cpus, [7] * 10, 20)
    assert choose(cpus, [7, 8], 20)


def test_callers_that_work_between_their_traps_go_on_at_once() -> None:
    assert not choose(2, [7, 8] * 50, 200)
    assert not choose(2, [-1, -2] * 50, 100)
    assert choose(1, [7, 8] * 50, 200)


def test_traps_as_fast_as_they_are_answered_are_not_worth_another_cpu() -> None:
    assert choose(2, [7, 8] * 1000, 4000)
    assert not choose(16, [7, 8, 9, 10] * 375, 1500)


def test_idle_time_does_not_count() -> None:
    assert choose(2, [7, 8] * 1000, 4000, 3600.0)


def test_four_traps_in_a_row_are_enough_to_wait_for_that_listener_alone() -> None:
    focus: Any = Focus()
    assert focus.turn(ONE)
    for _ in range(STREAK):
        assert focus.alone() is None
        assert not focus.turn(ONE)
    assert focus.alone() is ONE


def test_it_takes_more_where_another_one_has_traps_meanwhile() -> None:
    focus: Any = Focus()
    for turns in range(5 * STREAK):
        focus.turn((ONE, OTHER)[turns // STREAK % 2])
        assert focus.alone() is None
    for _ in range(LONG_STREAK + 1):
        focus.turn(ONE)
    assert focus.alone() is ONE
    focus.was_alone(1000)
    assert focus.alone() is ONE
    assert focus.goes_on
    assert focus.turn(OTHER)
    assert focus.alone() is None
    for _ in range(STREAK):
        focus.turn(OTHER)
    assert focus.alone() is None


def test_a_listener_that_falls_silent_is_left_for_epoll() -> None:
    focus: Any = Focus()
    for _ in range(STREAK + 1):
        focus.turn(ONE)
    focus.was_alone(STREAK - 1)
    assert focus.alone() is None
    assert not focus.goes_on
    focus.last = None
    assert focus.turn(OTHER)


def test_a_listener_is_told_of_a_choice_only_where_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[bool] = []
    monkeypatch.setattr(seccomp, "set_sync", lambda fd, on: told.append(on))
    listener: Any = Listener.__new__(Listener)
    listener.fd, listener._sync, listener._can_sync = 9, True, True
    for sync in (True, False, False, True):
        listener.wake(sync)
    assert told == [False, True]
    listener._can_sync = False
    listener.wake(False)
    assert told == [False, True]
