"""The job log: what GNU parallel writes, whatever the disk and the file before were like."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from governor.batch.joblog import HEADER, Joblog, line, written
from governor.batch.plan import BatchPlan, JobPlan
from governor.errors import GovernorError
from governor.report import JobReport

BEGAN_AT = 1795381000.25
OK = JobReport("a", ["echo", "a b"], [], "ok", 0, None, 1.5, began_seconds=0.75)


def columns(report: JobReport) -> list[str]:
    return line(3, report, BEGAN_AT, 12).decode().rstrip("\n").split("\t")


def test_the_header_is_that_of_gnu_parallel() -> None:
    assert HEADER == (
        b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
    )


def test_a_line_has_the_formats_of_gnu_parallel() -> None:
    assert columns(OK) == [
        "3",
        ":",
        "1795381001.000",
        "     1.500",
        "0",
        "12",
        "0",
        "0",
        "echo 'a b'",
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "failed", "exit_code": 3}, ["3", "0"]),
        ({"status": "failed", "exit_code": 137, "signal": 9}, ["0", "9"]),
        ({"status": "timeout", "exit_code": 124, "signal": 15, "timed_out": True}, ["-1", "15"]),
        ({"status": "timeout", "exit_code": 124, "timed_out": True}, ["-1", "0"]),
        ({"status": "failed", "exit_code": 127}, ["127", "0"]),
        ({"status": "failed", "exit_code": 0, "unmet": "no file"}, ["1", "0"]),
        ({"status": "ok", "exit_code": 3}, ["3", "0"]),
    ],
)
def test_exit_values_and_signals(fields: dict[str, object], expected: list[str]) -> None:
    report = OK._replace(**fields)  # type: ignore[arg-type]
    assert columns(report)[6:8] == expected


def test_commands_are_what_one_would_type_on_one_line() -> None:
    assert written(("/bin/sh", "-c", "a | b")) == "a | b"
    assert written(("make", "-j 4")) == "make '-j 4'"
    shell = OK._replace(command=("/bin/sh", "-c", "a\nb"))
    assert columns(shell)[8] == "a\0b"
    raw = OK._replace(command=[os.fsdecode(b"\xff")])
    assert line(1, raw, 0, 0).endswith(b"'\xff'\n")


def plan() -> BatchPlan:
    jobs = [JobPlan(name, ("x",), (), "/", {}, None, None, None, None) for name in "ab"]
    return BatchPlan("f.toml", "t", (), tuple(jobs))


def keep(path: Path, *reports: JobReport, resume: bool = False) -> list[str]:
    """Write a log of these reports; returns what was said meanwhile and at the end."""
    said: list[str] = []
    log = Joblog(str(path), resume)
    log.begin(plan(), BEGAN_AT, lambda _: 0, said.append)
    for report in reports:
        log.finished(report)
    return [*said, *filter(None, [log.close()])]


def test_a_run_begins_anew_and_a_resumed_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("something else\n")
    assert keep(path, OK, OK._replace(name="b")) == []
    first = path.read_bytes()
    assert first.startswith(HEADER + b"1\t:\t")
    assert first.split(b"\n")[2].startswith(b"2\t:\t")
    keep(path, OK, resume=True)
    assert path.read_bytes() == first + first.split(b"\n")[1] + b"\n"
    keep(path, OK)
    assert path.read_bytes().count(b"\n") == 2


def test_where_there_is_no_log_a_resumed_run_begins_one(tmp_path: Path) -> None:
    keep(tmp_path / "log", OK, resume=True)
    assert (tmp_path / "log").read_bytes().startswith(HEADER)


def test_who_goes_on_from_a_log_runs_what_had_no_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    others = [OK._replace(status=status) for status in ("interrupted", "not run", "skipped")]
    assert keep(path, *others) == []
    assert path.read_bytes() == HEADER


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious\n")
    for name, resume, number in (
        ("absent/log", False, errno.ENOENT),
        (".", False, errno.EISDIR),
        ("other", True, errno.EINVAL),
    ):
        with pytest.raises(GovernorError, match="cannot write the job log") as caught:
            Joblog(str(tmp_path / name), resume)
        assert caught.value.errno == number
    assert other.read_text() == "precious\n"
    Joblog(str(other), False).close()
    assert other.read_text() == "precious\n"  # nothing is lost before anything runs


def test_a_full_disk_is_told_once_and_lines_wait(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    said = keep(Path("/dev/full"), OK, OK._replace(name="b"))
    assert said == [
        "governor: cannot write the job log /dev/full: No space left on device; jobs go on",
        "the job log /dev/full lacks lines",
    ]
