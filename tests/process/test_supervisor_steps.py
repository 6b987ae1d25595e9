"""The supervisor of a governor with a state dies at each step: the next one goes on as if not."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from governor.api import Governor
from governor.errors import GovernorError
from governor.results import OWN_FAILURE
from tests.process.helpers import (
    DEADLINE,
    PYTHONPATH,
    eventually,
    exists,
    kill_and_see,
    nothing_left,
    sampled,
)
from workers.undertaker import is_zombie

T = TypeVar("T")
LIMIT = 4


class Town:
    """A governor as its clients see it: it may be away for a while, and is the same afterwards."""

    def __init__(self, scratch: Path, tmp_path: Path) -> None:
        self.directory = scratch / "g"
        self.state = tmp_path / "state"
        self.struck = tmp_path / "struck"
        self.ran = tmp_path / "ran"
        self.ran.touch()
        self.gov: Governor
        self._up: subprocess.Popen[str] | None = None

    def start(self, *fault: str) -> None:
        """Start a supervisor; another one if that dies over it."""
        self._leave()
        command = [sys.executable, "-m", "tests.process.supervisor_faults"]
        command += [str(self.directory), str(self.state)]
        if fault:
            command += [str(self.struck), *fault]
        env = os.environ | {"PYTHONPATH": PYTHONPATH}
        self._up = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE)
        assert self._up.stdout is not None
        try:
            assert self._up.stdout.readline()
            self.gov = Governor.connect(self.directory)
        except (AssertionError, GovernorError):
            assert fault
            self._up.wait(DEADLINE)
            self.start()

    def _leave(self) -> None:
        if self._up is not None:
            with self._up:  # it ends with its supervisor
                pass
            self._up = None

    def do(self, what: Callable[[Governor], T]) -> T:
        """Do something that may be done again."""
        try:
            return what(self.gov)
        except GovernorError as error:
            # Its sockets are closed before it is a zombie.
            if error.message == "the supervisor has ended":
                eventually(lambda: is_zombie(self.gov.pid), "it has ended")
            elif not is_zombie(self.gov.pid):
                raise
        self.gov.close()
        self.start()
        return what(self.gov)

    def run(self, name: str, code: int, stdin: int) -> int:
        """See to it that a job runs, which ends when there is something to read; its id."""
        command = ["sh", "-c", f"echo {name} >>{self.ran}; read x; exit {code}"]

        def start(gov: Governor) -> int:
            known = [report for report in gov.jobs() if report.name == name]
            there = [report.id for report in known if report.exit_code != OWN_FAILURE]
            if len(there) < len(known):  # one was lost before its first step
                assert name not in self.ran.read_text().split()
            if there:
                (id,) = there
                return id
            box = gov.hierarchy("load")["/a"]
            return gov.spawn(command, name=name, stdin=stdin, containers=[box]).id

        return self.do(start)

    def code_of(self, id: int) -> int:
        def wait(gov: Governor) -> int:
            ((_, code, *_),) = gov._wait([id], DEADLINE)
            return int(code)

        return self.do(wait)

    def processes(self) -> list[str]:
        """Processes of the job that write to our file."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes()
                if os.fsencode(f">>{self.ran}") in words:
                    found.append(path.parent.name)
        return found

    def end(self) -> None:
        self.do(lambda gov: gov.shutdown())
        self._leave()
        if self.directory.exists():  # it may have died at its very last step
            self.gov.close()
            self.start()
            self.gov.shutdown()
            self._leave()
        self.gov.close()


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Town]:
    with nothing_left(monkeypatch) as scratch:
        town = Town(scratch, tmp_path)
        try:
            yield town
        except BaseException:
            town.gov.close()
            town.gov.client.close()
            shutil.rmtree(town.directory, ignore_errors=True)
            raise


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    hear, say = os.pipe()
    yield hear, say
    for end in (hear, say):
        os.close(end)


FIRST: dict[str, tuple[int, ...]] = {
    "make room": (1,),
    "write": (1, 2, 4, 7, 11, 16),
    "sync": (1, 2, 4, 7, 11),
    "replace": (1,),
    "turn": (2, 9, 20),
    "answer": (2, 4, 6, 10),
    "keep": (1, 2, 3, 4),
    "drop": (1, 2),
    "say recorded": (1, 2),
    "ask for agent": (1,),
    "ask for worker": (1, 2),
    "say go": (1, 2),
    "say quit": (1,),
    "hear started": (1, 2),
    "hear ready": (1, 2),
    "hear placed": (1, 2),
    "hear end": (1, 2),
}
"""At which of its steps the supervisor dies that has begun everything."""

