"""How long a batch still takes: nothing is said without a ground for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from governor.batch.forecast import ENOUGH, Forecast, durations
from governor.batch.history import Began, Ended, History
from governor.report import JobReport


def test_it_is_unknown_until_enough_jobs_have_ended() -> None:
    forecast = Forecast({}, 2, {})
    for _ in range(ENOUGH):
        assert forecast.left([("a", 1.0)], ["b"]) is None
        forecast.ended(10.0)
    assert forecast.left([("a", 1.0), ("b", 2.0)], ["c"]) == (9 + 8 + 10) / 2


def test_what_jobs_took_before_is_used() -> None:
    forecast = Forecast({"a": 60.0, "b": 2.0}, 4, {})
    assert forecast.left([("b", 1.0)], ["a"]) == 60.0  # the longest one alone takes so long
    assert forecast.left([("b", 1.0)], ["a", "new"]) is None


def test_a_job_that_takes_longer_than_expected_makes_the_end_unknown() -> None:
    forecast = Forecast({"a": 2.0, "b": 5.0}, 1, {})
    assert forecast.left([("a", 3.0)], []) is None
    assert forecast.left([("a", 3.0)], ["b"]) == 5.0


def test_jobs_that_come_after_one_another_do_not_run_at_once() -> None:
    after = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ()}
    forecast = Forecast({"a": 4.0, "b": 10.0, "c": 20.0, "d": 1.0}, 8, after)
    assert forecast.left([("a", 1.0)], ["b", "c", "d"]) == 3 + 10 + 20
    assert forecast.left([("b", 4.0), ("d", 0.5)], ["c"]) == 6 + 20  # what has ended takes no time
    assert forecast.left([("d", 0.0)], []) == 1.0


def test_only_successes_say_how_long_a_job_takes() -> None:
    report = JobReport("good", [], [], "ok", 0, None, 7.0)
    jobs: dict[str, Began | Ended] = {
        "good": Ended(0.0, "", report),
        "bad": Ended(0.0, "", report._replace(name="bad", status="failed")),
        "killed": Began(0.0, "killed", ""),
    }
    assert durations(History(0, False, None, jobs)) == {"good": 7.0}


@given(
    st.lists(st.floats(0.001, 1e6), min_size=ENOUGH),
    st.lists(st.floats(0, 1e6), max_size=8),
    st.integers(0, 20),
    st.integers(1, 8),
)
def test_it_is_never_negative_and_fewer_jobs_never_take_longer(
    ended: list[float], running: list[float], waiting: int, parallel: int
) -> None:
    forecast = Forecast({}, parallel, {})
    for seconds in ended:
        forecast.ended(seconds)
    names = [(str(number), ran) for number, ran in enumerate(running)]
    to_come = [f"x{number}" for number in range(waiting + 1)]
    some = forecast.left(names, to_come[:-1])
    more = forecast.left(names, to_come)
    assert more is not None
    assert some is None or 0 < some <= more
