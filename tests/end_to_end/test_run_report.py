"""``governor run``: limits on the command line, and the JSON report."""

from __future__ import annotations

import json
import os

import pytest

from tests.end_to_end.runner import Runner

pytestmark = pytest.mark.once


def test_report_of_a_run_with_everything(runner: Runner) -> None:
    cpu = str(min(os.sched_getaffinity(0)))
    ended, report = runner.report(
        *["--max-tasks", "2", "--max-files", "50", "--cpus", cpu],
        *["--", "sh", "-c", "(exit 0); sleep 1000 & sleep 0 & echo unreachable"],
    )
    assert ended.exit_code == 2
    assert (report["exit_code"], report["signal"]) == (2, None)
    (job,) = report["jobs"]
    assert job["name"] == "sh"
    assert job["command"][:2] == ["sh", "-c"]
    assert sorted(job["containers"]) == ["cpu:/job", "load:/job"]
    assert (job["status"], job["exit_code"], job["signal"]) == ("failed", 2, None)
    assert (job["timed_out"], job["error"], job["unenforced"]) == (False, None, None)
    assert 0 < job["wall_seconds"] <= report["wall_seconds"]
    assert job["cpu_seconds"] > 0
    assert report["enforcement"] == dict.fromkeys(
        ["numtasks", "numfiles", "cpuset", "cpuacct"], "enforced"
    )
    files = {f"{c['hierarchy']}:{c['path']}": c["files"] for c in report["containers"]}
    assert sorted(files) == ["cpu:/", "cpu:/job", "load:/", "load:/job"]
    load = files["load:/job"]
    assert (load["numtasks.limit"], load["numtasks.maxheld"]) == (2, 2)
    assert load["numtasks.failcnt"] >= 1
    assert (load["numfiles.limit"], load["numfiles.failcnt"]) == (50, 0)
    assert files["load:/"]["numtasks.limit"] == "max"
    assert files["load:/"]["numtasks.failcnt"] == 0
    assert files["cpu:/job"]["cpuset.cpus"] == cpu
    assert files["cpu:/job"]["cpuacct.usage"] == pytest.approx(job["cpu_seconds"] * 1e9, abs=2e7)


def test_report_of_a_job_ended_by_a_signal(runner: Runner) -> None:
    _, report = runner.report("--", "sh", "-c", "kill -TERM $$")
    assert (report["exit_code"], report["signal"]) == (143, 15)
    assert (report["jobs"][0]["exit_code"], report["jobs"][0]["signal"]) == (143, 15)
    assert report["jobs"][0]["status"] == "failed"


def test_report_of_a_job_that_timed_out(runner: Runner) -> None:
    _, report = runner.report("--timeout", "0.1", "--", "sleep", "1000")
    job = report["jobs"][0]
    assert (report["exit_code"], job["exit_code"]) == (124, 124)
    assert (job["status"], job["timed_out"]) == ("timeout", True)


def test_report_of_a_command_that_is_not_found(runner: Runner) -> None:
    _, report = runner.report("--", "./no-such-command")
    job = report["jobs"][0]
    assert (report["exit_code"], job["exit_code"], job["status"]) == (127, 127, "failed")
    assert job["error"] == "cannot run ./no-such-command: No such file or directory"


def test_report_that_cannot_be_written_in_the_end(runner: Runner) -> None:
    ended = runner.run("--report", "/dev/full", "--", "echo", "text")
    assert (ended.exit_code, ended.output) == (125, "text\n")
    assert ended.errors.splitlines() == [
        "governor: cannot write the report /dev/full: No space left on device"
    ]


def test_hierarchies_containers_and_settings(runner: Runner) -> None:
    ended, report = runner.report(
        *["--hierarchy", "users=numtasks", "--hierarchy", "kinds=numfiles,cpuacct"],
        *["--in", "users:/students/bob", "--in", "kinds:/builds"],
        *["--set", "users:/students:numtasks.limit=1k", "--set", "kinds:/:numfiles.limit=200"],
        *["--set", "users:/staff:numtasks.limit=max", "--max-tasks", "30"],
        *["--", "true"],
    )
    assert ended == (0, "", "")
    files = {f"{c['hierarchy']}:{c['path']}": c["files"] for c in report["containers"]}
    assert sorted(files) == [
        *["kinds:/", "kinds:/builds", "users:/", "users:/staff"],
        *["users:/students", "users:/students/bob"],
    ]
    assert files["users:/students"]["numtasks.limit"] == 1000
    assert files["users:/students/bob"]["numtasks.limit"] == 30
    assert files["users:/students/bob"]["numtasks.maxheld"] == 1
    assert files["users:/staff"]["numtasks.maxheld"] == 0
    assert files["kinds:/"]["numfiles.limit"] == 200
    assert sorted(report["jobs"][0]["containers"]) == ["kinds:/builds", "users:/students/bob"]


def test_all_subsystems_in_one_hierarchy(runner: Runner) -> None:
    ended, report = runner.report(
        "--hierarchy", "a=all", "--in", "a:/x", "--max-tasks", "7", "--", "true"
    )  # fmt: skip
    assert ended == (0, "", "")
    files = {f"{c['hierarchy']}:{c['path']}": c["files"] for c in report["containers"]}
    assert sorted(files) == ["a:/", "a:/x"]
    assert files["a:/x"]["numtasks.limit"] == 7
    assert files["a:/"]["cpuacct.usage"] > 0
    assert set(report["enforcement"]) >= {"numtasks", "ns", "physpages", "cpuset"}


def test_job_that_has_no_room_is_not_started(runner: Runner) -> None:
    ended = runner.run("--max-tasks", "0", "--", "touch", "started")
    assert ended.exit_code == 125
    assert ended.errors == (
        "governor: load:/job is at its limit of 0 tasks; job touch was not started\n"
    )
    assert not (runner.directory / "started").exists()


def test_a_file_of_events_beside_the_report(runner: Runner) -> None:
    options = ["--max-tasks", "2", "--events", "events"]
    ended, report = runner.report(*options, "--", "sh", "-c", "(exit 0) & (exit 0) & (exit 0); :")
    told = [json.loads(line) for line in (runner.directory / "events").read_text().splitlines()]
    assert ended.exit_code == report["exit_code"]
    assert [event["kind"] for event in told][-1] == "job-end"
    limit = next(event for event in told if event["kind"] == "limit")
    assert (limit["hierarchy"], limit["fields"]["bound"], limit["fields"]["job"]) == ("load", 2, 1)


def test_what_a_job_was_refused_is_in_its_report_and_said_when_it_fails(runner: Runner) -> None:
    bomb = ["sh", "-c", "(exit 0); exit 3"]
    ended, report = runner.report("--max-tasks", "1", "--", *bomb)
    (job,) = report["jobs"]
    refused = {"container": "load:/job", "resource": "tasks", "limit": 1, "held": 1, "times": 1}
    assert job["refusals"] == [refused]
    assert ended.errors.splitlines()[-1] == (
        "governor: sh was refused tasks at load:/job once (limit 1, held 1)"
    )
    ended, report = runner.report("--max-tasks", "9", "--", *bomb)
    assert (ended.errors, report["jobs"][0]["refusals"]) == ("", [])
