"""Running to the end, and calling for a value: what comes back, and what is ended."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

import governor
from governor import Governor, JobFailed, JobTimeout, Limits
from governor.api import default
from tests.process.helpers import DEADLINE, eventually, nothing_left

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def gov() -> Iterator[Governor]:
    with pytest.MonkeyPatch.context() as patch, nothing_left(patch), Governor() as gov:
        yield gov


def running(gov: Governor) -> list[str]:
    return [report.name for report in gov.jobs() if report.exit_code is None]


class TestRun:
    def test_output_and_input(self, gov: Governor) -> None:
        done = gov.run(["sh", "-c", "cat; echo no >&2; exit 3"], input="å", capture=True, text=True)
        assert (done.stdout, done.stderr, done.exit_code) == ("å", "no\n", 3)

    def test_bytes_unless_text_is_asked_for(self, gov: Governor) -> None:
        assert gov.run(["printf", r"\377"], capture=True).stdout == b"\xff"

    def test_nothing_is_kept_unless_asked_for(self, gov: Governor) -> None:
        assert gov.run(["true"])[1:] == (None, None)

    def test_more_output_than_a_pipe_holds(self, gov: Governor) -> None:
        count = ["sh", "-c", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"]
        done = gov.run(count, capture=True)
        assert (len(done.stdout), len(done.stderr)) == (3_000_000, 3_000_000)

    def test_what_is_left_running_is_not_waited_for(self, gov: Governor) -> None:
        assert gov.run(["sh", "-c", "sleep 1000 & echo ok"], capture=True).stdout == b"ok\n"

    def test_what_is_left_running_under_limits_is_ended(self, gov: Governor) -> None:
        done = gov.run(
            ["sh", "-c", "sleep 1000 & echo $!"], capture=True, text=True, limits=Limits(tasks=2)
        )
        assert not os.path.exists(f"/proc/{done.stdout.strip()}")

    def test_check(self, gov: Governor) -> None:
        with pytest.raises(JobFailed, match="job false failed with exit code 1"):
            gov.run(["false"], check=True)
        with pytest.raises(JobTimeout):
            gov.run(["sleep", "1000"], check=True, timeout=0.05)

    def test_a_callable(self, gov: Governor) -> None:
        assert gov.run(print, "here", capture=True).stdout == b"here\n"

    @pytest.mark.parametrize("starting", [False, True])
    def test_an_exception_here_ends_the_job(self, gov: Governor, starting: bool) -> None:
        """One that comes while the supervisor has not said yet that there is a job, too."""

        def interrupt(*_: object) -> None:
            os.kill(gov.pid, signal.SIGCONT)
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        if starting:
            os.kill(gov.pid, signal.SIGSTOP)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(KeyboardInterrupt):
                gov.run(["sleep", "1000"], capture=True)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert "sleep" not in running(gov)


def _open_files() -> None:
    kept = []
    while True:
        kept.append(os.open(os.devnull, os.O_RDONLY))


class Odd(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def raise_value_error() -> None:
    raise ValueError("wrong")


def raise_odd() -> None:
    raise Odd("cannot be", "made again")


class TestCall:
    def test_value(self, gov: Governor) -> None:
        offset = 40
        assert gov.call(lambda x: x + offset, 2) == 42

    def test_a_value_larger_than_a_pipe(self, gov: Governor) -> None:
        assert gov.call(bytes, 5_000_000) == bytes(5_000_000)

    def test_its_exception_says_where_it_was_raised(self, gov: Governor) -> None:
        with pytest.raises(ValueError, match="wrong") as caught:
            gov.call(raise_value_error)
        assert "in raise_value_error" in str(caught.value.__cause__)
        assert "calls.py" not in str(caught.value.__cause__)

    def test_its_exception_says_which_limits_it_has_met(self, gov: Governor) -> None:
        with pytest.raises(OSError, match="Too many open files") as caught:
            gov.call(_open_files, limits=Limits(files=20))
        assert caught.value.errno == errno.EMFILE
        assert "was refused files" in caught.value.__notes__[0]
        met = caught.value.__context__
        assert isinstance(met, governor.LimitExceeded)
        assert (met.resource, met.limit, met.held) == ("files", 20, 20)

    def test_an_exception_that_cannot_be_sent_is_told_of(self, gov: Governor) -> None:
        with pytest.raises(RuntimeError, match="Odd: cannot be made again") as caught:
            gov.call(raise_odd)
        assert "in raise_odd" in str(caught.value.__cause__)

    def test_a_value_that_cannot_be_sent(self, gov: Governor) -> None:
        with pytest.raises(TypeError, match="cannot be sent back"):
            gov.call(lambda: (n for n in range(3)))

    @pytest.mark.parametrize(
        ("end", "words"),
        [
            (lambda: os._exit(0), "exit code 0"),
            (lambda: sys.exit(7), "exit code 7"),
            (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal 9"),
        ],
    )
    def test_a_job_that_ends_without_an_answer(
        self, gov: Governor, end: object, words: str
    ) -> None:
        assert callable(end)
        with pytest.raises(JobFailed, match=words):
            gov.call(end)

    def test_timeout(self, gov: Governor) -> None:
        with pytest.raises(JobTimeout):
            gov.call(time.sleep, 1000, timeout=0.05)

    def test_it_reads_nothing_and_answers_all_the_same(self, gov: Governor) -> None:
        assert gov.call(lambda: (sys.stdin.read(), os.read(0, 1))) == ("", b"")

    def test_what_a_fork_of_it_keeps_open_is_not_waited_for(self, gov: Governor) -> None:
        def leave() -> int:
            if not os.fork():
                time.sleep(1000)
            return 5

        assert gov.call(leave) == 5


@governor.limited(tasks=1, timeout="1m")
def forks() -> int:
    return os.fork()


@governor.limited(tasks=3)
def factorial(number: int) -> int:
    return 1 if number < 2 else number * factorial(number - 1)


class Shop:
    @governor.limited(tasks=2)
    def price(self, of: str) -> str:
        return f"{of} {os.getpid()}"


@pytest.fixture(scope="module")
def own() -> Iterator[Governor]:
    """The governor of this process, ended with the module."""
    with pytest.MonkeyPatch.context() as patch, nothing_left(patch):
        yield default.governor()
        default._end()


@pytest.mark.usefixtures("own")
class TestLimited:
    def test_a_limit_is_met(self) -> None:
        with pytest.raises(BlockingIOError):
            forks()

    def test_it_runs_elsewhere_and_keeps_its_name(self) -> None:
        what, pid = Shop().price("tea").split()
        assert (what, forks.__name__) == ("tea", "forks")
        assert int(pid) != os.getpid()

    def test_it_carries_its_limits(self) -> None:
        assert vars(forks)["__governor_limits__"] == Limits(tasks=1, timeout=60.0)

    def test_calling_itself_is_within_the_limits(self) -> None:
        assert factorial(5) == 120

    def test_another_limited_function_is_refused_within(self) -> None:
        with pytest.raises(governor.GovernorError, match="do not nest"):
            governor.limited(tasks=4)(lambda: forks())()

    def test_a_function_of_no_module_that_calls_itself(self) -> None:
        @governor.limited(tasks=2)
        def count(number: int) -> int:
            return number and 1 + count(number - 1)

        assert count(3) == 3

    def test_timeout(self) -> None:
        with pytest.raises(JobTimeout):
            governor.limited(timeout="50ms")(time.sleep)(1000)

    def test_mistakes_are_told_when_it_is_defined(self) -> None:
        with pytest.raises(governor.GovernorError, match="tasks"):
            governor.limited(tasks="many")
        with pytest.raises(TypeError, match="generator"):

            @governor.limited(tasks=2)
            def numbers() -> Iterator[int]:
                yield 1


class TestLimits:
    def test_what_is_started_shares_one_container(self, own: Governor) -> None:
        with governor.limits(tasks=2) as limited:
            two = ["sh", "-c", "sleep 0 & wait"]
            assert limited.run(two).exit_code == 0
            job = own.spawn(["sleep", "1000"], containers=limited.containers)
            assert own.run(two, capture=True).stderr == b"sh: 0: Cannot fork\n"
            assert limited.call(os.cpu_count) == os.cpu_count()
        assert job.wait(DEADLINE).signal == signal.SIGTERM
        assert [c.path for c in own.containers([]) if c.path != "/"] == []

    def test_limits_of_its_own_are_within_those_of_the_block(self, own: Governor) -> None:
        with governor.limits(tasks=1):
            assert factorial(3) == 6
            many = own.run(["sh", "-c", "sleep 0 & wait"], capture=True, limits=Limits(tasks=9))
            assert many.stderr == b"sh: 0: Cannot fork\n"

    def test_blocks_nest(self) -> None:
        with governor.limits(tasks=9), governor.limits(tasks=1), pytest.raises(BlockingIOError):
            governor.limited(tasks=9)(os.fork)()

    def test_a_block_has_a_timeout_for_each_job(self) -> None:
        with governor.limits(timeout="50ms") as limited, pytest.raises(JobTimeout):
            limited.call(time.sleep, 1000)

    def test_workers_of_an_executor_are_in_the_block(self) -> None:
        with governor.limits(tasks=2), governor.Executor(1) as executor:
            assert executor.submit(abs, -1).result() == 1
            with pytest.raises(BlockingIOError):
                executor.submit(os.fork).result()

    def test_outside_of_its_block_it_refuses(self) -> None:
        with pytest.raises(governor.GovernorError, match="within their with block"):
            governor.limits(tasks=1).run(["true"])

    def test_another_governor_is_not_meant(self, gov: Governor) -> None:
        with governor.limits(tasks=1):
            assert gov.run(["sh", "-c", "sleep 0 & wait"]).exit_code == 0


def test_nothing_is_left_open(gov: Governor) -> None:
    gov.call(abs, -1)
    before = os.listdir("/proc/self/fd")
    gov.call(abs, -1)
    gov.run(["true"], input=b"x", capture=True)
    # What ended before may have been closing something yet, so there may be fewer.
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= len(before), "the streams are closed")
