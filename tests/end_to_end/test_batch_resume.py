"""A batch that was killed, interrupted or failed, and how ``--resume`` goes on with it.

The oracle is a file to which every job appends its name when it is done.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from governor.batch import history
from governor.report import OK
from tests.end_to_end.batches import LOAD, Bench, Ended, job
from tests.end_to_end.runner import Runner
from tests.process.helpers import children, eventually, exists

pytestmark = pytest.mark.once

# It hangs in a call that is not trapped: trapped ones fail when all of governor has gone.
HANGS_ONCE = """
test -p block || mkfifo block
exec 3<>block
echo $$ > pid
test -e go || { echo ready > ready; read forever <&3; }
echo b >> ran
"""
JOBS = (
    job("a", "echo a >> ran")
    + job("b", HANGS_ONCE)
    + job("c", "echo c >> ran", containers='["load:/small"]')
)


def ran(bench: Bench) -> Counter[str]:
    """How often each job has come to its end."""
    return Counter((bench.directory / "ran").read_text().split())


def record(bench: Bench) -> Path:
    return bench.directory / "batch.toml.record"


def resume(bench: Bench, text: str = LOAD + JOBS) -> Ended:
    """Let jobs come to their end, and go on."""
    (bench.directory / "go").touch()
    return bench.run(text, "--resume", "--jobs=1")


def until_b_hangs(bench: Bench) -> subprocess.Popen[str]:
    process = bench.start(LOAD + JOBS, "--jobs=1")
    bench.until_ready()
    return process


def parts(process: subprocess.Popen[str], job: int) -> dict[str, int]:
    """The processes of a batch that are governor's, while this is the only job's."""
    (supervisor,) = children(process.pid)
    (spawner,) = children(supervisor)
    (agent,) = set(children(spawner)) - {job}
    return {"batch": process.pid, "supervisor": supervisor, "spawner": spawner, "agent": agent}


def signal_all(pids: Iterable[int], *signals: signal.Signals) -> None:
    for number in signals:
        for pid in pids:
            os.kill(pid, number)


def earlier(bench: Bench) -> set[str]:
    return {job["name"] for job in bench.report()["jobs"] if job["earlier"]}


@pytest.mark.parametrize(
    "victims",
    [
        ("batch",),
        ("supervisor",),
        ("spawner", "batch"),
        ("batch", "supervisor", "spawner"),
        ("batch", "supervisor", "spawner", "agent"),
    ],
    ids="+".join,
)
def test_whatever_is_killed_each_job_succeeds_once(bench: Bench, victims: tuple[str, ...]) -> None:
    process = until_b_hangs(bench)
    hanging = int((bench.directory / "pid").read_text())
    found = parts(process, hanging)
    # At once: none of them sees another one's end.
    signal_all((found[name] for name in victims), signal.SIGSTOP)
    signal_all((found[name] for name in victims), signal.SIGKILL)
    bench.end(process)
    if len(victims) < len(found):
        eventually(lambda: not bench.mark.processes(), "everything has ended with the batch")
    else:
        assert hanging in bench.mark.processes()  # nobody is left to end it

    ended = resume(bench)

    assert (ended.exit_code, ended.errors) == (0, "")
    assert ended.output.splitlines()[:2] == [
        "1 of 3 jobs succeeded earlier and are not run again",
        "running again: b (had not ended)",
    ]
    assert ran(bench) == {"a": 1, "b": 1, "c": 1}
    assert earlier(bench) == {"a"}
    assert set(bench.statuses().values()) == {OK}
    assert "(done earlier)" in ended.output
    assert hanging not in bench.mark.processes()


def recorded(bench: Bench) -> set[str]:
    """The jobs whose success is on record."""
    jobs = history.read(record(bench).read_bytes()).jobs.items()
    return {n for n, e in jobs if isinstance(e, history.Ended) and e.report.status == OK}


def until_recorded(bench: Bench, process: subprocess.Popen[str]) -> None:
    """Wait until a batch that is killed leaves nothing that the next one does not know of."""

    def is_recorded() -> bool:
        run = history.read(record(bench).read_bytes()).run if record(bench).exists() else None
        return run is not None and run.pid == process.pid

    eventually(is_recorded, "the batch is on record")


def test_killed_again_and_again(bench: Bench) -> None:
    """What was told to have succeeded never runs again, whenever the batch is killed."""
    names = [f"job-{number}" for number in range(24)]
    # Nobody ever writes to the FIFO: however late it is killed, a batch has jobs left.
    wait = "test -e may-{name} || read x < ready; echo {name} >> ran"
    text = "".join(job(name, wait.format(name=name)) for name in names)
    done: dict[str, int] = {}
    kills = (0, 1, 5, 9)
    allowed = 0
    for lines in kills:
        allowed += lines + 2  # so that some may end while it is killed
        for name in names[:allowed]:
            (bench.directory / f"may-{name}").touch()
        process = bench.start(text, "--jobs=3", "--resume")
        until_recorded(bench, process)
        assert process.stdout is not None
        told: set[str] = set()
        while len(told) < lines:
            line = process.stdout.readline()
            assert line, bench.end(process)
            if line.startswith("["):
                told.add(line.split("]")[1].split()[1])
        process.kill()
        bench.end(process)
        eventually(lambda: not bench.mark.processes(), "everything has ended with the batch")
        assert told <= recorded(bench)
        assert not told & set(done)
        done = {name: ran(bench)[name] for name in recorded(bench)}

    for name in names:
        (bench.directory / f"may-{name}").touch()
    ended = bench.run(text, "--jobs=3", "--resume")

    assert ended.exit_code == 0, ended
    counts = ran(bench)
    assert {name: counts[name] for name in done} == done
    assert set(counts) == set(names)
    # Three at once may have come to their end without that having been recorded, at each kill.
    assert sum(counts.values()) <= len(names) + 3 * len(kills)
    assert earlier(bench) == set(done)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_says_how_to_go_on(bench: Bench, signum: signal.Signals) -> None:
    process = until_b_hangs(bench)
    os.killpg(process.pid, signum)
    ended = bench.end(process)
    assert ended.exit_code == 128 + signum
    last = ended.output.splitlines()[-1]
    assert last == (
        f"to run what has not succeeded: governor batch --resume {bench.directory / 'batch.toml'}"
    )

    ended = resume(bench)

    assert ended.exit_code == 0
    assert "running again: b (interrupted)" in ended.output
    assert "to run what has not succeeded" not in ended.output
    assert ran(bench) == {"a": 1, "b": 1, "c": 1}


def test_the_rest_of_a_killed_batch_is_waited_for(bench: Bench) -> None:
    text = job("b", "test -e pid && kill -0 $(cat pid) && echo overlap >> ran" + HANGS_ONCE)
    process = bench.start(text)
    bench.until_ready()
    process.kill()
    (bench.directory / "go").touch()
    assert bench.run(text, "--resume").exit_code == 0
    assert ran(bench) == {"b": 1}
    bench.end(process)


def test_two_batches_at_once(bench: Bench) -> None:
    process = until_b_hangs(bench)
    for options in ([], ["--resume"]):
        ended = bench.run(LOAD + JOBS, *options)
        assert (ended.exit_code, ended.output) == (125, "")
        assert f"batch.toml.record is in use by another batch (process {process.pid})" in (
            ended.errors
        )
    assert ran(bench) == {"a": 1}
    (bench.directory / "go").touch()
    ended = bench.run(LOAD + JOBS, f"--record={bench.directory / 'other'}")
    assert ended.exit_code == 0
    process.send_signal(signal.SIGINT)
    assert bench.end(process).exit_code == 130
    assert recorded(bench) == {"a"}


def test_a_copy_of_the_record_of_a_batch_that_runs(bench: Bench) -> None:
    """It says whose jobs there are, but these are no leftovers."""
    process = until_b_hangs(bench)
    hanging = int((bench.directory / "pid").read_text())
    copy = shutil.copyfile(record(bench), bench.directory / "copy")
    (bench.directory / "go").touch()
    ended = bench.run(LOAD + JOBS, "--resume", f"--record={copy}")
    assert ended.exit_code == 0
    assert ran(bench) == {"a": 1, "b": 1, "c": 1}
    assert process.poll() is None
    assert exists(hanging)
    process.send_signal(signal.SIGINT)
    assert bench.end(process).exit_code == 130


def test_failed_and_changed_jobs_run_again_and_others_do_not(bench: Bench) -> None:
    jobs = {name: f"echo {name} >> ran" for name in "abc"} | {"d": "echo d >> ran; test -e go"}

    def text(limit: int) -> str:
        given = [job(name, command, containers='["load:/small"]') for name, command in jobs.items()]
        return LOAD.replace("8", str(limit)) + "".join(given)

    assert bench.run(text(8)).exit_code == 1
    jobs["b"] += "; true"
    ended = resume(bench, text(9))  # another limit makes no other jobs of them
    assert ended.exit_code == 0
    assert ended.output.startswith(
        "2 of 4 jobs succeeded earlier and are not run again\n"
        "running again: b (changed since), d (failed)\n[3/4] ok      b "
    )
    assert ran(bench) == {"a": 1, "b": 2, "c": 1, "d": 2}

    ended = resume(bench, text(9))
    assert ended.output.startswith("all jobs succeeded earlier: nothing is left to run\n")
    assert (ended.exit_code, bench.report()["exit_code"], ran(bench)["a"]) == (0, 0, 1)
    assert earlier(bench) == set(jobs)


def test_without_a_record_everything_runs(bench: Bench) -> None:
    ended = resume(bench)
    assert ended.exit_code == 0
    told = " ".join(ended.output.split())
    assert told.startswith(f"no earlier run is on record in {record(bench)}: all jobs ")
    assert ran(bench) == {"a": 1, "b": 1, "c": 1}


def test_who_forgets_to_resume_loses_no_record(bench: Bench) -> None:
    process = until_b_hangs(bench)
    process.send_signal(signal.SIGINT)
    bench.end(process)
    before = record(bench).read_bytes()
    (bench.directory / "go").touch()
    ended = bench.run(LOAD + JOBS)
    old = bench.directory / "batch.toml.record.old"
    assert " ".join(ended.output.split()).startswith(
        "starting anew: 1 of 3 jobs had succeeded, which --resume would not run again; that is "
        f"kept in {old}"
    )
    assert old.read_bytes() == before
    assert ran(bench)["a"] == 2


def test_a_torn_record_is_used(bench: Bench) -> None:
    process = until_b_hangs(bench)
    process.send_signal(signal.SIGINT)
    bench.end(process)
    with record(bench).open("ab") as file:
        file.write(b'1234abcd {"event": "en')
    ended = resume(bench)
    assert ended.exit_code == 0
    told = " ".join(ended.output.split())
    assert told.startswith(f"the last line of {record(bench)} was cut short: it is left out")
    assert ran(bench) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_what_is_no_record_is_left_alone(bench: Bench, options: list[str]) -> None:
    record(bench).write_text("my notes\n")
    ended = bench.run(LOAD + JOBS, *options)
    assert (ended.exit_code, ended.output) == (2, "")
    assert ended.errors == (
        f"{record(bench)}:1: this is not a record of governor batch; choose another file by "
        "--record\ngovernor: 1 mistake; nothing was started\n"
    )
    assert record(bench).read_text() == "my notes\n"
    assert not (bench.directory / "ran").exists()


def test_a_damaged_record_is_not_resumed(bench: Bench) -> None:
    resume(bench)
    lines = record(bench).read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"ok", b"ko").replace(b"began", b"begun")
    record(bench).write_bytes(b"".join(lines))
    ended = bench.run(LOAD + JOBS, "--resume")
    assert ended.exit_code == 2
    assert f"{record(bench)}:4: this line is damaged" in ended.errors
    ended = bench.run(LOAD + JOBS)
    assert ended.exit_code == 0
    told = " ".join(ended.output.split())
    assert told.startswith(f"starting anew; {record(bench)}:4 is damaged, so it is kept ")


def test_a_place_that_cannot_be_written(bench: Bench) -> None:
    record(bench).mkdir()
    (bench.directory / "go").touch()
    ended = bench.run(LOAD + JOBS)
    assert (ended.exit_code, ended.errors) == (0, "")
    assert ended.output.startswith("no record is kept, so that --resume will not work: ")
    assert "--resume" not in ended.output.splitlines()[-1]
    ended = bench.run(LOAD + JOBS, "--resume")
    assert ended.exit_code == 2
    assert "batch.toml.record: cannot be written: Is a directory; choose another" in ended.errors


def test_jobs_do_not_suffer_from_a_full_disk(bench: Bench) -> None:
    gate = bench.directory / "gate"
    os.mkfifo(gate)
    text = job("a", "echo ready > ready; cat gate; echo a >> ran") + job("b", "cat gate")
    process = bench.start(text, "--jobs=1")
    bench.until_ready()
    room = record(bench).stat().st_size + 5
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    gate.write_text("go")
    assert process.stdout is not None
    told = process.stdout.readline()
    assert told == (
        f"governor: cannot record in {record(bench)}: File too large; the jobs go on, but --resume "
        "may run them again\n"
    )
    assert process.stdout.readline().startswith("[1/2] ok      a ")
    assert history.read(record(bench).read_bytes()).torn

    limits = resource.RLIM_INFINITY, resource.RLIM_INFINITY
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
    gate.write_text("go")
    ended = bench.end(process)
    assert (ended.exit_code, ended.errors) == (0, "")
    assert "cannot record" not in ended.output
    assert "does not have all" not in ended.output
    assert recorded(bench) == {"a", "b"}


def test_what_is_read_from_a_pipe_has_no_record_and_runs_here(runner: Runner) -> None:
    (runner.directory / "batch.toml").write_text(job("a", "touch here", stdin='"batch.toml"'))
    for through in ("cat batch.toml | governor batch /dev/stdin", "governor batch - <batch.toml"):
        ended = runner.through(through)
        assert (ended.exit_code, ended.errors) == (0, "")
        (runner.directory / "here").unlink()
    assert not os.path.exists("/dev/stdin.record")
    ended = runner.through("cat batch.toml | governor batch --resume /dev/stdin")
    assert ended.exit_code == 2
    assert ended.errors.startswith("/dev/stdin: is no file that a record could lie beside; ")
    for _ in range(2):
        ended = runner.through("cat batch.toml | governor batch --resume --record r /dev/stdin")
        assert ended.exit_code == 0
    assert ended.output.startswith("all jobs succeeded earlier")
