"""Ending by force, mostly with processes that are only numbers."""

from __future__ import annotations

import os
import subprocess

import pytest

from governor.supervisor import endings
from governor.supervisor.endings import Endings, signal_all

NOBODY = 2**22 + 1
"""No process has this number (PID_MAX_LIMIT)."""


def test_the_end_is_told_when_nobody_is_left() -> None:
    told: list[str] = []
    left = [NOBODY]
    ending = Endings()
    ending.begin(lambda: left, 0, lambda: told.append("done"))
    assert ending.tick() is not None
    left.clear()
    assert ending.tick() is None
    assert told == ["done"]


def test_who_cannot_be_ended_is_told_of_where_somebody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endings, "PATIENCE", -1.0)
    told: list[list[int]] = []
    ending = Endings()
    ending.begin(lambda: [NOBODY], 0, lambda: told.append([]), failed=told.append)
    ending.begin(lambda: [NOBODY], 0, lambda: told.append([]))
    assert ending.tick() is not None  # the second one goes on
    assert told == [[NOBODY]]


def test_the_oldest_are_signalled_first(monkeypatch: pytest.MonkeyPatch) -> None:
    signalled: list[int] = []
    processes = [subprocess.Popen(["sleep", "1000"]) for _ in range(8)]
    pids = [process.pid for process in processes]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", lambda pid, number: signalled.append(pid))
            signal_all([NOBODY, *reversed(pids)], 0)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert signalled == pids
