"""What may start next in a batch: against a model that looks at everything, every time."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.batch.schedule import Schedule, Skipped, Task, order

BOUNDS = ("x", "y", "z")


@st.composite
def batches(draw: st.DrawFn) -> list[Task]:
    """Tasks that come after earlier ones of a hidden order, in any order of the file."""
    names = [f"j{number}" for number in range(draw(st.integers(0, 12)))]
    tasks = [
        Task(
            name,
            tuple(draw(st.lists(st.sampled_from(names[:number]), max_size=3)) if number else ()),
            draw(st.integers(-1, 1)),
            tuple(sorted(draw(st.sets(st.sampled_from(BOUNDS))))),
        )
        for number, name in enumerate(names)
    ]
    return draw(st.permutations(tasks))


class Machine(RuleBasedStateMachine):
    """Jobs start, end, are tried again and are given up, in any order."""

    @initialize(
        tasks=batches(),
        parallel=st.integers(1, 4),
        bounds=st.fixed_dictionaries({name: st.integers(1, 3) for name in BOUNDS}),
        data=st.data(),
    )
    def begin(
        self, tasks: list[Task], parallel: int, bounds: dict[str, int], data: st.DataObject
    ) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.parallel, self.bounds = parallel, bounds
        self.done = set(data.draw(st.sets(st.sampled_from([*self.tasks, ""]), max_size=3))) - {""}
        self.schedule = Schedule(tasks, parallel, bounds, self.done)
        self.earlier = set(self.done)
        self.failed: set[str] = set()
        self.skipped: set[str] = set()
        self.running: set[str] = set()
        self.delayed: dict[str, float] = {}
        self.now = 0.0
        self.halted = False

    def ended(self) -> set[str]:
        return self.done | self.failed | self.skipped

    def startable(self) -> list[str]:
        """Every job that may start now, the one that should first."""
        if self.halted or len(self.running) >= self.parallel:
            return []
        held = {b: sum(b in self.tasks[n].bounds for n in self.running) for b in self.bounds}
        found = [
            (-task.priority, number, name)
            for number, (name, task) in enumerate(self.tasks.items())
            if name not in self.ended() | self.running
            and set(task.after) <= self.done
            and self.delayed.get(name, 0.0) <= self.now
            and all(held[bound] < self.bounds[bound] for bound in task.bounds)
        ]
        return [name for *_, name in sorted(found)]

    @rule()
    def start(self) -> None:
        expected = self.startable()
        name = self.schedule.next(self.now)
        assert name == (expected[0] if expected else None)
        if name is not None:
            self.delayed.pop(name, None)
            self.running.add(name)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), succeeded=st.booleans())
    def end(self, data: st.DataObject, succeeded: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        skipped = self.schedule.ended(name, succeeded)
        self.running.remove(name)
        (self.done if succeeded else self.failed).add(name)
        self.check_skipped(skipped)

    def check_skipped(self, skipped: Iterable[Skipped]) -> None:
        for name, because in skipped:
            assert name not in self.ended() | self.running
            assert because in self.failed | self.skipped
            assert because in self.tasks[name].after
            self.skipped.add(name)
        lost = self.failed | self.skipped
        for name, task in self.tasks.items():
            # Who was there before has nothing to wait for.
            assert (name in self.skipped) == (
                bool(lost & set(task.after)) and name not in self.earlier
            )

    @precondition(lambda self: self.running)
    @rule(data=st.data(), delay=st.integers(0, 5))
    def retry(self, data: st.DataObject, delay: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        self.schedule.retry(name, self.now + delay)
        self.running.remove(name)
        self.delayed[name] = self.now + delay

    @rule(seconds=st.integers(0, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: not self.halted)
    @rule(chance=st.integers(0, 9))
    def halt(self, chance: int) -> None:
        if chance == 0:
            self.halted = True
            self.schedule.halt()

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "schedule"):
            return
        left = set(self.tasks) - self.ended() - self.running
        assert self.schedule.left == len(left)
        over = not self.running and (self.halted or not left)
        assert self.schedule.finished == over
        due = self.schedule.due()
        assert due is None or due in self.delayed.values()

    def teardown(self) -> None:
        """Whatever has happened: from here all comes to an end, and nothing waits for ever."""
        if not hasattr(self, "schedule"):
            return
        for _ in range(10 * len(self.tasks) + 10):
            self.now += 10
            self.start()
            if self.running:
                name = min(self.running)
                self.running.remove(name)
                self.done.add(name)
                assert self.schedule.ended(name, True) == []
        assert self.schedule.finished
        if not self.halted:
            assert self.ended() == set(self.tasks)


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck), deadline=None
)
TestSchedule = Machine.TestCase


def test_thousands_that_wait_for_one_place_cost_little_each() -> None:
    tasks = [Task(f"a{n}", (), 0, ("one",)) for n in range(5000)]
    tasks += [Task(f"b{n}", ("a4999",), n % 7, ()) for n in range(5000)]
    assert order(tasks)[:3] == ["a0", "a1", "a2"]
    schedule = Schedule(tasks, 100, {"one": 1})
    for number in range(5000):
        assert schedule.next(0.0) == f"a{number}"
        assert schedule.next(0.0) is None
        assert schedule.ended(f"a{number}", True) == []
    assert schedule.next(0.0) == "b6"


def test_all_of_a_table_after_all_of_another() -> None:
    first = tuple(f"a{n}" for n in range(5000))
    tasks = [Task(f"b{n}", first) for n in range(5000)] + [Task(name) for name in first]
    assert order(tasks) == [*first, *(f"b{n}" for n in range(5000))]
    schedule = Schedule(tasks, 9, {})
    assert schedule.next(0.0) == "a0"
    assert len(schedule.ended("a0", False)) == 5000
    assert schedule.left == 4999


def test_the_order_without_failures() -> None:
    tasks = [
        Task("late", ("early",)),
        Task("low", (), -1),
        Task("early"),
        Task("urgent", ("early",), 5),
    ]
    assert order(tasks) == ["early", "urgent", "late", "low"]
