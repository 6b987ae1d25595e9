"""joblib's loops on governed processes, with joblib itself."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator

import pytest

joblib = pytest.importorskip("joblib", reason="the extra joblib is not installed")

import governor.joblib  # noqa: E402
from governor import Governor  # noqa: E402
from governor.api import default  # noqa: E402
from tests.process.helpers import nothing_left  # noqa: E402

pytestmark = pytest.mark.once

Parallel, delayed, parallel_config = joblib.Parallel, joblib.delayed, joblib.parallel_config


@pytest.fixture(scope="module", autouse=True)
def gov() -> Iterator[Governor]:
    governor.joblib.register()
    with pytest.MonkeyPatch.context() as patch, nothing_left(patch):
        yield default.governor()
        default._end()


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_tree(gov: Governor) -> Iterator[None]:
    yield
    assert [report.path for report in gov.containers([]) if report.path != "/"] == []


def square(number: int) -> int:
    return number * number


def sum_of_squares(count: int) -> int:
    return sum(Parallel(n_jobs=2)(delayed(square)(number) for number in range(count)))


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def test_a_loop() -> None:
    with parallel_config(backend="governor", n_jobs=2):
        squares = Parallel()(delayed(square)(number) for number in range(200))
        assert squares == [number * number for number in range(200)]
        pids = set(Parallel()(delayed(os.getpid)() for _ in range(20)))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_closures_and_generators() -> None:
    offset = 10
    with parallel_config(backend="governor", n_jobs=-1):
        loop = Parallel(n_jobs=2, return_as="generator", pre_dispatch=3)
        assert list(loop(delayed(lambda n: n + offset)(n) for n in range(9))) == list(range(10, 19))


def test_an_exception_ends_the_loop() -> None:
    with (
        parallel_config(backend="governor", n_jobs=2),
        pytest.raises(ValueError, match="three") as caught,
    ):
        Parallel()(delayed(fail_at_three)(number) for number in range(50))
    assert "in fail_at_three" in str(caught.value.__cause__)


def test_a_loop_within_a_loop() -> None:
    with parallel_config(backend="governor", n_jobs=2):
        assert Parallel()(delayed(sum_of_squares)(count) for count in range(4)) == [0, 0, 1, 5]


def test_time_is_up_and_what_runs_is_ended() -> None:
    with parallel_config(backend="governor", n_jobs=2), pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.5)(delayed(time.sleep)(seconds) for seconds in (0, 1000))


def test_limits_of_each_call_hold_with_one_worker_too() -> None:
    with parallel_config(backend="governor", n_jobs=1, tasks=1):
        assert Parallel()(delayed(square)(number) for number in range(2)) == [0, 1]
        with pytest.raises(BlockingIOError):
            Parallel()(delayed(os.fork)() for _ in range(2))


def test_a_time_limit_of_each_call() -> None:
    with (
        parallel_config(backend="governor", n_jobs=2, timeout="50ms"),
        pytest.raises(governor.JobTimeout),
    ):
        Parallel()(delayed(time.sleep)(1000) for _ in range(3))


def test_threads_of_libraries() -> None:
    with parallel_config(backend="governor", n_jobs=2, inner_max_num_threads=1):
        assert set(Parallel()(delayed(os.getenv)("OMP_NUM_THREADS") for _ in range(4))) == {"1"}


def test_mistakes() -> None:
    with parallel_config(backend="governor", n_jobs=2, taks=1), pytest.raises(TypeError):
        Parallel()(delayed(square)(1) for _ in range(2))
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0, backend="governor")(delayed(square)(1) for _ in range(2))
