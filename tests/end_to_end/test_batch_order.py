"""Jobs that wait for others, are tried again, or are ended for their CPU time: real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from governor.report import OK
from tests.end_to_end.batches import HANGS, Bench, job

EXAMPLES = Path(__file__).parents[2] / "examples"

ALONE = """\
[hierarchies.load]
subsystems = ["numtasks"]
[hierarchies.load.containers."/one/deep"]
[hierarchies.load.containers."/one"]
max_jobs = 1
"""


def test_a_pipeline(bench: Bench) -> None:
    for name, text in {"a b": "3\n1\n", "c": "2\n"}.items():
        (bench.directory / f"{name}.in").write_text(text)
    # Two of them at once would meet in the directory.
    alone = "mkdir busy && sort {file} > {file.stem}.sorted && rmdir busy"
    text = (
        ALONE
        + job("merge", "cat", after='["sort"]', stdin='"sorted"', stdout='"out"')
        + job("sort", "sort -m *.sorted > sorted", after='["sort-one"]')
        + job(
            "sort-one",
            alone,
            matrix='{ file = { glob = "*.in" }, where = ["/one", "/one/deep"] }',
            containers='["load:{where}"]',
            success='{ nonempty_files = ["{file.stem}.sorted"] }',
        )
    )

    ended = bench.run(text, "--jobs=4")

    assert ended.exit_code == 0, ended.output
    assert (bench.directory / "out").read_text() == "1\n2\n3\n"
    jobs = bench.report()["jobs"]
    assert [one["name"] for one in jobs[2:]] == [
        *("sort-one-a_b.in-_one", "sort-one-a_b.in-_one_deep"),
        *("sort-one-c.in-_one", "sort-one-c.in-_one_deep"),
    ]
    began = {one["name"]: one["began_seconds"] for one in jobs}
    assert began["merge"] > began["sort"] > max(began[one["name"]] for one in jobs[2:])


@pytest.mark.once
def test_the_example(bench: Bench) -> None:
    shutil.copytree(EXAMPLES / "university", bench.directory / "university")
    ended = bench.run((EXAMPLES / "pipeline.toml").read_text(), "--jobs=4")
    assert ended.exit_code == 0, ended.output
    assert set(bench.statuses().values()) == {OK}
    programs = len(list((EXAMPLES / "university").glob("*.py")))
    assert len((bench.directory / "pipeline.out" / "list").read_text().splitlines()) == programs


@pytest.mark.once
def test_attempts_and_what_depends_on_them(bench: Bench) -> None:
    fails = "test ! -e $GOVERNOR_JOB_DIR/x; touch $GOVERNOR_JOB_DIR/x; echo at $GOVERNOR_ATTEMPT; "
    text = (
        job("flaky", fails + "test $GOVERNOR_ATTEMPT = 3", retries="5", retry_delay="0.01")
        + job("next", "true", after='["flaky"]')
        + job("hopeless", "exit 9", retries="1", retry_delay="0.01")
        + job("never", "touch never", after='["hopeless"]')
        + job("odd", "exit 3", success="{ exit_codes = [3] }")
        + job("quiet", "true", success='{ output = "done" }')
        + job("told", "echo all done", success='{ output = "done" }')
    )

    ended = bench.run(text)

    assert ended.exit_code == 1
    assert bench.statuses() == {
        **{"flaky": "ok", "next": "ok", "hopeless": "failed", "never": "skipped"},
        **{"odd": "ok", "quiet": "failed", "told": "ok"},
    }
    found = {one["name"]: one for one in bench.report()["jobs"]}
    assert [one["exit_code"] for one in found["flaky"]["attempts"]] == [1, 1, 0]
    assert [one["exit_code"] for one in found["hopeless"]["attempts"]] == [9, 9]
    assert found["never"]["skipped"] == "hopeless failed"
    assert found["quiet"]["unmet"] == 'its output has no "done"'
    assert "(hopeless failed)" in ended.output
    assert not (bench.directory / "never").exists()


def test_cpu_time_is_that_of_all_processes(bench: Bench) -> None:
    spin = "while :; do :; done"
    text = job(
        "burn",
        f'setsid sh -c "{spin}" & {spin}',
        cpu_timeout='"300ms"',
        retries="1",
        retry_on='["failed"]',
    ) + job("free", "true", cpu_timeout="60")

    ended = bench.run(text)

    burn, free = bench.report()["jobs"]
    assert ended.exit_code == 1, ended.output
    assert (burn["status"], burn["exit_code"]) == ("timeout", 124)
    assert (burn["timed_out"], burn["cpu_timed_out"], len(burn["attempts"])) == (True, True, 1)
    assert burn["cpu_seconds"] >= 0.3
    assert (free["status"], free["cpu_timed_out"]) == ("ok", False)
    assert "used up its CPU time" in ended.output
    assert {one["hierarchy"] for one in bench.report()["containers"]} == set()


@pytest.mark.once
def test_what_depends_on_a_job_runs_again_with_it(bench: Bench) -> None:
    text = (
        job("base", "echo base >> ran")
        + job("above", "echo above >> ran", after='["base"]')
        + job("free", "echo free >> ran")
    )
    assert bench.run(text).exit_code == 0

    ended = bench.run(text.replace("echo base", "echo new"), "--resume")

    assert "running again: base (changed since), above (base runs before it)" in ended.output
    ran = (bench.directory / "ran").read_text().split()
    assert sorted(ran) == ["above", "above", "base", "free", "new"]
    assert set(bench.statuses().values()) == {OK}


@pytest.mark.once
def test_after_a_failure_nothing_more_is_started(bench: Bench) -> None:
    text = job("bad", "exit 1") + job("good", "true") + job("later", "touch later")
    ended = bench.run(text, "--fail-fast", "--jobs=1")
    assert ended.exit_code == 1
    assert bench.statuses() == {"bad": "failed", "good": "not run", "later": "not run"}
    assert "bad failed: nothing more is started, 2 left" in ended.output

    process = bench.start(
        job("hangs", HANGS) + job("bad", "read x < ready; exit 1"), "--fail-now", "--jobs=2"
    )
    ended = bench.end(process)
    assert (ended.exit_code, bench.report()["signal"]) == (1, None)
    assert bench.statuses() == {"hangs": "interrupted", "bad": "failed"}
    assert bench.report()["jobs"][0]["signal"] == 15
