"""How jobs ended, for people: nothing is lost among many, or beyond the 80th column."""

from __future__ import annotations

from governor.job_table import MOST, job_table, tally
from governor.report import Attempt, JobReport


def ended(name: str, status: str = "ok", code: int | None = 0, **fields: object) -> JobReport:
    times = (12.34, 20.0) if code is not None else (0.0, 0.0)
    report = JobReport(name, ["x"], ["load:/builds"], status, code, None, *times)
    return report._replace(**fields)  # type: ignore[arg-type]


def test_jobs_that_were_tried_again_say_how_often() -> None:
    twice = (Attempt("failed", 1), Attempt("ok", 0))
    jobs = [
        ended("fetch", attempts=twice),
        ended("build", attempts=twice[1:]),
        ended("test", "skipped", None, skipped="build failed"),
    ]
    assert "\n".join(job_table(jobs)) == (
        "job    status   exit  tries    wall     cpu  containers\n"
        "fetch  ok          0      2  12.3 s  20.0 s  load:/builds\n"
        "build  ok          0      1  12.3 s  20.0 s  load:/builds\n"
        "test   skipped                               load:/builds (build failed)"
    )
    assert tally(jobs, 90) == "3 jobs: 2 ok, 1 skipped (1 of them tried again), in 1m30s"


def test_a_table_that_would_be_too_wide_has_the_remarks_below() -> None:
    error = "cannot find " + "a-long/path/" * 6
    jobs = [ended("lost", "failed", 125, error=error), ended("x" * 60, earlier=True)]
    lines = "\n".join(job_table(jobs)).split("\n")
    assert lines[1].split() == ["lost", "failed", "125", "12.3", "s", "20.0", "s"]
    assert lines[3:] == [
        "lost: cannot find",
        f"  {'a-long/path/' * 6}",
        f"{'x' * 60}: done earlier",
    ]


def test_of_many_jobs_those_are_shown_that_did_not_succeed() -> None:
    jobs = [ended(f"job-{number}") for number in range(300)]
    assert list(job_table(jobs)) == ["300 jobs succeeded, which took 12.3 s to 12.3 s each"]
    jobs[7] = ended("bad", "failed", 3)
    jobs[9] = ended("slow", "timeout", 124)
    jobs[11] = ended("quick", wall_seconds=0.25)
    table, rest = job_table(jobs)
    assert [line.split()[0] for line in table.split("\n")] == ["job", "bad", "slow"]
    assert rest == "and 298 jobs succeeded, which took 250 ms to 12.3 s each"
    assert tally(jobs, 1.0) == "300 jobs: 298 ok, 1 failed, 1 timed out, in 1.0 s"


def test_of_many_failures_the_first_are_shown() -> None:
    jobs = [ended(f"job-{number}", "failed", 1) for number in range(100)] + [ended("good")]
    table, rest = job_table(jobs)
    assert len(table.split("\n")) == MOST + 1
    assert rest == "and 61 other jobs, of which 1 succeeded: see --report"


def test_up_to_forty_jobs_all_are_shown() -> None:
    [table] = job_table([ended(f"job-{number}") for number in range(MOST)])
    assert len(table.split("\n")) == MOST + 1
    assert list(job_table([])) == []


def test_names_that_are_too_long_are_cut_in_the_middle() -> None:
    jobs = [ended("x" * 90 + str(number), "failed", 1) for number in range(2)]
    [table] = job_table(jobs)
    lines = table.split("\n")
    assert max(map(len, lines)) == 80
    assert [line.split()[0][-1] for line in lines] == ["b", "0", "1"]
    assert "…" in lines[1]


def test_why_a_job_has_ended_is_told() -> None:
    jobs = [
        ended("cpu", "timeout", 124, cpu_timed_out=True),
        ended("file", "failed", 0, unmet='file "x" is missing'),
        ended("old", "failed", 3, earlier=True),
    ]
    assert [line.partition("load:/builds")[2] for line in "".join(job_table(jobs)).split("\n")] == [
        "",
        " (used up its CPU time)",
        ' (file "x" is missing)',
        "",
    ]
