"""The JSON report and the summary: nothing missing or half-written, refusals in plain sight."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from governor import report
from governor.api import ContainerReport, JobResult, Refusal
from governor.errors import GovernorError
from governor.report import JobReport, Report, check_writable, job_report, to_json, write
from governor.summary import job_refusals, refusals, summarize
from governor.table import Column, render


def result(exit_code: int, signal: int | None = None, timed_out: bool = False) -> JobResult:
    return JobResult(exit_code, signal, 1.5, 0.25, timed_out, None)


def counted(
    held: int, limit: int | str, failcnt: int, resource: str = "numtasks"
) -> dict[str, int | str]:
    return {
        f"{resource}.held": held,
        f"{resource}.maxheld": 24,
        f"{resource}.limit": limit,
        f"{resource}.failcnt": failcnt,
    }


BOB = ContainerReport("load", "/students/bob", {"numtasks": "enforced"}, counted(0, 24, 2316))
ROOT = ContainerReport("load", "/", {"numtasks": "enforced"}, counted(0, "max", 0))
CPU = ContainerReport("cpu", "/", {}, {"cpuset.cpus": "0-1", "cpuacct.usage": 61_400_000_000})
JOBS = [
    JobReport("build", ["make"], ["load:/"], "ok", 0, None, 12.34, 20.0),
    JobReport(
        "bomb",
        ["sh", "-c", ":"],
        ["load:/students/bob"],
        "timeout",
        124,
        9,
        90.0,
        1.0,
        True,
        "x",
        refusals=[Refusal("load:/students/bob", "tasks", 8, 8, 2317)],
    ),
    JobReport("late", ["true"], [], "not run"),
]
REPORT = Report(1, None, 102.5, JOBS, {"numtasks": "enforced"}, [ROOT, BOB, CPU])


def test_the_json_has_the_documented_keys() -> None:
    value = json.loads(json.dumps(to_json(REPORT)))
    assert list(value) == [
        "exit_code",
        "signal",
        "wall_seconds",
        "jobs",
        "enforcement",
        "containers",
        "title",
        "began_at",
        "samples",
    ]
    assert value["jobs"][1] == {
        "name": "bomb",
        "command": ["sh", "-c", ":"],
        "containers": ["load:/students/bob"],
        "status": "timeout",
        "exit_code": 124,
        "signal": 9,
        "wall_seconds": 90.0,
        "cpu_seconds": 1.0,
        "timed_out": True,
        "error": "x",
        "unenforced": None,
        "earlier": False,
        "began_seconds": None,
        "attempts": [],
        "cpu_timed_out": False,
        "unmet": None,
        "skipped": None,
        "refusals": [
            {
                "container": "load:/students/bob",
                "resource": "tasks",
                "limit": 8,
                "held": 8,
                "times": 2317,
            }
        ],
    }
    assert value["containers"][1] == {
        "hierarchy": "load",
        "path": "/students/bob",
        "level": {"numtasks": "enforced"},
        "files": counted(0, 24, 2316),
    }


@pytest.mark.parametrize(
    ("ended", "status", "expected"),
    [
        (result(0), None, "ok"),
        (result(3), None, "failed"),
        (result(124, 15, True), None, "timeout"),
        (result(143, 15), report.INTERRUPTED, "interrupted"),
        (result(0), report.INTERRUPTED, "ok"),
        (None, None, "not run"),
        (None, report.INTERRUPTED, "interrupted"),
    ],
)
def test_the_status_follows_from_the_result(
    ended: JobResult | None, status: str | None, expected: str
) -> None:
    assert job_report("a", ["x"], [], ended, status).status == expected


def test_a_report_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    reader = file.open()
    check_writable(str(file))
    assert file.read_text() == "old"

    write(REPORT, str(file))

    assert json.loads(file.read_text())["exit_code"] == 1
    assert reader.read() == "old"  # who reads the old one is not disturbed
    reader.close()
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    check_writable(str(tmp_path / "link"))
    write(REPORT, str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "real").read_text())["exit_code"] == 1


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    path = f"/proc/self/fd/{write_end}"
    check_writable(path)
    write(REPORT, path)
    os.close(write_end)
    with open(read_end) as reader:
        assert json.load(reader)["exit_code"] == 1
    check_writable("/dev/null")
    assert not os.path.isfile("/dev/null")


def test_a_destination_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, number in {
        "absent/report.json": errno.ENOENT,
        "file/report.json": errno.ENOTDIR,
        ".": errno.EISDIR,
        "x" * 300: errno.ENAMETOOLONG,
    }.items():
        path = str(tmp_path / name)
        with pytest.raises(GovernorError, match="cannot write the report") as caught:
            check_writable(path)
        assert caught.value.errno == number
        with pytest.raises(GovernorError, match="cannot write the report") as caught:
            write(REPORT, path)
        assert caught.value.errno == number
    assert os.listdir(tmp_path) == ["file"]


def test_the_summary_says_who_used_and_who_was_refused_what() -> None:
    assert (
        summarize(REPORT)
        == """\
job    status   exit    wall     cpu  containers
build  ok          0  12.3 s  20.0 s  load:/
bomb   timeout   124   1m30s   1.0 s  load:/students/bob (x)
late   not run

                    tasks
container           held  max  limit  refused
load:/                 0   24    max        0
load:/students/bob     0   24     24    2,316

container  cpus    cpu
cpu:/       0-1  1m01s

load:/students/bob refused 2,316 forks at its limit of 24 tasks

