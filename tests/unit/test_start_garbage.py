"""A command does not look for garbage while it starts: that took a part in thirty of the time."""

from __future__ import annotations

import gc
import os

import pytest

from governor import cli


def test_a_start_is_not_held_up_by_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    class Out(BaseException):
        pass

    def leave(code: int) -> None:
        raise Out

    found: list[int] = []

    def main() -> int:
        found.append(gc.get_threshold()[0])
        return 0

    before = gc.get_threshold()
    monkeypatch.setattr(cli, "main", main)
    monkeypatch.setattr(os, "_exit", leave)
    try:
        with pytest.raises(Out):
            cli.entry()
    finally:
        gc.set_threshold(*before)
    assert found == [cli.YOUNG]
    assert gc.isenabled()
