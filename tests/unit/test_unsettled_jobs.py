"""When ended jobs get their results."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from governor.supervisor.job_ends import JobEnds


def job(id: int) -> Any:
    return SimpleNamespace(id=id, name=str(id), timed_out=False, error=None)


class Refusals:
    """Those that nobody has heard of; while they are told of, a second job ends."""

    def __init__(self) -> None:
        self.told = 0

    def are_known(self) -> bool:
        return False

    def catch_up(self) -> None:
        self.told += 1
        if self.told == 1:
            self.ends.lose(job(2), "the test says so", 0)

    ends: JobEnds


def test_a_job_that_ends_while_refusals_are_told_of_waits_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    concluded: list[tuple[int, int]] = []
    refusals = Refusals()
    monkeypatch.setattr(
        JobEnds, "_conclude", lambda self, job, result: concluded.append((job.id, refusals.told))
    )
    nothing = cast(Any, None)
    refusals.ends = JobEnds(nothing, nothing, nothing, cast(Any, refusals), nothing)
    refusals.ends.lose(job(1), "the test says so", 0)
    refusals.ends.settle()
    assert concluded == [(1, 1), (2, 2)]
