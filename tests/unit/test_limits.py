"""Limits as users write them."""

from __future__ import annotations

import errno
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.api.limits import Limits
from governor.errors import GovernorError, WorkerDied
from governor.results import JobResult


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ({}, Limits()),
        ({"tasks": 8, "files": "4k"}, Limits(8, 4000)),
        ({"cpus": "0-1,3"}, Limits(cpus="0-1,3")),
        ({"cpus": {3, 0, 1}}, Limits(cpus="0-1,3")),
        ({"cpus": 2}, Limits(cpus="2")),
        ({"timeout": "1m30s"}, Limits(timeout=90.0)),
        ({"timeout": 0.5}, Limits(timeout=0.5)),
    ],
)
def test_what_is_allowed(written: dict[str, Any], limits: Limits) -> None:
    assert Limits.of(**written) == limits


@pytest.mark.parametrize(
    "written",
    [
        {"tasks": 0}, {"tasks": -1}, {"tasks": "many"}, {"tasks": True}, {"tasks": 1.5},
        {"files": "0"}, {"files": []},
        {"cpus": ""}, {"cpus": []}, {"cpus": "3-1"}, {"cpus": 1.5}, {"cpus": ["x"]}, {"cpus": -1},
        {"timeout": 0}, {"timeout": "soon"}, {"timeout": -1}, {"timeout": float("nan")},
    ],
)  # fmt: skip
def test_what_is_refused_by_name(written: dict[str, Any]) -> None:
    with pytest.raises(GovernorError) as caught:
        Limits.of(**written)
    assert caught.value.errno == errno.EINVAL
    assert next(iter(written)) in caught.value.message


some = st.builds(
    Limits,
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 9),
    st.none() | st.sampled_from(["0", "1"]),
    st.none() | st.floats(0.1, 9),
)


@given(some, some, some)
def test_one_over_another(first: Limits, second: Limits, third: Limits) -> None:
    assert first.over(Limits()) == first == Limits().over(first)
    assert first.over(second).over(third) == first.over(second.over(third))
    for own, theirs, found in zip(first, second, first.over(second), strict=True):
        assert found == (theirs if own is None else own)


def test_as_control_files() -> None:
    assert Limits.of(tasks=3, cpus=0, timeout=5).settings() == {
        "numtasks.limit": 3,
        "cpuset.cpus": "0",
    }


@pytest.mark.parametrize("number", [None, 9])
def test_the_death_of_a_worker_can_be_sent_on(number: int | None) -> None:
    result = JobResult(137 if number else 3, number, 1.0, 0.0, False, None)
    error = WorkerDied("task", "worker 7", ("load:/x",), result)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    how = "was ended by signal 9" if number else "has ended itself with exit code 3"
    assert str(error) == f"worker 7 in load:/x, which carried out task, {how}"
