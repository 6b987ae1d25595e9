"""An executor in any order of submit, cancel, kill and shutdown: a future's state is as a model's.

Tasks hold on until they are told to go on, so that the model knows which of them run.
"""

from __future__ import annotations

import concurrent.futures as futures
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import governor
from governor.api.governor import Governor
from governor.errors import WorkerDied
from tests.process.executors import begin_and_wait, wait_for
from tests.process.executors import shared as shared

WORKERS = 2


class Machine(RuleBasedStateMachine):
    """``running`` and ``waiting`` are the tasks that have not ended, in order."""

    gov: Governor

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.executor = governor.Executor(WORKERS, governor=self.gov)
        self.count = 0
        self.running: list[tuple[int, futures.Future[int]]] = []
        self.waiting: list[tuple[int, futures.Future[int]]] = []
        self.ended: list[tuple[futures.Future[int], str]] = []
        self.over = False

    def advance(self) -> None:
        while self.waiting and len(self.running) < WORKERS:
            number, future = self.waiting.pop(0)
            wait_for(self.place / f"begun{number}")
            self.running.append((number, future))

    @rule(limited=st.booleans())
    def submit(self, limited: bool) -> None:
        view: Any = self.executor.limited(tasks=5) if limited else self.executor
        number, self.count = self.count, self.count + 1
        arguments = self.place / f"begun{number}", self.place / f"go{number}"
        if self.over:
            with pytest.raises(RuntimeError):
                view.submit(begin_and_wait, *arguments)
        else:
            self.waiting.append((number, view.submit(begin_and_wait, *arguments)))
            self.advance()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number, future = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        (self.place / f"go{number}").touch()
        assert future.result(60) == int((self.place / f"begun{number}").read_text())
        self.ended.append((future, "result"))
        self.advance()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        import os

        number, future = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        os.kill(int((self.place / f"begun{number}").read_text()), signal.SIGKILL)
        assert isinstance(future.exception(60), WorkerDied)
        self.ended.append((future, "exception"))
        self.advance()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        _, future = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        assert future.cancel()
        self.ended.append((future, "cancelled"))

    @rule(cancel=st.booleans())
    def shutdown(self, cancel: bool) -> None:
        self.executor.shutdown(wait=False, cancel_futures=cancel)
        self.over = True
        if cancel:
            self.ended += [(future, "cancelled") for _, future in self.waiting]
            self.waiting.clear()

    @invariant()
    def states(self) -> None:
        assert all(future.running() and not future.cancel() for _, future in self.running)
        assert not any(future.done() or future.running() for _, future in self.waiting)
        for future, how in self.ended:
            assert future.cancelled() == (how == "cancelled")
            if how != "cancelled":
                assert (future.exception(0) is None) == (how == "result")
                assert future.usage is not None  # type: ignore[attr-defined]

    def teardown(self) -> None:
        for number, _ in (*self.running, *self.waiting):
            (self.place / f"go{number}").touch()
        self.executor.shutdown()
        assert all(future.done() for _, future in (*self.running, *self.waiting))
        shutil.rmtree(self.place)


@pytest.mark.once
def test_machine(shared: Governor) -> None:
    Machine.gov = shared
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=4, stateful_step_count=15, deadline=None)
    )


@pytest.mark.stress
def test_machine_at_length(shared: Governor) -> None:
    Machine.gov = shared
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
