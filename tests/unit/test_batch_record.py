"""The record of a batch: what its bytes say, whole, torn or damaged; and the file on disk."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.batch import record as record_module
from governor.batch.history import MAGIC, Began, Ended, Event, History, Run, Unreadable, read, write
from governor.batch.plan import BatchFileError, BatchPlan, JobPlan, Success
from governor.batch.record import Record, claim
from governor.batch.resume import Resumption, digest, resumption, sentences
from governor.batch.settled import found_in
from governor.errors import GovernorError
from governor.report import FAILED, INTERRUPTED, OK, Attempt, JobReport

NAMES = st.sampled_from(["a", "b", "c"])
TIMES = st.floats(0, 2e9)
# Names of files that are not UTF-8 reach messages as lone surrogates.
TEXTS = st.text() | st.just("\udcff\n\x00")
ATTEMPTS = st.builds(
    Attempt,
    st.sampled_from([OK, FAILED]),
    st.none() | st.integers(0, 255),
    st.none() | st.integers(1, 64),
    TIMES,
    TIMES,
    st.none() | TIMES,
    st.none() | TEXTS,
)
REPORTS = st.builds(
    JobReport,
    NAMES,
    st.lists(TEXTS),
    st.lists(TEXTS),
    st.sampled_from([OK, FAILED]),
    st.none() | st.integers(0, 255),
    st.none() | st.integers(1, 64),
    TIMES,
    TIMES,
    st.booleans(),
    st.none() | TEXTS,
    st.none() | TEXTS,
    earlier=st.booleans(),
    began_seconds=st.none() | TIMES,
    attempts=st.lists(ATTEMPTS, max_size=3).map(tuple),
    unmet=st.none() | TEXTS,
)
EVENTS = st.lists(
    st.builds(Run, TIMES, st.integers(1, 4_000_000), TEXTS, st.integers(0, 2**23), TEXTS, TEXTS)
    | st.builds(Began, TIMES, NAMES, TEXTS)
    | st.builds(Ended, TIMES, TEXTS, REPORTS),
    max_size=8,
)


def after(events: Sequence[Event]) -> tuple[Run | None, dict[str, Began | Ended]]:
    """The last run and the last event of every job, found otherwise than `read` does."""
    runs = [event for event in events if isinstance(event, Run)]
    jobs: dict[str, Began | Ended] = {}
    for event in events:
        if isinstance(event, Began):
            jobs[event.job] = event
        elif isinstance(event, Ended):
            jobs[event.report.name] = event
    return (runs[-1] if runs else None), jobs


def plain(event: Began | Ended | None) -> Any:
    """An event without the difference between tuples and lists."""
    if not isinstance(event, Ended):
        return event
    report = event.report
    return event._replace(
        report=report._replace(command=list(report.command), containers=list(report.containers))
    )


def says(history: History, events: Sequence[Event]) -> bool:
    run, jobs = after(events)
    found = {name: plain(event) for name, event in history.jobs.items()}
    return history.run == run and found == {name: plain(event) for name, event in jobs.items()}


@given(EVENTS)
def test_what_was_written_is_read(events: list[Event]) -> None:
    data = MAGIC + b"".join(map(write, events))
    history = read(data)
    assert (history.length, history.torn) == (len(data), False)
    assert says(history, events)


@given(EVENTS, st.data())
def test_of_a_torn_record_all_whole_lines_are_read(
    events: list[Event], data: st.DataObject
) -> None:
    lines = [MAGIC, *map(write, events)]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    history = read(whole[:cut])
    ends = [len(b"".join(lines[:number])) for number in range(len(lines) + 1)]
    kept = max(number for number, end in enumerate(ends) if end <= cut)
    assert (history.length, history.torn) == (ends[kept], ends[kept] != cut)
    assert says(history, events[: max(0, kept - 1)])


@given(EVENTS, st.data())
def test_a_flipped_bit_is_refused_or_taken_for_a_torn_tail(
    events: list[Event], data: st.DataObject
) -> None:
    lines = [MAGIC, *map(write, events)]
    whole = bytearray(b"".join(lines))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    before = next(n for n in range(len(lines)) if len(b"".join(lines[: n + 1])) > bit // 8)
    try:
        history = read(bytes(whole))
    except Unreadable as error:
        refused = error.line
    else:
        assert history.torn
        assert says(history, events[: before - 1])
        return
    assert refused == before + 1


@given(EVENTS, st.binary(min_size=1).filter(lambda tail: not MAGIC.startswith(tail)))
def test_any_bytes(events: list[Event], tail: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        read(tail)
    assert refused.value.line == 1
    history = read(MAGIC + b"".join(map(write, events)) + tail)
    assert history.torn
    assert says(history, events)


@pytest.mark.parametrize(
    "text",
    [
        '{"event": "run"}',
        '{"event": "other", "time": 1}',
        '{"event": ["run"]}',
        '{"event": "began", "time": "soon", "job": "a", "digest": "x"}',
        '{"event": "began", "time": 1, "job": "a", "digest": "x", "more": 1}',
        "[]",
        "1",
        "{",
        "\udcff",
    ],
)
def test_a_line_of_another_shape_is_damaged(text: str) -> None:
    import zlib

    data = text.encode(errors="surrogateescape")
    line = b"%08x %s\n" % (zlib.crc32(data), data)
    began = write(Began(1.0, "a", "x"))
    assert read(MAGIC + line).torn
    with pytest.raises(Unreadable) as refused:
        read(MAGIC + began + line + began)
    assert refused.value.line == 3


# -- which jobs run again ------------------------------------------------------------

JOB = JobPlan("a", ("x", "y"), (("load", "/b"),), "/", {"A": "b"}, 1.0, None, None, None)


def ended(job: JobPlan, status: str = OK) -> Ended:
    report = JobReport(job.name, job.argv, job.where, status, 0, None, 4.0, 2.0)
    return Ended(1.0, digest(job), report)


@pytest.mark.parametrize(
    "changed",
    [
        {"argv": ("x", "z")},
        {"argv": ("xy",)},
        {"cwd": "/tmp"},
        {"env": {"A": "c"}},
        {"env": {}},
        {"stdin": "/dev/zero"},
        {"stdin_text": ""},
        {"stdout": "/out"},
        {"stderr": "/out"},
    ],
)
def test_a_job_that_was_changed_is_another_one(changed: dict[str, Any]) -> None:
    history = History(1, False, None, {"a": ended(JOB)})
    assert resumption((JOB._replace(**changed),), history) == ({}, {"a": "changed since"})


def test_limits_container_and_timeout_make_no_other_job_of_it() -> None:
    history = History(1, False, None, {"a": ended(JOB)})
    moved = JOB._replace(containers=(("load", "/c"),), timeout=2.0)
    found = resumption((moved,), history)
    assert found.again == {}
    report = found.earlier["a"]
    assert (report.status, report.wall_seconds, report.earlier) == (OK, 4.0, True)
    assert report.containers == ("load:/c",)


def test_a_changed_input_makes_another_job(tmp_path: Path) -> None:
    path = tmp_path / "in"
    job = JOB._replace(stdin=str(path))
    seen = [digest(job)]
    for text in ("one", "other"):
        path.write_text(text)
        seen.append(digest(job))
    os.utime(path, ns=(1, 1))
    seen.append(digest(job))
    assert len(set(seen)) == 4
    assert digest(job) == seen[-1]


def test_why_jobs_run_again() -> None:
    jobs = tuple(JOB._replace(name=name) for name in "abcde")
    known: dict[str, Began | Ended] = {
        "a": ended(jobs[0]),
        "b": ended(jobs[1], FAILED),
        "c": ended(jobs[2], INTERRUPTED),
        "d": Began(1.0, "d", digest(jobs[3])),
        "gone": ended(JOB._replace(name="gone")),
    }
    found = resumption(jobs, History(1, False, None, known))
    assert list(found.earlier) == ["a"]
    assert found.again == {"b": "failed", "c": "interrupted", "d": "had not ended"}
    assert list(sentences(found, 5)) == [
        "1 of 5 jobs succeeded earlier and are not run again",
        "running again: b (failed), c (interrupted), d (had not ended)",
    ]
    assert list(sentences(Resumption(found.earlier, {}), 1)) == [
        "all jobs succeeded earlier: nothing is left to run"
    ]
    many = Resumption({}, {f"job-{number}": "failed" for number in range(1000)})
    assert "".join(sentences(many, 1000)).endswith("and 980 others")


def test_what_comes_after_a_job_that_runs_again_runs_again() -> None:
    a, b, c = (JOB._replace(name=name) for name in "abc")
    jobs = (c._replace(after=("b",)), b._replace(after=("a",)), a)

    def found(*names: str, **others: Began | Ended) -> Mapping[str, str]:
        known = {name: ended(JOB._replace(name=name)) for name in names} | others
        return resumption(jobs, History(1, False, None, known)).again

    assert found("a", "b", "c") == {}
    assert found("b", "c", a=ended(a, FAILED)) == {
        "c": "b runs before it",
        "b": "a runs before it",
        "a": "failed",
    }
    # b ran again, and the batch was killed before c did.
    assert found("a", "c", "b") == {"c": "b ran since"}
    assert found("c", "b") == {"c": "b runs before it", "b": "a runs before it"}


def test_what_a_success_was_is_looked_at_again(tmp_path: Path) -> None:
    def again(job: JobPlan) -> Mapping[str, str]:
        return resumption((job,), History(1, False, None, {"a": ended(JOB)})).again

    file = str(tmp_path / "out")
    assert again(JOB._replace(success=Success((0, 3)))) == {}
    assert again(JOB._replace(success=Success((3,)))) == {"a": "changed since"}
    assert again(JOB._replace(success=Success(files=(file,)))) == {"a": f"there is no {file}"}


def test_attempts_of_an_earlier_run_have_no_time_in_this_one() -> None:
    event = ended(JOB)
    tried = event.report._replace(attempts=(Attempt(FAILED, 1, None, 1.0, 1.0, 5.0),))
    known = History(1, False, None, {"a": event._replace(report=tried)})
    [attempt] = resumption((JOB,), known).earlier["a"].attempts
    assert (attempt.exit_code, attempt.began_seconds) == (1, None)

    failed = History(1, False, None, {"a": event._replace(report=tried._replace(status=FAILED))})
    [attempt] = (
        found_in(failed, BatchPlan("b", "b", (), (JOB,)), settled=True).earlier["a"].attempts
    )
    assert attempt.began_seconds is None


# -- the file ------------------------------------------------------------------------


class Played:
    """A governor whose processes nobody will ever look for."""

    nonce = 0
    directory = path = "/nonexistent"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "batch.toml.record")


def begun(path: str, resume: bool = False) -> Record:
    record = claim(path, resume)
    record.begin(Played(), Played(), resume)  # type: ignore[arg-type]
    return record


def report(name: str, status: str = OK) -> JobReport:
    return JobReport(name, [], [], status)


def complaint(record: Record) -> str:
    """What a record has to complain about; it is told then."""
    text, record.complaint = record.complaint, None
    return text or ""


def known(path: str) -> dict[str, str]:
    """What a record says of every job."""
    jobs = read(Path(path).read_bytes()).jobs.items()
    return {n: e.report.status if isinstance(e, Ended) else "began" for n, e in jobs}


def test_a_run_goes_on_where_the_last_one_ended_or_anew(path: str) -> None:
    for resume, name in ((False, "a"), (True, "b")):
        with begun(path, resume) as record:
            record.began(JOB._replace(name=name))
            record.ended(report(name))
            record.sync()
            assert record.complete()
    assert known(path) == {"a": OK, "b": OK}
    with begun(path) as record:
        record.began(JOB)
    assert known(path) == {"a": "began"}


def test_a_torn_tail_is_cut_off(path: str) -> None:
    with begun(path) as record:
        record.began(JOB)
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole + write(ended(JOB))[:-1])
    with claim(path, resume=True) as record:
        assert record.history.torn
        assert Path(path).read_bytes() != whole  # nothing is changed before the run begins
        record.begin(Played(), Played(), resume=True)  # type: ignore[arg-type]
    assert Path(path).read_bytes().startswith(whole)
    assert known(path) == {"a": "began"}


def test_nothing_is_left_of_a_run_that_never_began(path: str) -> None:
    with claim(path, resume=False):
        assert os.path.exists(path)
    assert not os.path.exists(path)


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("data", [b"notes\n", b"\x00", b"governor batch record 2\n"])
def test_what_is_no_record_is_left_alone(path: str, data: bytes, resume: bool) -> None:
    Path(path).write_bytes(data)
    with pytest.raises(BatchFileError) as refused:
        claim(path, resume)
    assert str(refused.value).startswith(f"{path}:1: this is not a record of governor batch; ")
    assert Path(path).read_bytes() == data


def test_a_damaged_record_is_not_resumed_and_kept_when_a_run_begins_anew(path: str) -> None:
    lines = [MAGIC, write(Began(1.0, "a", "x")), b"oops\n", write(Began(1.0, "b", "x"))]
    Path(path).write_bytes(b"".join(lines))
    with pytest.raises(BatchFileError) as refused:
        claim(path, resume=True)
    assert f"{path}:3: this line is damaged" in str(refused.value)
    with claim(path, resume=False) as record:
        assert record.damaged is not None
        record.keep = True
        record.begin(Played(), Played(), resume=False)  # type: ignore[arg-type]
    assert Path(f"{path}.old").read_bytes() == b"".join(lines)
    assert known(path) == {}


def test_one_batch_at_a_time(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "_DYING", 0.0)
    with begun(path), pytest.raises(GovernorError) as refused:
        claim(path, resume=True)
    assert refused.value.errno == errno.EBUSY
    assert f"in use by another batch (process {os.getpid()})" in refused.value.message
    claim(path, resume=True).__exit__()


def test_somebody_without_a_name_is_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the lock may be the rest of a killed batch: it is given time."""
    holder = claim(path, resume=False)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            holder.__exit__()  # which removes the file as well: the lock has to be a new one's

    monkeypatch.setattr("time.sleep", pause)
    with claim(path, resume=True) as record:
        assert len(pauses) == 3
        assert record.descriptor is not None
        assert os.path.samestat(os.fstat(record.descriptor), os.stat(path))


