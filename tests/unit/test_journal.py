"""The journal: whatever becomes of its bytes, what is read is what was recorded up to there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.errors import GovernorError
from governor.journal import file as journal_file
from governor.journal import frames
from governor.journal.file import JOURNAL, Journal
from governor.journal.records import FORMAT, KINDS, RECORDS, Began, Figures, Gone, bytes_of
from tests.unit.disk import Disk
from tests.unit.journal_samples import SAMPLES

GOLDEN = Path(__file__).parent / "golden" / "journal.txt"

RECORD_LISTS = st.lists(st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=4), max_size=8)


def whole(lists: list[list[object]]) -> tuple[bytes, list[list[bytes]]]:
    """The bytes of a journal with these frames."""
    encoded = [[bytes_of(record) for record in records] for records in lists]
    return b"".join(map(frames.frame, encoded)), encoded


# -- the format --------------------------------------------------------------------------


def test_golden_bytes() -> None:
    lines = dict(line.split(" ", 1) for line in GOLDEN.read_text().splitlines())
    assert lines.pop("frame") == frames.frame([bytes_of(SAMPLES[0]), bytes_of(SAMPLES[1])]).hex()
    for number, record in enumerate(SAMPLES):
        assert bytes_of(record).hex() == lines.pop(f"{number}:{type(record).__name__}")
        assert RECORDS.decode(bytes_of(record)) == record
    assert not lines
    assert {type(record) for record in SAMPLES} == set(KINDS)


@given(RECORD_LISTS, st.integers(0, 1000))
def test_what_was_written_is_read(lists: list[list[object]], zeros: int) -> None:
    data, encoded = whole(lists)
    reading = frames.read(data + bytes(zeros))
    assert reading == (encoded, len(data), "nothing")


@given(RECORD_LISTS, st.integers(0), st.integers(0, 100))
def test_any_truncation_leaves_a_prefix(lists: list[list[object]], cut: int, zeros: int) -> None:
    data, encoded = whole(lists)
    cut %= len(data) + 1
    reading = frames.read(data[:cut] + bytes(zeros))
    assert reading.frames == encoded[: len(reading.frames)]
    assert reading.rest in ("nothing", "torn")
    assert reading.rest == "torn" or data[reading.end : cut].strip(b"\0") == b""


@given(RECORD_LISTS, st.integers(0), st.integers(1, 255))
def test_any_flipped_byte_leaves_a_prefix(lists: list[list[object]], at: int, flip: int) -> None:
    data, encoded = whole(lists)
    if not data:
        return
    broken = bytearray(data)
    broken[at % len(data)] ^= flip
    reading = frames.read(bytes(broken))
    assert reading.frames == encoded[: len(reading.frames)]
    assert reading.rest != "nothing"
    assert reading.end <= at % len(data)


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing(data: bytes) -> None:
    reading = frames.read(data)
    assert reading.end <= len(data)
    disk = Disk()
    disk.files[JOURNAL] = bytearray(data)
    assert Journal(disk.place).all(Figures) == {}


# -- the start ---------------------------------------------------------------------------


def recorded(disk: Disk, *records: object) -> Journal:
    journal = Journal(disk.place)
    journal.put(records)
    journal.write_anew()
    return journal


def figure(number: int, held: int = 1) -> Figures:
    return Figures(number, 0, held, 0, 0)


def test_a_torn_tail_is_dropped_and_said() -> None:
    disk = Disk()
    journal = recorded(disk, figure(1))
    journal.put([figure(2)])
    del disk.files[JOURNAL][-1]
    again = Journal(disk.place)
    assert list(again.all(Figures)) == [1]
    assert "not recorded to its end" in again.said
    assert disk.names() == [JOURNAL]


@pytest.mark.parametrize("harm", ["flipped", "short", "somebody else's"])
def test_a_first_frame_is_never_torn(harm: str) -> None:
    """It was synced before the file had its name, and has everything: it is not thrown away."""
    disk = Disk()
    recorded(disk, figure(1), figure(2))
    data = disk.files[JOURNAL]
    if harm == "flipped":
        data[-3] ^= 1
    elif harm == "short":
        del data[-3:]
    else:
        data[:] = b"mine"
    before = bytes(data)
    again = Journal(disk.place)
    assert again.all(Figures) == {}
    assert again.said == "damaged at byte 0: nothing is used, it is in journal.bad-1"
    assert disk.files["journal.bad-1"] == before


def test_what_is_behind_damage_is_set_aside() -> None:
    disk = Disk()
    journal = recorded(disk, figure(1))
    middle = len(disk.files[JOURNAL])
    journal.put([figure(2)])
    journal.put([figure(3)])
    disk.files[JOURNAL][middle + 20] ^= 1
    for number in (1, 2):
        again = Journal(disk.place)
        assert list(again.all(Figures)) == [1]
        assert f"journal.bad-{number}" in again.said
        assert disk.files[f"journal.bad-{number}"] == disk.files[JOURNAL][middle:]


@pytest.mark.parametrize(
    "record",
    [
        bytes_of(Began(0, FORMAT + 1, "9", "b", 1, "/")),
        bytes_of(figure(1)).replace(b"Figures", b"Fogures"),
    ],
    ids=["format", "kind"],
)
def test_a_newer_governors_journal_is_left_alone(record: bytes) -> None:
    disk = Disk()
    disk.files[JOURNAL] = bytearray(frames.frame([record]) + b"damage too" + bytes(9) + b"more")
    before = bytes(disk.files[JOURNAL])
    with pytest.raises(GovernorError, match=r"newer governor.*nothing was changed") as caught:
        Journal(disk.place)
    assert caught.value.errno == errno.ENOTSUP
    assert disk.files == {JOURNAL: before}


# -- failures ----------------------------------------------------------------------------


def fails_still(journal: Journal) -> bool:
    return journal.failure is not None


class Failing:
    """Fails the operations it is told to."""

    def __init__(self) -> None:
        self.errors: dict[str, int] = {}

    def __call__(self, operation: str) -> None:
        if operation in self.errors:
            raise OSError(self.errors[operation], "injected")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_change_is_refused_before_it_happens(operation: str, number: int) -> None:
    fails = Failing()
    disk = Disk(fails)
    journal = recorded(disk, figure(1))
    before = bytes(disk.files[JOURNAL])
    fails.errors[operation] = number
    with pytest.raises(GovernorError, match="cannot be recorded in /state: ") as caught:
        journal.require_room(100)
    assert caught.value.errno == number
    assert disk.files[JOURNAL].rstrip(b"\0") == before.rstrip(b"\0")
    fails.errors.clear()
    journal.require_room(100)  # there is room again
    journal.put([figure(2)])
    journal.sync()
    assert list(Journal(disk.place).all(Figures)) == [1, 2]


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_what_cannot_be_refused_is_recorded_later(operation: str) -> None:
    fails = Failing()
    disk = Disk(fails)
    journal = recorded(disk, figure(1))
    fails.errors[operation] = errno.EIO
    journal.put([figure(2)])
    journal.sync()
    assert fails_still(journal)
    journal.put([figure(3)])
    with pytest.raises(GovernorError, match="cannot be recorded"):
        journal.require_room(1)
    journal.write_anew()
    assert fails_still(journal)
    assert 1 in Journal(disk.place).all(Figures)
    fails.errors.clear()
    journal.write_anew()
    assert not fails_still(journal)
    assert list(Journal(disk.place).all(Figures)) == [1, 2, 3]


def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "_WASTE", 1000)
    disk = Disk()
    journal = recorded(disk, figure(0))
    for held in range(1000):
        journal.put([figure(0, held)])
    assert len(disk.files[JOURNAL]) < 1500
    assert Journal(disk.place).all(Figures) == {0: figure(0, 999)}


def test_what_has_not_changed_is_not_written() -> None:
    disk = Disk()
    journal = recorded(disk, figure(1))
    size = len(disk.files[JOURNAL])
    assert not journal.put([figure(1), Gone(2, "Figures")])
    assert len(disk.files[JOURNAL]) == size


class Crashes(RuleBasedStateMachine):
    """Whatever is written when, and wherever the machine stops, what was acknowledged is there."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()
        self.disk = Disk(self._fail)
        self.model: dict[int, Figures] = {}
        self.history: list[dict[int, Figures]] = []
        """The states since the last acknowledged one, that included."""

    def _fail(self, operation: str) -> None:
        if operation in self.failing:
            raise OSError(errno.EIO, "injected")

    @initialize()
    def start(self) -> None:
        self.journal = Journal(self.disk.place)
        self.journal.write_anew()
        self.journal.sync()
        self.history = [dict(self.model)]

    @rule(numbers=st.lists(st.integers(1, 5), max_size=4), held=st.integers(0, 3))
    def put(self, numbers: list[int], held: int) -> None:
        records = [figure(n, held) if held else Gone(n, "Figures") for n in numbers]
        for n in numbers:
            if held:
                self.model[n] = figure(n, held)
            else:
                self.model.pop(n, None)
        self.journal.put(records)
        self.history.append(dict(self.model))

    @rule()
    def acknowledge(self) -> None:
        self.journal.sync()
        if self.journal.failure is None:
            self.history = [dict(self.model)]

    @rule()
    def room(self) -> None:
        try:
            self.journal.require_room(10)
        except GovernorError:
            assert self.failing or self.journal.failure

    @rule()
    def compact(self) -> None:
        self.journal.write_anew()
        if self.journal.failure is None and "sync" not in self.failing:
            self.history = [*self.history, dict(self.model)]

    @rule(operation=st.sampled_from(["write", "sync", "create", "replace", "cut", "sync_names"]))
    def break_it(self, operation: str) -> None:
        self.failing.add(operation)

    @precondition(lambda self: self.failing)
    @rule()
    def mend(self) -> None:
        self.failing.clear()

    @rule(kept=st.integers(0, 2000))
    def crash(self, kept: int) -> None:
        self.disk.crash(kept)
        self.failing.clear()
        again = Journal(self.disk.place)
        assert again.all(Figures) in self.history, (again.all(Figures), self.history)
        self.model = dict(again.all(Figures))
        self.journal = again
        again.write_anew()
        assert again.failure is None
        self.history = [dict(self.model)]

    @invariant()
    def what_it_says_holds(self) -> None:
        if hasattr(self, "journal"):
            assert self.journal.all(Figures) == self.model


TestCrashes = Crashes.TestCase
