"""How often a move of many looks into each of them: what is looked at twice is waited for twice."""

from __future__ import annotations

import subprocess
from collections import Counter as Counts
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import governor
from tests.process.helpers import eventually, own_nonce, puppet
from workers import files, membership, readings
from workers.accounts import Accounts, Verdict
from workers.census import Census
from workers.membership import Tag
from workers.passages import Passages
from workers.readings import Readings
from workers.syscalls import table

pytestmark = pytest.mark.once

NONCE, JOB, SOURCE, TARGET = own_nonce(), 1, 1, 2
NAMES = ("tasks", "files")
LEVELS = 3


@pytest.fixture
def crowd() -> Iterator[list[int]]:
    """Processes with the tag of the source, which open nothing any more."""
    cats = [subprocess.Popen(["cat"], stdin=PIPE, stdout=PIPE, bufsize=0) for _ in range(4)]
    for cat in cats:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b".")
        assert cat.stdout.read(1) == b"."
        membership.write(cat.pid, Tag(NONCE, JOB, SOURCE))
    yield [cat.pid for cat in cats]
    for cat in cats:
        cat.kill()
        cat.communicate()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counts[tuple[str, int]]:
    """How often the descriptors of each process were looked at, and in which way."""
    found: Counts[tuple[str, int]] = Counts()
    for way in ("descriptors", "_process"):
        look = getattr(files, way)

        def counted(pid: int, *args: object, way: str = way, look: object = look) -> object:
            found[way, pid] += 1
            return look(pid, *args)  # type: ignore[operator]

        monkeypatch.setattr(files, way, counted)
    return found


def make_accounts(limit: int) -> Accounts:
    """A group without limits, and one in containers of which each has one for tasks and files."""
    accounts = Accounts(Census(NONCE, table()))
    ids = {name: [LEVELS * i + n for n in range(1, LEVELS + 1)] for i, name in enumerate(NAMES)}
    for name, counters in ids.items():
        for id in counters:
            accounts.set_counter(id, name, limit)
    accounts.set_plan(SOURCE, {}, {}, None)
    accounts.set_plan(TARGET, ids, ids, None)
    return accounts


def test_the_descriptors_of_each_are_looked_at_once(
    crowd: list[int], looks: Counts[tuple[str, int]]
) -> None:
    accounts = make_accounts(limit=1000)
    Passages(accounts).charge((pid, SOURCE, TARGET) for pid in crowd)
    assert looks == {("descriptors", pid): 1 for pid in crowd}
    held, _ = files.distinct(crowd)
    assert all(c.charged >= held for c in accounts.counters.values() if c.resource == "files")


def test_room_for_what_may_be_is_room(crowd: list[int], looks: Counts[tuple[str, int]]) -> None:
    accounts = make_accounts(limit=1000)
    verdict, counter = Passages(accounts).judge([(pid, SOURCE, TARGET) for pid in crowd])
    assert (verdict, counter) == (Verdict.ADMIT, None)
    assert looks == {("descriptors", pid): 1 for pid in crowd}


def test_a_move_is_not_refused_for_what_only_may_be(crowd: list[int]) -> None:
    held, _ = files.distinct(crowd)
    bound = files.upper_bound(crowd)
    assert bound is not None
    assert held < bound, "they have inherited the same files"
    moves = [(pid, SOURCE, TARGET) for pid in crowd]
    for room, expected in ((held, Verdict.ADMIT), (held - 1, Verdict.REFUSE)):
        accounts = make_accounts(limit=1000)
        accounts.set_counter(2 * LEVELS, "files", room)
        assert Passages(accounts).judge(moves)[0] is expected


def test_moves_that_follow_each_other_wait_for_no_count(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = tmp_path / "counts"
    for name in ("show", "sample"):
        original = getattr(Readings, name)

        def noted(self: Readings, *groups: int, original: Any = original) -> None:
            with counts.open("a") as file:
                file.write("counted\n")
            original(self, *groups)

        monkeypatch.setattr(Readings, name, noted)
    for seconds in ("MOVES_PAUSE", "MOVES_LATEST"):
        monkeypatch.setattr(readings, seconds, 3600.0)
    with governor.Governor(fork=True) as gov:
        load = gov.mount("load", ["numtasks", "numfiles"])
        here, there = load.mkdir("/here"), load.mkdir("/there")
        with puppet(gov, here):
            there.attach_all(here)
            counts.unlink(missing_ok=True)  # those of the placement
            for _ in range(5):
                here.attach_all(there)
                there.attach_all(here)
            assert not counts.exists()
            assert (here["numtasks.held"], there["numtasks.held"]) == (0, 1)


def test_a_move_is_counted_in_the_end(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = tmp_path / "counts"
    show_soon, sample = Readings.show_soon, Readings.sample

    def begun(self: Readings, groups: set[int]) -> None:
        show_soon(self, groups)
        self._next_sample = self._next_show = 0.0  # there is time for it

    def noted(self: Readings) -> None:
        if self._unshown:
            counts.touch()
        sample(self)

    monkeypatch.setattr(Readings, "show_soon", begun)
    monkeypatch.setattr(Readings, "sample", noted)
    with governor.Governor(fork=True) as gov:
        load = gov.mount("load", ["numtasks"])
        here, there = load.mkdir("/here"), load.mkdir("/there")
        with puppet(gov, here):
            there.attach_all(here)
            eventually(counts.exists, "it has been counted, and nobody has asked")
