"""What the tests of governor.Executor share."""

from __future__ import annotations

import contextlib
import multiprocessing.forkserver
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import governor
from governor.api.governor import Governor
from tests.process.helpers import DEADLINE, nothing_left


@pytest.fixture(scope="module")
def shared() -> Iterator[Governor]:
    """A governor for all tests of a module; nothing may be left of them at the end."""
    # From Python 3.14 on a process keeps one of these, once it has had a pool of multiprocessing.
    if multiprocessing.get_start_method() == "forkserver":
        multiprocessing.forkserver.ensure_running()
    with pytest.MonkeyPatch.context() as patch, nothing_left(patch), governor.Governor() as gov:
        gov.mount("load", ["numtasks", "numfiles"])
        yield gov


@pytest.fixture
def executor(shared: Governor) -> Iterator[governor.Executor]:
    """Two workers."""
    with governor.Executor(2, governor=shared) as executor:
        yield executor


def wait_for(path: Path) -> None:
    """Wait until a task has made a file."""
    end = time.monotonic() + DEADLINE
    while not path.exists():
        assert time.monotonic() < end, f"there never was {path}"
        time.sleep(0.001)


def begin_and_wait(begun: Path, go_on: Path) -> int:
    """A task: say that it runs, with its pid, and run until it may go on."""
    with contextlib.suppress(FileExistsError):
        begun.with_suffix(".new").write_text(str(os.getpid()))
        begun.with_suffix(".new").rename(begun)
    wait_for(go_on)
    return os.getpid()


def end_oneself(number: int = signal.SIGKILL) -> None:
    """A task: die."""
    os.kill(os.getpid(), number)


def call(function: Callable[[], object]) -> object:
    """A task: call a function that was pickled."""
    return function()
