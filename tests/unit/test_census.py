"""The census reads one process after the other, while they go on."""

from __future__ import annotations

import pytest

from workers import cpu
from workers.census import Census
from workers.membership import Tag
from workers.syscalls import table


def test_cpu_time_is_read_of_parents_before_their_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round a child that is reaped in between would be in both rows."""
    read: list[int] = []
    monkeypatch.setattr(cpu, "sample", read.append)
    members = dict.fromkeys((1030, 1010, 1020), Tag(7, 1, 1))
    assert Census(7, table()).rows(members) == []
    assert read == [1010, 1020, 1030]
