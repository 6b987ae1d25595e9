from __future__ import annotations

from collections.abc import Mapping

import pytest

from governor.bench import choice, operations, runner, sections
from governor.bench.operations import Operation
from governor.bench.runner import Measured, Runner, Settings
from governor.bench.shape import ALL, NONE, SOME, Shape
from governor.bench.surroundings import Surrounding
from governor.bench.sweeps import SWEEPS
from governor.errors import GovernorError

OPEN, FORK = Operation("open", "open+close", 10), Operation("fork", "fork+wait", 10)


class Fake(Surrounding):
    """Takes as long as it is told, and can fail from its n-th run on."""

    ways = ("each",)

    def __init__(
        self, nanoseconds: float, fails_at: int | None = None, able: str = "open fork"
    ) -> None:
        self.runs: list[tuple[str, int]] = []
        self._nanoseconds, self._fails_at, self._able = nanoseconds, fails_at, able.split()

    def can(self, operation: str) -> bool:
        return operation in self._able

    def run(self, operation: str, count: int) -> float:
        self.runs.append((operation, count))
        if self._fails_at is not None and len(self.runs) >= self._fails_at:
            raise GovernorError(5, "it broke")
        return self._nanoseconds

    def tell(self, way: str, operation: str, count: int) -> list[float]:
        if way not in self.ways:
            raise GovernorError(2, "no such way")
        return [self.run(operation, 1) for _ in range(count)]


def measure(
    fakes: Mapping[str, Surrounding], settings: Settings, singly: tuple[str, ...] = ()
) -> Measured:
    return Runner([OPEN], fakes, settings, lambda _: None).measure(singly)


def test_a_sample_takes_its_time_in_every_surrounding() -> None:
    slow, fast = Fake(1000.0), Fake(10.0)
    measure({"slow": slow, "fast": fast}, Settings(2, 0.001, 60.0))
    assert [count for _, count in slow.runs] == [10, 1000, 1000]
    assert [count for _, count in fast.runs] == [10, 100_000, 100_000]


def test_a_surrounding_that_fails_is_left_out_and_told() -> None:
    good, bad = Fake(7.0), Fake(7.0, fails_at=3)
    measured = measure({"good": good, "bad": bad}, Settings(4, 0.001, 60.0))
    assert measured.samples == {"open": {"good": [7.0] * 4}}
    assert "it broke" in measured.failed["bad"]
    assert len(bad.runs) == 3


def test_no_round_begins_after_the_deadline_but_one_always_runs() -> None:
    ticks = iter([0.0, 61.0])
    once = Runner([OPEN], {"only": Fake(7.0)}, Settings(9, 0.001, 60.0), lambda _: None)
    measured = once.measure(clock=lambda: next(ticks))
    assert measured.rounds == 1
    assert measured.samples == {"open": {"only": [7.0]}}


def test_nobody_is_asked_for_what_it_cannot_do() -> None:
    some, all_ = Fake(7.0, able="open"), Fake(7.0)
    fakes: dict[str, Surrounding] = {"some": some, "all": all_}
    measured = Runner([FORK, OPEN], fakes, Settings(2, 0.001, 60.0), lambda _: None).measure()
    assert measured.samples["fork"].keys() == {"all"}
    assert measured.samples["open"].keys() == {"some", "all"}
    assert {operation for operation, _ in some.runs} == {"open"}


def test_what_fails_in_one_life_is_left_out_of_all() -> None:
    settings = Settings(2, 0.001, 60.0)
    first = measure({"good": Fake(7.0), "bad": Fake(8.0)}, settings, ("open",))
    second = measure({"good": Fake(9.0), "bad": Fake(8.0, fails_at=2)}, settings)
    found = runner.joined([first, second])
    assert found.samples == {"open": {"good": [7.0, 7.0, 9.0, 9.0]}}
    assert (found.rounds, {*found.failed}) == (4, {"bad"})
    assert found.singles == first.singles


def test_single_operations_are_pooled_from_several_runs() -> None:
    settings = Settings(3, 1e-6, 60.0)
    measured = measure({"a": Fake(100.0), "b": Fake(100.0, fails_at=6)}, settings, ("open",))
    assert measured.singles == {"open": {"a": [100.0] * 30}}
    assert measure({"a": Fake(100.0)}, settings).singles == {}


def test_instructions_are_counted_where_somebody_counts_them() -> None:
    counting, refusing = Fake(42.0), Fake(7.0)
    counting.ways = ("instructions",)
    fakes = {"counting": counting, "refusing": refusing}
    runner_ = Runner([OPEN], fakes, Settings(2, 1e-6, 60.0), lambda _: None)
    measured = runner_.measure(counted=True)
    assert measured.instructions == {"open": {"counting": 42.0}}
    assert not measured.failed
    assert measure(fakes, Settings(2, 1e-6, 60.0)).instructions == {}


def test_no_surrounding_is_always_first_or_after_the_same_other() -> None:
    orders = ["".join(runner.shuffled("abcd", turn)) for turn in range(40)]
    assert {order[0] for order in orders} == {*"abcd"}
    assert {order[at : at + 2] for order in orders for at in range(3)} == {
        one + other for one in "abcd" for other in "abcd" if one != other
    }
    assert orders == ["".join(runner.shuffled("abcd", turn)) for turn in range(40)]
    assert runner.shuffled([], 3) == []


def test_only_names_what_there_is() -> None:
    assert choice.parse("open, fork", "operation", operations.NAMES) == ["fork", "open"]
    with pytest.raises(ValueError, match='no section "oven": allowed are calls, controls, spawn'):
        choice.parse("calls,oven", "section", sections.NAMES)


@pytest.mark.parametrize("quick", [True, False])
def test_every_section_has_a_base_and_names_of_its_own(quick: bool) -> None:
    found = sections.sections(quick)
    assert [*(section.name for section in found), sections.MEMORY] == list(sections.NAMES)
    for section in found:
        names = [offer.name for offer in section.offers]
        assert len(names) == len(set(names))
        assert section.operations
        assert set(section.spread) <= {operation.name for operation in section.operations}
    assert {o.name for s in found for o in s.operations} == set(operations.NAMES)


def test_the_sweeps_go_as_far_as_they_are_documented_to() -> None:
    points = {
        section.name: [offer.point for offer in section.offers if offer.series == "governed"]
        for section in sections.sections(quick=False)
        if section.name in SWEEPS
    }
    assert points == {
        "hierarchies": [0, 1, 2, 4, 8, 16],
        "depth": [1, 3, 8],
        "limits": [NONE, SOME, ALL],
        "groups": [1, 10, 100, 1_000, 10_000],
        "processes": [1, 10, 100, 1_000],
        "jobs": [1, 2, 4],
        "lookup": [],
    }


def test_a_shape_says_which_levels_are_limited() -> None:
    limited = {
        limits: [Shape(depth=3, limits=limits).limited(level) for level in (1, 2, 3)]
        for limits in (NONE, SOME, ALL)
    }
    assert limited == {NONE: [False] * 3, SOME: [False, False, True], ALL: [True] * 3}
    shape = Shape(4, 8, SOME, 10, 100, "tasks", 90)
    assert Shape.from_words(shape.to_words()) == shape
