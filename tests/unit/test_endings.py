"""Ending by force, with processes that are only numbers."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from governor.supervisor import endings
from governor.supervisor.endings import Endings

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


def test_parents_hear_of_it_before_their_children(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: heard.append(pid))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        family = [os.getppid(), os.getpid(), child.pid]
        for pids in (family, reversed(family)):
            endings.signal_all(pids, signal.SIGTERM)
        child.communicate()
    assert heard == family * 2
