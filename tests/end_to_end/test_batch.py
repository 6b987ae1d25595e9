"""``governor batch`` as a user meets it: what it prints, returns and writes, and leaves behind."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys

import pytest

from tests.capabilities import need
from tests.end_to_end.batches import DEADLINE, HANGS, LOAD, Bench, job
from tests.end_to_end.prometheus import free_port

IGNORES_TERM = "trap '' TERM; echo ready > ready; while :; do sleep 1000; done"


BOMB = """\
import os, signal
children = []
for _ in range(20):
    try:
        pid = os.fork()
    except BlockingIOError:
        continue
    if pid == 0:
        signal.pause()
    children.append(pid)
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
assert 0 < len(children) < 8
"""


def test_a_batch_that_succeeds(bench: Bench) -> None:
    jobs = job("one", "echo hello", containers='["load:/small"]') + job("two", "true")

    ended = bench.run(LOAD + jobs, "--jobs=1")

    assert (ended.exit_code, ended.errors) == (0, "")
    first, second, *_ = ended.output.splitlines()
    assert first.startswith("[1/2] ok      one ")
    assert second.startswith("[2/2] ok      two ")
    assert "\x1b" not in ended.output
    report = bench.report()
    assert (report["exit_code"], report["signal"]) == (0, None)
    one = report["jobs"][0]
    assert one["command"] == ["/bin/sh", "-c", "echo hello"]
    assert one["containers"] == ["load:/small"]
    assert (one["status"], one["exit_code"], one["timed_out"]) == ("ok", 0, False)
    assert set(report["enforcement"]) >= {"numtasks", "numfiles"}
    small = {c["path"]: c["files"] for c in report["containers"] if c["hierarchy"] == "load"}
    assert small["/small"]["numtasks.limit"] == 8
    assert small["/small"]["numtasks.held"] == 0


@pytest.mark.once
def test_jobs_get_the_surroundings_that_the_file_says(bench: Bench) -> None:
    (bench.directory / "sub").mkdir()
    (bench.directory / "in").write_text("from the file\n")
    text = job(
        "a",
        "cat; pwd; echo $A $PATH; echo oops >&2; touch $GOVERNOR_JOB_DIR/x",
        cwd='"sub"',
        env='{ A = "b c" }',
        stdin='"in"',
        stdout='"out"',
        stderr='"err"',
    )

    assert bench.run(text).exit_code == 0

    lines = (bench.directory / "out").read_text().splitlines()
    assert lines[:2] == ["from the file", str(bench.directory / "sub")]
    assert lines[2] == f"b c {os.environ['PATH']}"
    assert (bench.directory / "err").read_text() == "oops\n"


@pytest.mark.once
def test_a_job_reads_text_that_is_in_the_file(bench: Bench) -> None:
    given = {"stdin_text": '"""{n} of\nmany\n"""', "stdout": '"out-{n}"'}
    assert bench.run(job("a-{n}", "cat", matrix="{ n = [1, 2] }", **given)).exit_code == 0
    assert [(bench.directory / f"out-{n}").read_text() for n in "12"] == [
        f"{n} of\nmany\n" for n in "12"
    ]


@pytest.mark.once
def test_jobs_that_fail_are_told_with_the_end_of_their_output(bench: Bench) -> None:
    text = (
        job("bad", "seq 100; exit 3")
        + job("slow", "exec sleep 1000", timeout='"300ms"')
        + job("shot", "kill -9 $$")
        + job("good", "true")
        + '[[jobs]]\nname = "lost"\ncommand = ["./no-such-program"]\n'
    )

    ended = bench.run(text, "--jobs=2")

    assert (ended.exit_code, ended.errors) == (1, "")
    assert bench.statuses() == {
        "bad": "failed",
        "slow": "timeout",
        "shot": "failed",
        "good": "ok",
        "lost": "failed",
    }
    codes = {job["name"]: (job["exit_code"], job["signal"]) for job in bench.report()["jobs"]}
    assert codes["bad"] == (3, None)
    assert codes["shot"] == (137, 9)
    assert (codes["slow"][0], codes["lost"][0]) == (124, 127)
    assert "bad: exit 3; the end of its output:\n  81\n" in ended.output
    assert "  80\n" not in ended.output
    assert "killed by SIGKILL" in ended.output


def test_who_was_refused_what_is_said(bench: Bench) -> None:
    (bench.directory / "bomb.py").write_text(BOMB)
    command = f"exec {sys.executable} bomb.py"

    ended = bench.run(LOAD + job("bomb", command, containers='["load:/small"]'))

    assert ended.exit_code == 0, ended.output
    report = bench.report()
    need(report["enforcement"]["numtasks"] == "enforced", "numtasks is not enforced on this host")
    files = {c["path"]: c["files"] for c in report["containers"]}["/small"]
    assert files["numtasks.maxheld"] <= 8
    assert files["numtasks.failcnt"] > 0
    assert f"load:/small refused {files['numtasks.failcnt']} fork" in ended.output
    assert "at its limit of 8 tasks" in ended.output


def test_a_job_is_limited_in_two_instances_of_a_subsystem(bench: Bench) -> None:
    text = """
    [hierarchies.who]
    subsystems = ["all"]
    containers."/ada" = { "numtasks.limit" = 8 }
    [hierarchies.projects]
    subsystems = ["numtasks@projects"]
    containers."/sums" = { "numtasks.limit" = 2 }
    """
    script = "sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait"

    ended = bench.run(text + job("forks", script, containers='["who:/ada", "projects:/sums"]'))

    report = bench.report()
    need(report["enforcement"]["numtasks"] == "enforced", "numtasks is not enforced on this host")
    files = {f"{c['hierarchy']}:{c['path']}": c["files"] for c in report["containers"]}
    assert files["projects:/sums"]["numtasks.limit"] == 2
    assert (files["who:/ada"]["numtasks.limit"], files["who:/ada"]["numtasks.failcnt"]) == (8, 0)
    tables, _, _ = ended.output.partition("to run what has not succeeded: ")
    assert max(map(len, tables.splitlines())) <= 80


@pytest.mark.once
def test_a_file_with_mistakes_starts_nothing(bench: Bench) -> None:
    text = LOAD.replace("= 8", "= -8") + job("a", "touch started", timeout='"soon"')

    ended = bench.run(text)

    assert (ended.exit_code, ended.output) == (2, "")
    first, second, last = ended.errors.splitlines()
    assert first.startswith(f"{bench.directory}/batch.toml:4: numtasks.limit: -8 is not a count")
    assert second.startswith(f'{bench.directory}/batch.toml:8: "soon" is not a duration')
    assert last == "governor: 2 mistakes; nothing was started"
    assert not bench.report_file.exists()
    assert not (bench.directory / "started").exists()


@pytest.mark.once
def test_a_report_that_cannot_be_written_is_found_before_anything_starts(bench: Bench) -> None:
    ended = bench.run(job("a", "touch started"), "--report=absent/report.json")
    assert ended.exit_code == 2
    [line] = ended.errors.splitlines()
    assert "cannot write the report absent/report.json: No such file or directory" in line
    assert not (bench.directory / "started").exists()


@pytest.mark.once
def test_a_port_in_use_is_found_before_anything_starts(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = bench.run(job("a", "touch started"), f"--metrics={port}")
    assert ended.exit_code == 125
    [line] = ended.errors.splitlines()
    assert str(port) in line
    assert not (bench.directory / "started").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    ("option", "piece"),
    [
        ("--jobs=0", "is not a number of jobs"),
        ("--jobs=x", "is not a number of jobs"),
        ("--metrics=65536", "allowed are 1 to 65535"),
        ("--grace=soon", "is not a duration"),
    ],
)
def test_a_wrong_option_is_a_usage_error(bench: Bench, option: str, piece: str) -> None:
    ended = bench.run(job("a", "touch started"), option)
    assert ended.exit_code == 2
    assert piece in ended.errors
    assert not (bench.directory / "started").exists()


@pytest.mark.once
def test_metrics_are_served_while_the_jobs_run(bench: Bench) -> None:
    port = free_port()
    fetch = (
        "import urllib.request as u;"
        f"print(u.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
    )
    text = f'{LOAD}[[jobs]]\nname = "a"\ncommand = ["{sys.executable}", "-c", "{fetch}"]\n'
    ended = bench.run(text + 'stdout = "metrics"\n', f"--metrics={port}")
    assert ended.exit_code == 0, ended.output
    metrics = (bench.directory / "metrics").read_text()
    assert 'hierarchy="load"' in metrics
    assert 'container="/small"' in metrics


@pytest.mark.once
@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_batch_ends_its_jobs_and_reports(
    bench: Bench, signum: signal.Signals, exit_code: int
) -> None:
    process = bench.start(
        job("first", "true") + job("second", HANGS) + job("third", "touch started"), "--jobs=1"
    )
    bench.until_ready()
    os.killpg(process.pid, signum)
    ended = bench.end(process)

    assert ended.exit_code == exit_code, ended.errors
    assert bench.statuses() == {"first": "ok", "second": "interrupted", "third": "not run"}
    report = bench.report()
    assert (report["exit_code"], report["signal"]) == (exit_code, signum)
    assert (report["jobs"][1]["exit_code"], report["jobs"][1]["signal"]) == (143, signal.SIGTERM)
    assert "second  interrupted" in ended.output
    assert not (bench.directory / "started").exists()


@pytest.mark.once
def test_a_job_that_ignores_term_is_killed_after_the_grace_time(bench: Bench) -> None:
    process = bench.start(job("stubborn", IGNORES_TERM), "--grace=100ms")
    bench.until_ready()
    process.send_signal(signal.SIGINT)
    assert bench.end(process).exit_code == 130
    assert bench.report()["jobs"][0]["signal"] == signal.SIGKILL


@pytest.mark.once
def test_a_second_interrupt_does_not_wait_for_the_grace_time(bench: Bench) -> None:
    process = bench.start(job("stubborn", IGNORES_TERM), "--grace=1h")
    bench.until_ready()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ending 1 running job: ")
    process.send_signal(signal.SIGINT)
    assert bench.end(process).exit_code == 130
    assert bench.statuses() == {"stubborn": "interrupted"}


@pytest.mark.once
def test_a_reader_that_goes_away_ends_the_batch(bench: Bench) -> None:
    read_end, write_end = os.pipe()
    process = bench.start(
        job("first", "echo ready > ready") + job("second", "exec sleep 1000"),
        "--jobs=2",
        stdout=write_end,
    )
    os.close(write_end)
    os.close(read_end)
    bench.until_ready()
    ended = bench.end(process)
    assert (ended.exit_code, ended.errors) == (128 + signal.SIGPIPE, "")
    assert bench.statuses() == {"first": "ok", "second": "interrupted"}


def read_terminal(terminal: int, process: subprocess.Popen[str], until: str = "") -> str:
    """Read what appears on a terminal, up to and with ``until`` or to the end of ``process``.

    What there is may end within a letter: that of a bar, say.
    """
    text = b""
    while not (until and until.encode() in text):
        ready, _, _ = select.select([terminal], [], [], DEADLINE)
        assert ready, f"{until!r} did not appear in {text!r}"
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: the last process on the other side has gone
            data = b""
        if not data:
            break
        text += data
    return text.decode(errors="replace")


@pytest.mark.once
def test_a_terminal_shows_a_live_block_and_is_left_as_it_was(bench: Bench) -> None:
    terminal, other_side = pty.openpty()
    try:
        process = bench.start(
            'title = "My batch"\n' + LOAD + job("slow", HANGS, containers='["load:/small"]'),
            stdin=other_side,
            stdout=other_side,
            stderr=subprocess.PIPE,
        )
        os.close(other_side)
        bench.until_ready()
        shown = read_terminal(terminal, process, "load:/small  tasks ")
        assert "\x1b[?25l" in shown
        assert "My batch" in shown
        assert "slow" in shown
        process.send_signal(signal.SIGINT)
        rest = read_terminal(terminal, process)
        assert bench.end(process).exit_code == 130
    finally:
        os.close(terminal)
    assert "\x1b[?25h" in rest
    assert rest.rindex("\x1b[?25h") > (shown + rest).rfind("\x1b[?25l") - len(shown)
    assert "interrupted" in rest
