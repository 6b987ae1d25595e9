"""What ``governor batch`` writes beside its report: job log, JUnit XML, logs; and what it would."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.end_to_end.batches import HANGS, LOAD, Bench, job

pytestmark = pytest.mark.once

JOBS = (
    LOAD
    + job("next", "true", after='["bad"]')
    + job("bad", "echo out; printf '\\033[31m]]>\\0'; exit 3", containers='["load:/small"]')
    + job("again", "echo $GOVERNOR_ATTEMPT; [ $GOVERNOR_ATTEMPT = 2 ]", retries="1")
    + job("loud", "seq 10", stdout='"elsewhere"')
).replace("retries = 1\n", 'retries = 1\nretry_delay = "10ms"\n')


def columns(log: Path) -> dict[str, dict[str, str]]:
    """The lines of a job log, by the numbers of their jobs."""
    titles, *lines = [line.split("\t") for line in log.read_text().splitlines()]
    return {line[0]: dict(zip(titles, line, strict=True)) for line in lines}


def test_a_batch_writes_what_it_is_asked_for(bench: Bench) -> None:
    there = bench.directory
    ended = bench.run(
        JOBS,
        f"--joblog={there}/joblog",
        f"--junit={there}/junit.xml",
        f"--logs={there}/logs",
        f"--events={there}/events",
    )
    assert (ended.exit_code, ended.errors) == (1, "")

    lines = columns(there / "joblog")
    assert set(lines) == {"2", "3", "4"}  # what was skipped has no line
    assert {line["Host"] for line in lines.values()} == {":"}
    assert (lines["2"]["Exitval"], lines["3"]["Exitval"]) == ("3", "0")
    assert lines["2"]["Receive"] == str((there / "logs" / "bad.log").stat().st_size)
    assert lines["4"]["Command"] == "seq 10"

    suite = ElementTree.parse(there / "junit.xml").getroot()[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == list("4101")
    [failure] = suite.iter("failure")
    assert failure.get("message") == "exit 3"
    assert (failure.text or "").split("\n") == ["exit 3", "out", "\\x1b[31m]]>\\x00"]

    events = [json.loads(line) for line in (there / "events").read_text().splitlines()]
    ends = {e["fields"]["name"]: e["fields"] for e in events if e["kind"] == "job-end"}
    assert (set(ends), ends["bad"]["exit_code"]) == ({"bad", "again", "loud"}, 3)

    logs = {path.name: path.read_text() for path in (there / "logs").iterdir()}
    assert (logs["again.log"], logs["again.log.1"]) == ("2\n", "1\n")
    assert logs["bad.log"].startswith("out\n")
    assert logs["loud.log"] == ""
    assert "next.log" not in logs


def test_a_resumed_batch_goes_on_with_its_job_log(bench: Bench) -> None:
    log = bench.directory / "joblog"
    text = job("a", "true") + job("b", "test -e fixed")
    assert bench.run(text, f"--joblog={log}").exit_code == 1
    first = log.read_text()
    (bench.directory / "fixed").touch()
    assert bench.run(text, f"--joblog={log}", "--resume-failed").exit_code == 0
    assert log.read_text().startswith(first)
    [line] = log.read_text().removeprefix(first).splitlines()
    assert line.split("\t")[6:] == ["0", "0", "test -e fixed"]


def test_failures_may_be_taken_as_they_are(bench: Bench) -> None:
    text = (
        job("bad", "echo >> ran; false")
        + job("after", "touch after", after='["bad"]')
        + job("hangs", "[ -e fixed ] || { echo ready > ready; exec sleep 1000; }")
    )
    process = bench.start(text, "--jobs=1")
    bench.until_ready()
    process.send_signal(signal.SIGINT)
    assert bench.end(process).exit_code == 130
    (bench.directory / "fixed").touch()

    ended = bench.run(text, "--resume-unfinished")
    assert ended.exit_code == 1
    assert "2 of 3 jobs ended earlier and are not run again" in ended.output
    assert bench.statuses() == {"bad": "failed", "after": "skipped", "hangs": "ok"}
    assert (bench.directory / "ran").read_text() == "\n"
    assert not (bench.directory / "after").exists()
    bench.run(text, "--resume")
    assert (bench.directory / "ran").read_text() == "\n\n"


def test_a_dry_run_tells_what_would_run_and_changes_nothing(bench: Bench) -> None:
    before = set(os.listdir(bench.directory))
    ended = bench.run(JOBS, "--dry-run", "--jobs=3", "--joblog=joblog", "--logs=logs")
    assert (ended.exit_code, ended.errors) == (0, "")
    assert ended.output.splitlines()[:3] == [
        "batch: 4 jobs would run, up to 3 at once; nothing was started",
        "1  bad: echo out; printf '\\033[31m]]>\\0'; exit 3",
        "     in load:/small (numtasks.limit 8)",
    ]
    order = [line.split()[1] for line in ended.output.splitlines() if line[0].isdigit()]
    assert order == ["bad:", "next:", "again:", "loud:"]
    assert set(os.listdir(bench.directory)) == before | {"batch.toml"}


def test_a_dry_run_knows_what_is_done(bench: Bench) -> None:
    text = job("a", "true") + job("b", "false")
    bench.run(text)
    told = {
        option: bench.run(text, "--dry-run", option).output for option in ("--resume", "--jobs=1")
    }
    assert "b: false" in told["--resume"]
    assert "a: true" not in told["--resume"]
    assert "1 of 2 jobs succeeded earlier" in told["--resume"]
    assert "a: true" in told["--jobs=1"]


@pytest.mark.parametrize(
    ("option", "piece"),
    [
        ("--junit=absent/x.xml", "cannot write the JUnit XML absent/x.xml: No such file"),
        ("--joblog=absent/log", "cannot write the job log absent/log: No such file"),
        ("--logs=/dev/null/logs", "cannot keep logs in /dev/null/logs: Not a directory"),
        ("--events=absent/log", "No such file or directory; nothing was started"),
        ("--logs-keep=3", "--logs-keep is for --logs"),
        ("--logs-max=x", "is not a count"),
        ("--logs-max=0", "a log of 0 bytes holds nothing"),
        ("--logs-keep=-1", "is not a number of logs"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_starts(
    bench: Bench, option: str, piece: str
) -> None:
    ended = bench.run(job("a", "touch started"), option)
    assert ended.exit_code == 2
    [line] = ended.errors.splitlines()
    assert piece in line
    assert not (bench.directory / "started").exists()


def test_no_file_is_written_over_by_another(bench: Bench) -> None:
    text = job("a", "touch started")
    for option, other in (
        (f"--joblog={bench.directory}/batch.toml", "the job log: it is the batch file"),
        (f"--joblog={bench.directory}/batch.toml.record", "the job log: it is the record"),
        (f"--events={bench.report_file}", "the file of events: it is the report"),
    ):
        ended = bench.run(text, option)
        assert (ended.exit_code, ended.output) == (2, "")
        assert ended.errors.endswith(f" cannot be {other}; nothing was started\n")
    assert (bench.directory / "batch.toml").read_text() == text
    assert not (bench.directory / "started").exists()


def test_what_has_ended_is_in_the_files_after_an_interrupt(bench: Bench) -> None:
    there = bench.directory
    process = bench.start(
        job("first", "echo done") + job("second", f"echo began; {HANGS}") + job("third", "true"),
        "--jobs=1",
        f"--joblog={there}/joblog",
        f"--junit={there}/junit.xml",
        f"--logs={there}/logs",
    )
    bench.until_ready()
    process.send_signal(signal.SIGTERM)
    assert bench.end(process).exit_code == 143
    assert set(columns(there / "joblog")) == {"1"}
    suite = ElementTree.parse(there / "junit.xml").getroot()[0]
    verdicts = [next(iter(case)).tag for case in suite.iter("testcase")]
    assert verdicts == ["system-out", "error", "skipped"]
    assert (there / "logs" / "second.log").read_text().startswith("began\n")


def test_with_a_full_disk_the_jobs_go_on(bench: Bench) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    ended = bench.run(job("a", "touch a") + job("b", "touch b"), "--joblog=/dev/full")
    assert ended.exit_code == 0
    told = "cannot write the job log /dev/full: No space left on device; jobs go on"
    assert ended.output.count(told) == 1
    assert "the job log /dev/full lacks lines" in ended.output
    assert (bench.directory / "b").exists()


def test_a_full_disk_at_the_end_is_told_for_one_file_and_spares_the_other(bench: Bench) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    ended = bench.run(job("a", "true"), "--junit=/dev/full", "--report=/dev/full")
    assert "JUnit XML /dev/full" in ended.errors
    assert "the report /dev/full" in ended.errors
    ended = bench.run(job("a", "true"), "--junit=/dev/full")
    assert ended.exit_code == 125
    assert "cannot write the JUnit XML /dev/full: No space left on device" in ended.errors
    assert bench.statuses() == {"a": "ok"}


def test_a_log_has_a_bound_and_its_end_is_shown_all_the_same(bench: Bench) -> None:
    logs = bench.directory / "logs"
    # It is looked at any time: only the last of the writes may take it beyond its bound.
    loud = "head -c 99990 /dev/zero | tr '\\0' x; printf '\\nat the end:\\nbefore\\n'"
    until_cut = "while [ $(stat -c %s logs/a.log) -gt 1000 ]; do :; done"
    ended = bench.run(
        job("a", f"{loud}; {until_cut}; echo end; exit 1"),
        f"--logs={logs}",
        "--logs-max=100k",
    )
    assert ended.exit_code == 1
    assert (logs / "a.log").read_text() == "end\n"
    assert (logs / "a.log.1").stat().st_size == 100_010
    assert ended.output.count("  before\n  end\n") == 1