3 jobs: 1 ok, 1 timed out, 1 not run, in 1m42s"""
    )


def test_resources_stand_side_by_side_under_their_names() -> None:
    files = counted(1, 24, 0) | counted(2, 1024, 1, "numfiles")
    text = summarize(Report(0, None, 1, [], {}, [ContainerReport("load", "/a", {}, files)]))
    assert (
        text
        == """\
           tasks                      files
container  held  max  limit  refused  held  max  limit  refused
load:/a       1   24     24        0     2   24  1,024        1

load:/a refused 1 open at its limit of 1,024 files"""
    )


def test_a_third_party_resource_shows_up_as_well() -> None:
    container = ContainerReport("x", "/", {}, counted(1, 2, 3, "numlocks") | {"toy.colour": "red"})
    text = summarize(Report(0, None, 1, [], {}, [container]))
    assert "locks" in text
    assert "colour" in text
    assert "red" in text
    assert list(refusals([container])) == ["x:/ refused 3 requests at its limit of 2 locks"]


def test_a_refusal_names_the_barrier_where_there_is_one() -> None:
    files = counted(8, 24, 2) | {"numtasks.barrier": 8}
    container = ContainerReport("load", "/a", {}, files)
    assert list(refusals([container])) == [
        "load:/a refused 2 forks at its barrier of 8 or limit of 24 tasks"
    ]


def test_of_cpu_time_the_whole_is_shown_and_not_its_parts() -> None:
    files: dict[str, int | str] = {"cpuset.cpus": "0-1", "cpuacct.usage": 1_500_000_000}
    parts: dict[str, int | str] = {"cpuacct.usage_user": 5, "cpuacct.stat": "user 1\nsystem 2"}
    whole, both = (
        summarize(REPORT._replace(containers=[CPU._replace(files=shown)]))
        for shown in (files, files | parts)
    )
    assert both == whole


def containers(**files: list[int | str]) -> list[ContainerReport]:
    """A root and containers below it, with a control file's value for each."""
    paths = ("/", "/a", "/b")
    names = {name.replace("__", "."): values for name, values in files.items()}
    return [
        ContainerReport("x", path, {}, {name: values[i] for name, values in names.items()})
        for i, path in enumerate(paths)
    ]


def test_of_sets_and_flags_there_is_what_sets_containers_apart() -> None:
    shown = summarize(
        REPORT._replace(
            jobs=[],
            containers=containers(
                cpuset__cpus=["0-1", "0", "1"],
                cpuset__effective_cpus=["0-1", "0", "1"],
                cpuset__cpu_exclusive=[1, 0, 0],
                cpuset__mems=["0", "0", "0"],
                cpuset__memory_migrate=[0, 0, 1],
            ),
        )
    )
    assert shown == (
        "container  cpus  memory_migrate\n"
        "x:/         0-1               0\n"
        "x:/a          0               0\n"
        "x:/b          1               1"
    )


def test_what_nobody_used_or_limited_has_no_columns() -> None:
    unused: dict[str, int | str] = {"numpty.held": 0, "numpty.maxheld": 0, "numpty.limit": "max"}
    files = counted(1, 2, 0) | unused
    assert "terminals" not in summarize(
        REPORT._replace(containers=[BOB._replace(files=files)], jobs=[])
    )
    assert "terminals" in summarize(
        REPORT._replace(containers=[BOB._replace(files=files | {"numpty.limit": 3})], jobs=[])
    )
    assert summarize(REPORT._replace(containers=[BOB._replace(files=unused)], jobs=[])) == ""


def test_tables_of_many_resources_are_divided_at_80_columns() -> None:
    files: dict[str, int | str] = {}
    for resource in ("numtasks", "numfiles", "numsock", "physpages", "rsspages"):
        files |= counted(1_000_000, 2_000_000, 0, resource)
    text = summarize(REPORT._replace(containers=[BOB._replace(files=files)], jobs=[]))
    assert max(map(len, text.split("\n"))) <= 80
    assert text.count("load:/students/bob") == text.count("container ") > 1
    for noun in ("tasks", "files", "sockets", "physpages", "rsspages"):
        assert noun in text


def test_a_job_that_ran_without_its_limits_is_named() -> None:
    job = job_report("a", ["x"], [], result(0)._replace(unenforced="no seccomp"))
    assert "a ran without its limits: no seccomp" in summarize(REPORT._replace(jobs=[job]))


def test_what_is_not_enforced_is_said() -> None:
    partial = BOB._replace(level={"numtasks": "partial"})
    text = summarize(
        REPORT._replace(
            containers=[partial], enforcement={"numtasks": "enforced", "cpuset": "observed"}
        )
    )
    assert "not enforced in full but observed (governor doctor says why): cpuset" in text
    assert "load:/students/bob: numtasks is only partial there" in text
    assert "enforced" not in summarize(REPORT)


def test_tables_have_no_trailing_blanks() -> None:
    text = render([Column("a", right=False), Column("b", right=False)], [["x", ""], ["long", "y"]])
    assert text == "a     b\nx\nlong  y"


def test_what_a_job_that_failed_was_refused_is_said() -> None:
    refused = (Refusal("load:/a", "tasks", 64, 64, 12), Refusal("load:/", "files", 9, 8, 1))
    jobs = [
        job_report("failed", ["a"], [], result(1)._replace(refusals=refused)),
        job_report("fine", ["a"], [], result(0)._replace(refusals=refused)),
        job_report("unborn", ["a"], [], result(125)._replace(error="x", refusals=refused)),
    ]
    assert list(job_refusals(jobs)) == [
        "failed was refused tasks at load:/a 12 times (limit 64, held 64)",
        "failed was refused files at load:/ once (limit 9, held 8)",
    ]
