from __future__ import annotations

import pytest

from governor.bench import room
from governor.errors import GovernorError


def test_a_few_processes_find_room() -> None:
    room.check(2)


def test_too_many_are_refused_before_they_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GovernorError, match="MiB are needed for its processes"):
        room.check(10**9)
    monkeypatch.setattr(room, "_BYTES_PER_PROCESS", 0)
    with pytest.raises(GovernorError, match=r"2000000000 processes are needed, \d+ are allowed"):
        room.check(10**9)
