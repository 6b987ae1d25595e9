"""The agent collects no garbage, so a listener that has ended must leave none."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any
from unittest.mock import MagicMock

import pytest

from workers import seccomp
from workers.listener import Listener


def test_a_listener_that_has_ended_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "set_sync", lambda fd, on: False)
    anything: Any = MagicMock()
    anything.slot.return_value = memoryview(bytearray(2048))
    gc.disable()
    try:
        fd = os.open(os.devnull, os.O_RDONLY)
        listener = Listener(fd, 1, 1, anything, 0, anything, anything, [])
        there = weakref.ref(listener)
        listener.close()
        del listener
        assert there() is None
    finally:
        gc.enable()
