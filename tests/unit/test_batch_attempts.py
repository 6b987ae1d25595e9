"""Jobs that wait for others, are tried again or given up, with a governor that only plays."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.batch.interrupts import Interrupts
from governor.batch.plan import (
    BatchPlan,
    ContainerPlan,
    HierarchyPlan,
    JobPlan,
    Retry,
    Success,
)
from governor.batch.schedule import order
from governor.batch.tasks import bounds, tasks
from governor.batch.verdict import delay, is_retried, judged
from governor.report import FAILED, OK, TIMEOUT, Attempt, JobReport
from tests.unit.test_batch_runner import PlayedGovernor, play, result

ONCE = Retry()
SOON = Retry(5, 0.002, 0.004)


def job(name: str, *after: str, retry: Retry = ONCE) -> JobPlan:
    plain = JobPlan(name, ("x",), (), "/", {}, None, None, None, None)
    return plain._replace(after=after, retry=retry)


def batch(*jobs: JobPlan) -> BatchPlan:
    return BatchPlan("f.toml", "t", (), jobs)


def test_what_comes_after_a_failure_is_skipped_and_the_rest_runs() -> None:
    governor = PlayedGovernor({"a": result(3), "free": result()})
    jobs = batch(job("last", "b", "free"), job("b", "a"), job("a"), job("free"))

    reports, shown = play(governor, jobs, 1)

    assert governor.events == ["start a", "end a", "start free", "end free"]
    assert [report.status for report in reports] == ["skipped", "skipped", "failed", "ok"]
    assert [report.skipped for report in reports[:2]] == ["b was skipped", "a failed"]
    assert shown == (
        "[1/4] failed  a 1.0 s (exit 3)\n"
        "[2/4] skipped b (a failed)\n"
        "[3/4] skipped last (b was skipped)\n"
        "[4/4] ok      free 1.0 s\n"
    )


def test_a_failed_job_is_tried_again_until_it_succeeds() -> None:
    governor = PlayedGovernor({"a": [result(3), result(4), result()], "b": result()})

    [a, b], shown = play(governor, batch(job("a", retry=SOON), job("b", "a")), 1)

    assert (a.status, b.status) == ("ok", "ok")
    assert [attempt.exit_code for attempt in a.attempts] == [3, 4, 0]
    assert [attempt.status for attempt in a.attempts] == ["failed", "failed", "ok"]
    moments = [attempt.began_seconds for attempt in a.attempts]
    assert moments == sorted(moments, key=lambda moment: moment or 0.0)
    assert governor.spawned["a"]["env"]["GOVERNOR_ATTEMPT"] == "3"
    assert shown.splitlines()[0].startswith("[0/2] retry   a 1.0 s (exit 3, again in ")
    assert shown.splitlines()[2] == "[1/2] ok      a 1.0 s (3 attempts)"


def test_a_job_that_cannot_be_started_is_tried_again_too() -> None:
    [a], shown = play(PlayedGovernor({}), batch(job("a", retry=Retry(1, 0.001))), 1)
    assert (a.status, len(a.attempts)) == ("failed", 2)
    assert a.attempts[0].error is not None
    assert "again in" in shown


def test_others_run_while_one_waits_for_its_next_attempt() -> None:
    governor = PlayedGovernor({"a": [result(1), result()], "b": result(), "c": result()})
    play(governor, batch(job("a", retry=Retry(1, 0.1)), job("b"), job("c")), 1)
    assert governor.events[:3] == ["start a", "end a", "start b"]
    assert governor.events[-2:] == ["start a", "end a"]


def test_after_a_failure_nothing_more_is_started_and_what_runs_ends() -> None:
    governor = PlayedGovernor({"a": result(1), "b": result(), "c": result()})
    reports, shown = play(governor, batch(job("a"), job("b"), job("c")), 2, halt="soon")
    assert governor.events == ["start a", "start b", "end a", "end b"]
    assert [report.status for report in reports] == ["failed", "ok", "not run"]
    assert shown.endswith("a failed: nothing more is started, 1 left\n")


def test_after_a_failure_what_runs_is_ended() -> None:
    governor = PlayedGovernor({"a": result(1), "b": result(), "c": result()})
    reports, _ = play(governor, batch(job("a"), job("b"), job("c")), 2, halt="now")
    assert governor.events == ["start a", "start b", "end a", "stop b 3.0"]
    assert [report.status for report in reports] == ["failed", "interrupted", "not run"]


def test_a_job_waiting_for_another_attempt_has_failed_when_a_signal_comes() -> None:
    with Interrupts() as interrupts:
        governor = PlayedGovernor(
            {"a": result(7), "b": result()}, lambda: signal.raise_signal(signal.SIGTERM)
        )
        jobs = batch(job("a", retry=Retry(1, 60)), job("b", "a"))
        [a, b], _ = play(governor, jobs, 1, interrupts)
    assert (a.status, a.exit_code, len(a.attempts)) == ("failed", 7, 1)
    assert b.status == "not run"


def test_a_job_that_is_ended_keeps_the_attempts_before() -> None:
    with Interrupts() as interrupts:
        moments: Iterator[Callable[[], object]] = iter(
            [int, lambda: signal.raise_signal(signal.SIGTERM)]
        )
        governor = PlayedGovernor(
            {"a": [result(7), result()], "b": result()}, lambda: next(moments)()
        )
        jobs = batch(job("a", retry=Retry(1, 0.0)), job("b"))
        [a, b], _ = play(governor, jobs, 2, interrupts)
    assert governor.events == ["start a", "start b", "end a", "start a", "end b", "stop a 3.0"]
    assert (a.status, b.status) == ("interrupted", "ok")
    assert [attempt.status for attempt in a.attempts] == ["failed", "interrupted"]


def test_jobs_count_in_every_container_above_them() -> None:
    containers = (
        ContainerPlan("/", (), 1, 5),
        ContainerPlan("/a", (), 1, 2),
        ContainerPlan("/a/b", (), 1),
    )
    plan = BatchPlan(
        "f",
        "t",
        (HierarchyPlan("load", ("numtasks",), containers, 1),),
        (job("deep")._replace(containers=(("load", "/a/b"),)), job("nowhere")),
    )
    assert bounds(plan) == {"load:/": 5, "load:/a": 2}
    assert [task.bounds for task in tasks(plan)] == [("load:/", "load:/a"), ("load:/",)]
    assert order(tasks(plan)) == ["deep", "nowhere"]


def ended(exit_code: int, status: str = FAILED, attempts: int = 1) -> JobReport:
    report = JobReport("a", ["x"], [], status if exit_code else OK, exit_code)
    return report._replace(attempts=(Attempt(status),) * attempts)


@pytest.mark.parametrize(
    ("report", "retry", "wanted"),
    [
        (ended(1), Retry(), False),
        (ended(1), Retry(1), True),
        (ended(1, attempts=2), Retry(1), False),
        (ended(0), Retry(1), False),
        (ended(124, TIMEOUT), Retry(1), True),
        (ended(124, TIMEOUT), Retry(1, on=("failed",)), False),
        (ended(1), Retry(1, on=(75,)), False),
        (ended(75), Retry(1, on=(75,)), True),
        (ended(127), Retry(1), False),
        (ended(127), Retry(1, on=(127,)), True),
        (ended(137), Retry(1), True),
    ],
)
def test_which_ends_are_tried_again(report: JobReport, retry: Retry, wanted: bool) -> None:
    assert is_retried(report, retry) == wanted


@given(st.integers(1, 1000), st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_delay_doubles_up_to_the_most(
    attempts: int, chance: float, first: float, most: float
) -> None:
    retry = Retry(100, first, most)
    full = delay(retry, attempts, 0.0)
    assert full == min(most, first * 2.0 ** min(attempts - 1, 64))
    assert 0.75 * full <= delay(retry, attempts, chance) <= full


def test_what_makes_a_success(tmp_path: Path) -> None:
    full, empty, gone = (tmp_path / name for name in ("full", "empty", "gone"))
    full.write_text("all is well\n")
    empty.touch()
    outputs = [str(gone), str(empty), str(full)]

    def verdict(code: int, **wanted: object) -> tuple[str, str | None]:
        report = judged(ended(code), Success(**wanted), outputs)  # type: ignore[arg-type]
        return report.status, report.unmet

    assert verdict(0) == ("ok", None)
    assert verdict(3, exit_codes=(0, 3)) == ("ok", None)
    assert verdict(0, exit_codes=(3,)) == ("failed", None)
    assert verdict(0, files=(str(empty), str(full))) == ("ok", None)
    assert verdict(0, nonempty_files=(str(full), str(empty))) == ("failed", f"{empty} is empty")
    assert verdict(0, files=(str(gone),)) == ("failed", f"there is no {gone}")
    assert verdict(0, output="is well") == ("ok", None)
    assert verdict(0, output="is bad") == ("failed", 'its output has no "is bad"')
    assert judged(ended(124, TIMEOUT), Success((124,)), outputs).status == TIMEOUT
    lost = ended(125)._replace(error="no process")
    assert judged(lost, Success((125,)), outputs).status == FAILED
