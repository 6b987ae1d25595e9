"""What ProcessPoolExecutor does, governor.Executor does as well: the same tests for both.

And CPython's own tests of it, where they are installed.
"""

from __future__ import annotations

import concurrent.futures as futures
import importlib
import os
import sys
import threading
import time
import unittest
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import governor
from governor.api.governor import Governor
from governor.errors import WorkerDied
from tests.capabilities import need
from tests.process.executors import begin_and_wait, wait_for
from tests.process.executors import shared as shared
from tests.process.helpers import DEADLINE, eventually

pytestmark = pytest.mark.once


class Odd(Exception):
    """Cannot be made from its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("odd")


class Plain(Exception):
    """An exception of the user's."""


def fail(kind: type[BaseException], *args: object) -> None:
    raise kind(*args) from KeyError("the reason")


def exit(code: object) -> None:
    sys.exit(code)  # type: ignore[arg-type]


def identity(value: Any) -> Any:
    return value


def wait_while(gate: Path) -> None:
    while gate.exists():
        time.sleep(0.001)


_kept = "nothing"


def keep(value: str) -> None:
    global _kept
    _kept = value


def kept() -> str:
    return _kept


class Unpicklable:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("no pickle")


@pytest.fixture(params=["governor", "concurrent.futures"], scope="module")
def kind(request: pytest.FixtureRequest, shared: Governor) -> Any:
    if request.param == "governor":
        return partial(governor.Executor, governor=shared)
    return futures.ProcessPoolExecutor


@pytest.fixture(scope="module")
def any_executor(kind: Any) -> Iterator[futures.Executor]:
    with kind(2) as executor:
        yield executor


