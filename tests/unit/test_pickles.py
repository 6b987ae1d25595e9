"""What calls and their answers are between two processes."""

from __future__ import annotations

import gc
import sys

import pytest

from workers import pickles


def test_what_is_packed_may_end_in_a_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that failed is in one, with its traceback. From Python 3.13 on that would be told."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    cycle: list[object] = [pickles.pack_call((pow, (2, 2), {}))]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert complaints == []


def test_what_is_importable_comes_back_by_its_name() -> None:
    packed = pickles.pack_call((pow, (2, 2)))
    assert not packed.whole
    assert pickles.unpack(packed.data, packed.whole) == (pow, (2, 2))