SECOND: dict[str, tuple[int, ...]] = {
    "take over": (1,),
    "hear kept": (1, 2, 3, 4),
    "hear running": (1, 2),
    "hear inherited": (1,),
    "end agents": (1,),
    "rebuild": (1,),
    "tell agent": (1,),
    "ask for agent": (1,),
    "keep": (1, 2, 3),
    "inherit": (1,),
    "hear end": (1, 2),
    "give up": (1,),
    "write": (1, 2, 4),
    "sync": (1, 2, 3),
    "replace": (1,),
    "begin": (1,),
    "turn": (1, 2, 5),
    "say recorded": (1,),
    "drop": (1,),
    "answer": (1, 3, 5),
}
"""The same of the one that takes its place."""

MISTAKES = [(1, "turn", "instead", 15), (2, "turn", "instead", 3), (2, "rebuild", "instead", 1)]
"""At which it fails by itself."""

FAULTS = [
    (life, step, when, nth)
    for life, steps in enumerate((FIRST, SECOND), 1)
    for step, times in steps.items()
    for nth in times
    for when in (("before", "after") if nth == times[0] else (("before", "after")[nth % 2],))
]


@pytest.mark.once
@pytest.mark.parametrize(("life", "step", "when", "nth"), sampled([*FAULTS, *MISTAKES], 4))
def test_death_at_a_step_changes_nothing(
    town: Town, life: int, step: str, when: str, nth: int
) -> None:
    """Each job runs once, every exit code is known, trees and limits are what was told."""
    fault = step, when, str(nth)
    town.start(*(fault if life == 1 else ()))
    town.do(lambda gov: gov.mount("load", ["numtasks"]))
    town.do(make)
    town.do(lambda gov: write(gov, LIMIT))
    with pipe() as first, pipe() as second, pipe() as third:
        a, b = town.run("a", 7, first[0]), town.run("b", 5, second[0])
        if life == 2:
            pid = next(report.pid for report in town.gov.jobs() if report.id == b)
            kill_and_see([town.gov.pid])
            town.gov.close()
            os.write(second[1], b"\n")
            eventually(lambda: not exists(pid), "it has ended, and nobody has heard of it")
            town.start(*fault)
        os.write(second[1], b"\n")
        assert town.code_of(b) == 5
        town.do(lambda gov: write(gov, LIMIT + 1))
        c = town.run("c", 3, third[0])
        assert town.do(lambda gov: gov.hierarchy("load")["/a"]["numtasks.limit"]) == LIMIT + 1
        assert town.do(held) == 2
        os.write(first[1], b"\n")
        os.write(third[1], b"\n")
        assert [town.code_of(id) for id in (a, c)] == [7, 3]
    eventually(lambda: town.do(held) == 0, "all have ended")
    assert sorted(town.ran.read_text().split()) == ["a", "b", "c"]
    town.end()
    assert town.struck.exists()


def make(gov: Governor) -> None:
    with contextlib.suppress(GovernorError):
        gov.hierarchy("load").mkdir("/a")  # it may have been made before somebody died
    assert [child.path for child in gov.hierarchy("load").root.children] == ["/a"]


def write(gov: Governor, limit: int) -> None:
    gov.hierarchy("load")["/a"]["numtasks.limit"] = limit


def held(gov: Governor) -> object:
    return gov.hierarchy("load")["/a"]["numtasks.held"]


def test_end_that_cannot_be_recorded(town: Town) -> None:
    """Nobody but the spawner has it when the supervisor dies, but the spawner does."""
    town.start("write", "full", "24")
    town.do(lambda gov: gov.mount("load", ["numtasks"]))
    town.do(make)
    with pipe() as told, pipe() as untold:
        a, b = town.run("a", 7, told[0]), town.run("b", 5, untold[0])
        number = 1
        while not town.struck.exists():
            with contextlib.suppress(GovernorError):
                write(town.gov, number)
            number += 1
        os.write(told[1], b"\n")
        assert town.code_of(a) == 7
        assert town.gov.state()[1]
        kill_and_see([town.gov.pid])
        os.write(untold[1], b"\n")
        town.gov.close()
        town.struck.unlink()
        town.start()
        assert [town.code_of(id) for id in (a, b)] == [7, 5]
    town.end()


@pytest.mark.once
@pytest.mark.parametrize("nth", range(4, 14))
def test_start_that_cannot_be_recorded(town: Town, nth: int) -> None:
    """Who comes next knows of everything that runs, or there is nothing that runs."""
    town.start("write", "full", str(nth))
    with pipe() as (hear, say):
        with contextlib.suppress(GovernorError):
            town.gov.mount("load", ["numtasks"])
            make(town.gov)
            town.run("a", 7, hear)
        kill_and_see([town.gov.pid])
        town.gov.close()
        town.struck.unlink(missing_ok=True)
        town.start()
        codes = [report.exit_code for report in town.gov.jobs()]
        if codes == [None]:
            os.write(say, b"\n")
            assert town.code_of(town.gov.jobs()[0].id) == 7
        else:
            assert codes in ([], [OWN_FAILURE])
            eventually(lambda: not town.processes(), "nothing of it runs")
    town.end()
