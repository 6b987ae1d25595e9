"""The runner and the progress with a governor that only plays: order, failures, signals."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from governor.api import JobResult
from governor.batch.cpu_time import CpuTime
from governor.batch.interrupts import Impatient, Interrupts
from governor.batch.plan import BatchPlan, JobPlan
from governor.batch.progress import Progress
from governor.batch.record import Record
from governor.batch.runner import Runner, Terms
from governor.batch.scratch import TAIL_LINES, Scratch
from governor.batch.timeline import Timeline
from governor.errors import GovernorError
from governor.report import JobReport
from governor.results import OWN_FAILURE


def result(
    exit_code: int = 0, signal: int | None = None, wall: float = 1.0, timed_out: bool = False
) -> JobResult:
    return JobResult(exit_code, signal, wall, 0.5, timed_out, None)


class PlayedJob:
    def __init__(self, name: str) -> None:
        self.name = name
        self.result: JobResult | None = None


class PlayedGovernor:
    """Jobs end one at a time, in the order they were started, with the results of the script.

    A job with several results is started several times.
    """

    def __init__(
        self,
        results: Mapping[str, JobResult | list[JobResult]],
        on_wait: Callable[[], object] = int,
    ) -> None:
        self.results = results
        self.on_wait = on_wait
        self.events: list[str] = []
        self.spawned: dict[str, dict[str, Any]] = {}
        self.on_stop: Callable[[float], object] = float

    def spawn(self, argv: Sequence[str], *, name: str, **options: Any) -> PlayedJob:
        self.events.append(f"start {name}")
        self.spawned[name] = options
        if name not in self.results:
            raise GovernorError(errno.EAGAIN, f"no process for {name}")
        return PlayedJob(name)

    def wait(self, jobs: Sequence[PlayedJob], timeout: float | None = None) -> set[PlayedJob]:
        if not jobs or jobs[0].result is not None:
            return set(jobs)
        self.on_wait()
        return {self._end(jobs[0])}

    def stop(self, jobs: Sequence[PlayedJob], grace: float) -> None:
        self.events.append(f"stop {' '.join(job.name for job in jobs)} {grace}")
        self.on_stop(grace)
        for job in jobs:
            job.result = job.result or result(143, signal.SIGTERM)

    def _end(self, job: PlayedJob) -> PlayedJob:
        result = self.results[job.name]
        job.result = result.pop(0) if isinstance(result, list) else result
        self.events.append(f"end {job.name}")
        return job


def plan(*names: str) -> BatchPlan:
    jobs = [JobPlan(name, ("x",), (), "/", {"A": "b"}, None, None, None, None) for name in names]
    return BatchPlan("f.toml", "t", (), tuple(jobs))


def play(
    governor: PlayedGovernor,
    batch: BatchPlan,
    parallel: int,
    interrupts: Interrupts | None = None,
    halt: str = "never",
) -> tuple[list[JobReport], str]:
    shown: list[str] = []
    with Scratch() as scratch:
        progress = Progress(shown.append, len(batch.jobs))
        record = Record("", None)
        runner = Runner(
            governor,  # type: ignore[arg-type]
            batch,
            {},
            CpuTime(governor, batch),  # type: ignore[arg-type]
            scratch,
            progress,
            record,
            {},
            Timeline(),
        )
        runner.run(Terms(parallel, 3.0, halt), interrupts or Interrupts())
    return runner.reports(), "".join(shown)


def test_jobs_start_in_order_and_so_many_at_once() -> None:
    governor = PlayedGovernor({name: result() for name in "abc"})
    reports, _ = play(governor, plan("a", "b", "c"), 2)
    assert governor.events == ["start a", "start b", "end a", "start c", "end b", "end c"]
    assert [report.status for report in reports] == ["ok"] * 3


def test_every_end_is_a_line_that_says_why() -> None:
    script = {
        "good": result(wall=4.2),
        "bad": result(3),
        "shot": result(137, 9),
        "slow": result(124, 15, timed_out=True),
    }
    _, shown = play(PlayedGovernor(script), plan(*script, "lost"), 1)
    assert shown == (
        "[1/5] ok      good 4.2 s\n"
        "[2/5] failed  bad 1.0 s (exit 3)\n"
        "[3/5] failed  shot 1.0 s (killed by SIGKILL)\n"
        "[4/5] timeout slow 1.0 s (timed out)\n"
        "[5/5] failed  lost 0 ms (no process for lost (Resource temporarily unavailable))\n"
    )


class PlayedRecord(Record):
    """Notes when the runner records what, beside what it shows."""

    def __init__(self, events: list[str]) -> None:
        super().__init__("", None)
        self.events = events

    def began(self, job: JobPlan) -> None:
        self.events.append(f"record start {job.name}")

    def ended(self, report: JobReport) -> None:
        self.events.append(f"record end {report.name} {report.status}")

    def sync(self) -> None:
        self.events.append("sync")


def recorded(
    governor: PlayedGovernor, batch: BatchPlan, interrupts: Interrupts, *earlier: str
) -> tuple[list[str], list[str]]:
    """What happens around each job, from its start to the line about it; all statuses."""
    events = governor.events = []
    known = {name: JobReport(name, ("x",), (), "ok", 0, earlier=True) for name in earlier}
    with Scratch() as scratch:
        progress = Progress(lambda line: events.append(f"tell {line.split()[2]}"), len(batch.jobs))
        runner = Runner(
            governor,  # type: ignore[arg-type]
            batch,
            {},
            CpuTime(governor, batch),  # type: ignore[arg-type]
            scratch,
            progress,
            PlayedRecord(events),
            known,
            Timeline(),
        )
        runner.run(Terms(1, 3.0), interrupts)
    shown = [event for event, before in zip(events, ["", *events], strict=False) if event != before]
    return shown, [report.status for report in runner.reports()]


def test_an_end_is_on_record_before_it_is_told() -> None:
    governor = PlayedGovernor({"a": result(), "c": result()})
    events, statuses = recorded(governor, plan("a", "b", "c"), Interrupts(), "c")
    assert events == [
        *("record start a", "start a", "sync", "end a", "record end a ok"),
        # A job that waits is started before the disk is waited for.
        *("record start b", "start b", "record end b failed", "sync", "tell a", "tell b", "sync"),
    ]
    assert statuses == ["ok", "failed", "ok"]


def test_what_a_signal_ended_is_on_record_and_told() -> None:
    with Interrupts() as interrupts:
        governor = PlayedGovernor({"a": result(), "b": result()})

        def end_a(jobs: Sequence[PlayedJob], timeout: float | None = None) -> set[PlayedJob]:
            if jobs and jobs[0].result is None:
                signal.raise_signal(signal.SIGTERM)
                return set()
            return set(jobs)

        governor.wait = end_a  # type: ignore[method-assign]
        events, reports = recorded(governor, plan("a", "b"), interrupts)
    assert events[-4:] == ["stop a 3.0", "record end a interrupted", "sync", "tell a"]
    assert "record start b" not in events
    assert reports == ["interrupted", "not run"]


def test_a_job_that_cannot_be_started_has_failed_and_the_others_run() -> None:
    reports, _ = play(PlayedGovernor({"b": result()}), plan("a", "b"), 1)
    assert [report.status for report in reports] == ["failed", "ok"]
    assert reports[0].exit_code == OWN_FAILURE


def test_jobs_have_a_directory_and_an_environment_of_their_own() -> None:
    governor = PlayedGovernor({name: result() for name in "ab"})
    play(governor, plan("a", "b"), 2)
    a, b = (governor.spawned[name]["env"] for name in "ab")
    assert a["A"] == "b"
    assert a["PATH"] == os.environ["PATH"]
    assert a["GOVERNOR_JOB_DIR"] != b["GOVERNOR_JOB_DIR"]
    assert not os.path.exists(a["GOVERNOR_JOB_DIR"])


def test_a_signal_stops_what_runs_and_starts_nothing_more() -> None:
    with Interrupts() as interrupts:
        governor = PlayedGovernor(
            {name: result() for name in "abc"}, lambda: signal.raise_signal(signal.SIGTERM)
        )
        reports, shown = play(governor, plan("a", "b", "c"), 2, interrupts)
    assert interrupts.signum == signal.SIGTERM
    assert governor.events == ["start a", "start b", "end a", "stop b 3.0"]
    assert [report.status for report in reports] == ["ok", "interrupted", "not run"]
    assert "TERM now, KILL after 3.0 s" in shown


def test_a_second_signal_kills_at_once() -> None:
    def on_stop(grace: float) -> None:
        if grace:
            signal.raise_signal(signal.SIGINT)

    with Interrupts() as interrupts:
        governor = PlayedGovernor(
            {"a": result(), "b": result()}, lambda: signal.raise_signal(signal.SIGINT)
        )
        governor.on_stop = on_stop
        play(governor, plan("a", "b"), 2, interrupts)
    assert governor.events[-2:] == ["stop b 3.0", "stop b 0"]


def noted(interrupts: Interrupts) -> int | None:
    return interrupts.signum


def test_signals_are_as_before_afterwards_and_ignored_ones_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        usual = signal.getsignal(signal.SIGINT)
        with Interrupts() as interrupts:
            assert signal.getsignal(signal.SIGINT) != usual
            signal.raise_signal(signal.SIGHUP)
            assert noted(interrupts) is None
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)  # the first one counts
            assert noted(interrupts) == signal.SIGINT
            with pytest.raises(Impatient), interrupts.impatient():
                pytest.fail("the second signal has come already")
        assert signal.getsignal(signal.SIGINT) is usual
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_attempt_reads_all_of_its_text() -> None:
    [job] = plan("a").jobs
    with Scratch() as scratch:
        for text in ("", "h\N{LATIN SMALL LETTER E WITH ACUTE}\n" * 50_000):
            for _ in range(2):
                with (
                    scratch.streams(job._replace(stdin_text=text)) as (stdin, _, _),
                    open(stdin, "rb", closefd=False) as stream,
                ):
                    assert stream.read() == text.encode()


def test_the_tail_of_a_log_is_safe_to_show(tmp_path: Path) -> None:
    [job] = plan("a").jobs
    with Scratch() as scratch:
        assert scratch.tail(job) == []
        with scratch.streams(job) as (stdin, stdout, stderr):
            assert os.read(stdin, 1) == b""
            assert stdout == stderr
            os.write(stdout, b"".join(b"line %d\n" % number for number in range(99)))
            os.write(stderr, b"\x1b[31m\xff\tend")
        tail = scratch.tail(job)
        with scratch.streams(job._replace(stdout=str(tmp_path / "out"))) as (_, stdout, stderr):
            assert stdout != stderr
            os.write(stdout, b"kept")
    assert len(tail) == TAIL_LINES
    assert tail[-2:] == ["line 98", "\\x1b[31m\N{REPLACEMENT CHARACTER}    end"]
    assert (tmp_path / "out").read_text() == "kept"


def test_what_jobs_leave_behind_is_removed() -> None:
    [job] = plan("a").jobs
    with Scratch() as scratch:
        directory = Path(scratch.job_directory(job))
        (directory / "kept" / "deep").mkdir(parents=True)
        (directory / "kept" / "deep" / "file").write_text("x")
        (directory / "kept").chmod(0o500)
        assert directory.parents[1].stat().st_mode & 0o777 == 0o700
    assert not directory.parents[1].exists()