class TestResults:
    def test_values_and_keywords(self, any_executor: futures.Executor) -> None:
        assert any_executor.submit(pow, 2, 8).result() == 256
        assert any_executor.submit(int, "ff", base=16).result() == 255

    @pytest.mark.parametrize("size", [0, 1, 4096, 3_000_000])
    def test_values_of_any_size_go_both_ways(
        self, any_executor: futures.Executor, size: int
    ) -> None:
        value = os.urandom(size)
        assert any_executor.submit(identity, value).result() == value

    def test_map_is_in_order(self, any_executor: futures.Executor) -> None:
        for chunksize in (1, 3, 50):
            found = list(any_executor.map(pow, range(20), range(20), chunksize=chunksize))
            assert found == [number**number for number in range(20)]
        with pytest.raises(ValueError, match="chunksize"):
            any_executor.map(pow, [1], [1], chunksize=0)

    def test_map_ends_with_the_shortest(self, any_executor: futures.Executor) -> None:
        assert list(any_executor.map(pow, [2, 3], [1, 1, 1], chunksize=2)) == [2, 3]

    def test_map_raises_when_it_comes_to_it(self, any_executor: futures.Executor) -> None:
        found = any_executor.map(divmod, [1, 1, 1], [2, 0, 1])
        assert next(found) == (0, 1)
        with pytest.raises(ZeroDivisionError):
            next(found)

    def test_callbacks_are_called_with_the_future(self, any_executor: futures.Executor) -> None:
        called = threading.Event()
        future = any_executor.submit(pow, 2, 2)
        seen: list[futures.Future[int]] = []
        future.add_done_callback(seen.append)
        future.add_done_callback(lambda _: called.set())
        assert called.wait(60)
        assert seen == [future]

    def test_map_has_a_time(self, any_executor: futures.Executor, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        gate.touch()
        found = any_executor.map(wait_while, [gate], timeout=0.01)
        try:
            with pytest.raises(futures.TimeoutError):
                next(found)
        finally:
            gate.unlink()

    def test_map_keeps_no_value(self, any_executor: futures.Executor) -> None:
        """CPython's test of it looks once, while the thread that sets it may hold it yet."""
        for value in any_executor.map(Plain, range(10)):
            kept = weakref.ref(value)
            del value
            eventually(lambda kept=kept: kept() is None, "nobody keeps it")  # type: ignore[misc]

    def test_from_many_threads(self, any_executor: futures.Executor) -> None:
        with futures.ThreadPoolExecutor(8) as threads:
            found = threads.map(lambda n: any_executor.submit(pow, n, 2).result(), range(100))
        assert list(found) == [n**2 for n in range(100)]


class TestExceptions:
    def test_it_arrives_with_its_traceback(self, any_executor: futures.Executor) -> None:
        error = any_executor.submit(fail, Plain, 1, 2).exception()
        assert isinstance(error, Plain)
        assert error.args == (1, 2)
        assert type(error.__cause__).__name__ == "_RemoteTraceback"
        words = str(error.__cause__)
        assert "in fail" in words
        assert "KeyError: 'the reason'" in words

    def test_sys_exit_is_an_exception(self, any_executor: futures.Executor) -> None:
        error = any_executor.submit(exit, 3).exception()
        assert isinstance(error, SystemExit)
        assert error.args == (3,)

    def test_an_argument_that_cannot_be_sent(self, any_executor: futures.Executor) -> None:
        error = any_executor.submit(identity, Unpicklable()).exception()
        assert isinstance(error, ZeroDivisionError)
        assert any_executor.submit(pow, 2, 2).result() == 4

    def test_a_result_that_cannot_be_sent(self, any_executor: futures.Executor) -> None:
        error = any_executor.submit(Unpicklable).exception()
        assert isinstance(error, ZeroDivisionError)
        assert any_executor.submit(pow, 2, 2).result() == 4


class TestEnd:
    def test_what_is_submitted_is_done_first(self, kind: Any) -> None:
        with kind(2) as executor:
            found = [executor.submit(pow, n, 2) for n in range(50)]
        assert [future.result() for future in found] == [n**2 for n in range(50)]
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(pow, 2, 2)

    def test_without_waiting(self, kind: Any) -> None:
        executor = kind(2)
        found = [executor.submit(pow, n, 2) for n in range(50)]
        executor.shutdown(wait=False)
        assert [future.result() for future in found] == [n**2 for n in range(50)]

    @pytest.mark.parametrize("limited", [False, True])
    def test_in_a_callback(self, shared: Governor, limited: bool) -> None:
        """It cannot wait for the thread that it is called in."""
        executor = governor.Executor(1, governor=shared)
        done = threading.Event()

        def shut_down(future: object) -> None:
            executor.shutdown()
            done.set()

        view = executor.limited(tasks=4) if limited else executor
        view.submit(identity, 1).add_done_callback(shut_down)
        assert done.wait(DEADLINE)
        executor.shutdown()

    def test_what_has_not_begun_is_cancelled(self, kind: Any, tmp_path: Path) -> None:
        executor = kind(1)
        running = executor.submit(begin_and_wait, tmp_path / "begun", tmp_path / "go")
        waiting = [executor.submit(pow, 2, 2) for _ in range(20)]
        wait_for(tmp_path / "begun")
        assert not running.cancel()
        assert waiting[-1].cancel()
        executor.shutdown(wait=False, cancel_futures=True)
        eventually(waiting[9].cancelled, "it is cancelled")
        (tmp_path / "go").touch()
        executor.shutdown()
        assert running.result() > 0
        # ProcessPoolExecutor has one more under way than it has workers.
        assert sum(future.cancelled() for future in waiting) >= 18
        eventually(lambda: all(future.done() for future in waiting), "nothing is left")

    def test_the_initializer_is_called_in_each_worker(self, kind: Any) -> None:
        with kind(2, initializer=keep, initargs=("it",)) as executor:
            assert set(executor.map(call_kept, range(10))) == {"it"}

    def test_an_initializer_that_fails_breaks_it(self, kind: Any) -> None:
        with kind(2, initializer=fail, initargs=(Plain,)) as executor:
            future = executor.submit(pow, 2, 2)
            with pytest.raises(futures.BrokenExecutor):
                future.result()
            with pytest.raises(futures.BrokenExecutor):
                executor.submit(pow, 2, 2)

    def test_mistakes(self, kind: Any) -> None:
        for number in (0, -1):
            with pytest.raises(ValueError, match="max_workers must be greater than 0"):
                kind(number)
        with pytest.raises(TypeError, match="callable"):
            kind(1, initializer=3)
        with pytest.raises(ValueError, match="max_tasks_per_child"):
            kind(1, max_tasks_per_child=0)
        with pytest.raises(TypeError, match="max_tasks_per_child"):
            kind(1, max_tasks_per_child="3")


def call_kept(_: int) -> str:
    return kept()


# -- CPython's own -------------------------------------------------------------------------------


def _mixins() -> dict[str, Any]:
    """CPython's test cases by name; the module was made a package in 3.13."""
    package = "test.test_concurrent_futures"
    found: dict[str, Any] = {}
    for module in (package, f"{package}.util", f"{package}.executor", f"{package}.test_shutdown",
                   f"{package}.test_process_pool", f"{package}.test_deadlock"):  # fmt: skip
        try:
            found |= vars(importlib.import_module(module))
        except (ImportError, unittest.SkipTest):
            continue
    return found


CPYTHON = {
    "ExecutorTest": [
        "test_submit", "test_submit_keyword", "test_map", "test_map_exception",
        "test_shutdown_race_issue12456", "test_no_stale_references", "test_max_workers_negative",
    ],
    "ExecutorShutdownTest": ["test_run_after_shutdown"],
    "ProcessPoolExecutorTest": ["test_map_chunksize"],
    "ExecutorDeadlockTest": [
        "test_error_at_task_pickle", "test_crash_at_task_unpickle",
        "test_crash_during_func_exec_on_worker", "test_exit_during_func_exec_on_worker",
        "test_error_during_func_exec_on_worker", "test_crash_during_result_pickle_on_worker",
        "test_exit_during_result_pickle_on_worker", "test_error_during_result_pickle_on_worker",
    ],
}  # fmt: skip
"""Those that hold of any executor of processes and do not take seconds."""


def _ours(error: type[BaseException]) -> type[BaseException]:
    return WorkerDied if error.__name__ == "BrokenProcessPool" else error


@pytest.mark.parametrize(
    ("case", "name"), [(case, name) for case, names in CPYTHON.items() for name in names]
)
def test_cpython(case: str, name: str, shared: Governor) -> None:
    mixins = _mixins()
    need(case in mixins, "CPython's tests are not installed (Debian: libpython3.11-testsuite)")
    need(hasattr(mixins[case], name), f"this Python's tests have no {name}")
    mixin = mixins[case]

    class Case(mixin, mixins["ExecutorMixin"], unittest.TestCase):  # type: ignore[misc,valid-type,name-defined]
        def executor_type(self, max_workers: int = 5, mp_context: object = None) -> Any:
            return governor.Executor(max_workers, governor=shared)

        def get_context(self) -> None:
            return None

        def _check_crash(self, error: Any, func: Any, *args: Any, **_: Any) -> None:
            super()._check_crash(_ours(error), func, *args)

        def _check_error(self, error: Any, func: Any, *args: Any, **_: Any) -> None:
            """What newer Pythons call _check_crash."""
            super()._check_error(_ours(error), func, *args)

    result = unittest.TestResult()
    Case(name).run(result)
    assert not result.failures + result.errors, (result.failures + result.errors)[0][1]
    assert result.testsRun == 1


def test_what_cannot_be_made_again_fails_only_its_own_task(shared: Governor) -> None:
    """ProcessPoolExecutor breaks."""
    with governor.Executor(1, governor=shared) as executor:
        error = executor.submit(fail, Odd, 1, 2).exception()
        assert isinstance(error, TypeError)
        assert "Odd: odd" in str(error.__cause__)
        assert executor.submit(pow, 2, 2).result() == 4