def test_who_has_been_killed_is_waited_for(path: str) -> None:
    """One that nobody reaps has ended, too; what is left of its batch may have the lock still."""
    child = os.fork()
    if child == 0:
        with begun(path):
            signal.pause()
    while not os.path.exists(path) or not Path(path).read_bytes():
        os.sched_yield()
    os.kill(child, signal.SIGKILL)
    try:
        claim(path, resume=True).__exit__()
    finally:
        os.waitpid(child, 0)


def test_who_never_lets_go_is_not_waited_for_for_ever(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module, "_PATIENCE", 0.0)
    with claim(path, resume=False), pytest.raises(GovernorError, match="in use by another batch:"):
        claim(path, resume=True)


@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)]
)
def test_what_is_no_plain_file_cannot_be_written(path: str, make: Any) -> None:
    make(path)
    with pytest.raises(OSError, match=r"\w"):
        claim(path, resume=False)


class FullDisk:
    """``os.pwrite`` on a disk with ``room`` bytes left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.pwrite
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, descriptor: int, data: bytes, offset: int) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.room], offset)
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_full_disk_is_told_once_and_what_waited_is_written_later(
    path: str, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    with begun(path) as record:
        disk = FullDisk(monkeypatch, room)
        record.began(JOB)
        assert "No space left on device; the jobs go on" in complaint(record)
        record.ended(report("a"))
        record.sync()
        assert complaint(record) == ""
        assert not record.complete()
        assert read(Path(path).read_bytes()).torn == (room > 0)  # as if killed now

        disk.room = 1_000_000
        record.sync()
        assert record.complete()
    assert known(path) == {"a": OK}


def test_a_disk_that_fails_is_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with begun(path) as record:
        record.began(JOB)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", fail)
            record.sync()
        assert re.search("Input/output error", record.complaint or "")
        record.ended(report("a"))
        record.sync()
        assert not record.complete()  # nobody knows what became of it


def test_a_record_that_was_removed_is_not_complete(path: str) -> None:
    with begun(path) as record:
        found = [record.complete()]
        os.unlink(path)
        found.append(record.complete())
    assert found == [True, False]


def test_an_old_record_that_cannot_be_kept_is_not_written_over(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(path) as record:
        record.began(JOB)
    before = Path(path).read_bytes()
    os.mkdir(f"{path}.old")
    with claim(path, resume=False) as record:
        record.keep = True
        record.begin(Played(), Played(), resume=False)  # type: ignore[arg-type]
        assert record.complaint is not None
        record.began(JOB)
        record.ended(report("a"))
        record.sync()
    assert Path(path).read_bytes() == before
