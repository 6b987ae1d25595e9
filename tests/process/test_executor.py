"""What governor.Executor does beyond the contract: deaths, limits, usage, nothing left behind."""

from __future__ import annotations

import concurrent.futures as futures
import errno
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import governor
from governor.api.governor import Governor
from governor.api.leaf import Leaves
from governor.api.limits import Limits, Usage
from governor.errors import GovernorError, JobTimeout, LimitExceeded, WorkerDied
from tests.process.executors import begin_and_wait, end_oneself, wait_for
from tests.process.executors import executor as executor
from tests.process.executors import shared as shared
from tests.process.helpers import DEADLINE, PYTHONPATH, agent_of, eventually, exists, kill_and_see
from workers import frames


def children() -> int:
    """A task that wants ten processes more."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(10):
            started.append(subprocess.Popen(["sleep", "60"]))
    finally:
        for child in started:
            child.kill()
            child.wait()
    return len(started)


def children_that_last(gate: Path) -> int:
    """A task that has ten processes more until it may go on."""
    started = [subprocess.Popen(["sleep", "60"]) for _ in range(10)]
    wait_for(gate)
    for child in started:
        child.kill()
        child.wait()
    return len(started)


def open_files() -> None:
    kept = [open(os.devnull) for _ in range(50)]  # noqa: SIM115
    del kept


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def leave_a_child(seconds: str) -> int:
    return subprocess.Popen(["sleep", seconds]).pid


def answer_and_die(size: int) -> bytes:
    """The worker is killed while it sends its answer: of the second part half."""

    def send(end: socket.socket, head: frames.Head, words: bytes, data: memoryview) -> None:
        end.sendall(frames.pack(head) + words + bytes(data[: len(data) // 2]))
        end_oneself()

    frames.send = send  # type: ignore[assignment]
    return bytes(size)


def fork_and_return() -> int:
    return os.fork()


@pytest.mark.once
class TestDeaths:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
    def test_only_its_own_task_fails(self, executor: governor.Executor, number: int) -> None:
        before = [executor.submit(pow, n, 2) for n in range(5)]
        dies = executor.submit(end_oneself, number)
        after = [executor.submit(pow, n, 2) for n in range(5)]
        error = dies.exception()
        assert isinstance(error, WorkerDied)
        assert (error.signal, error.name) == (number, "end_oneself")
        assert f"was ended by signal {number:d}" in str(error)
        assert [future.result() for future in (*before, *after)] == [n * n for n in range(5)] * 2

    def test_an_exit_in_a_task(self, executor: governor.Executor) -> None:
        error = executor.submit(os._exit, 3).exception()
        assert isinstance(error, WorkerDied)
        assert (error.signal, error.exit_code) == (None, 3)

    def test_an_idle_worker_is_replaced(self, executor: governor.Executor) -> None:
        pid = executor.submit(os.getpid).result()
        kill_and_see([pid])
        assert executor.submit(os.getpid).result() != pid

    def test_in_the_middle_of_a_large_answer(self, executor: governor.Executor) -> None:
        error = executor.submit(answer_and_die, 2**27).exception()
        assert isinstance(error, WorkerDied)
        assert executor.submit(pow, 2, 2).result() == 4

    def test_a_child_that_keeps_the_socket_hides_nothing(self, executor: governor.Executor) -> None:
        def fork_and_die() -> None:
            if os.fork():
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

        assert isinstance(executor.submit(fork_and_die).exception(DEADLINE), WorkerDied)

    def test_a_fork_that_comes_back_answers_nothing(self, executor: governor.Executor) -> None:
        assert executor.submit(fork_and_return).result() > 0
        assert executor.submit(pow, 2, 2).result() == 4

    def test_the_agent_is_killed(self, shared: Governor, executor: governor.Executor) -> None:
        first = executor.submit(os.getppid).result()
        agent = agent_of(shared, *(report.pid for report in shared.jobs()))
        assert first != agent
        kill_and_see([agent])
        assert executor.submit(pow, 2, 2).result() == 4

    def test_the_nursery_is_killed(self, executor: governor.Executor, tmp_path: Path) -> None:
        begun, go_on = tmp_path / "begun", tmp_path / "go"
        running = executor.submit(begin_and_wait, begun, go_on)
        wait_for(begun)
        waiting = [executor.submit(pow, n, 2) for n in range(9)]
        kill_and_see([executor.submit(os.getppid).result()])
        waiting += [executor.submit(pow, n, 2) for n in range(9)]
        assert [future.result() for future in waiting] == [n * n for n in range(9)] * 2
        go_on.touch()
        assert running.result() == int(begun.read_text())

    def test_a_stranger_ends_all_of_it(self, shared: Governor, tmp_path: Path) -> None:
        box = shared.hierarchy("load").mkdir("/stranger")
        with governor.Executor(1, container=box) as executor:
            running = executor.submit(begin_and_wait, tmp_path / "begun", tmp_path / "go")
            wait_for(tmp_path / "begun")
            box.kill(signal.SIGKILL)
            error = running.exception()
            assert isinstance(error, WorkerDied)
            assert error.containers == ("load:/stranger",)
            assert executor.submit(pow, 2, 2).result() == 4
        box.remove(kill=True)


@pytest.mark.once
class TestSupervisor:
    def test_of_the_executor_dies(self, runtime: Path, tmp_path: Path) -> None:
        with governor.Governor() as gov, governor.Executor(1, governor=gov) as executor:
            running = executor.submit(begin_and_wait, tmp_path / "begun", tmp_path / "never")
            eventually(running.running, "it runs")
            kill_and_see([gov.pid])
            assert isinstance(running.exception(), GovernorError)
            error = executor.submit(pow, 2, 2).exception()
            assert isinstance(error, GovernorError)
            assert error.errno == errno.EIO


class TestLimits:
    def test_a_bomb_fails_by_itself(self, executor: governor.Executor) -> None:
        bomb = executor.limited(tasks=4).submit(children)
        neighbour = executor.submit(pow, 2, 2)
        error = bomb.exception()
        assert isinstance(error, OSError)
        assert error.errno == errno.EAGAIN
        assert "tasks" in error.__notes__[0]
        assert isinstance(error.__context__, LimitExceeded)
        assert (error.__context__.resource, error.__context__.limit) == ("tasks", 4)
        assert bomb.usage is not None
        assert bomb.usage.tasks_peak == 4
        assert [refusal.limit for refusal in bomb.usage.refusals] == [4]
        assert neighbour.result() == 4

    def test_files(self, executor: governor.Executor) -> None:
        future = executor.limited(files=20).submit(open_files)
        error = future.exception()
        assert isinstance(error, OSError)
        assert error.errno == errno.EMFILE
        assert future.usage is not None
        assert future.usage.files_peak == 20

    def test_files_that_a_task_begins_with(self, executor: governor.Executor) -> None:
        assert len(executor.limited(files=20).submit(os.listdir, "/proc/self/fd").result()) == 5

    def test_cpus(self, executor: governor.Executor) -> None:
        cpu = max(os.sched_getaffinity(0))
        limited = executor.limited(cpus={cpu})
        assert limited.submit(os.sched_getaffinity, 0).result() == {cpu}
        assert executor.submit(os.sched_getaffinity, 0).result() == os.sched_getaffinity(0)

    def test_time(self, executor: governor.Executor) -> None:
        future = executor.limited(timeout="0.1s").submit(time.sleep, 60)
        error = future.exception()
        assert isinstance(error, JobTimeout)
        assert future.usage is not None
        assert 0.1 <= future.usage.wall_seconds < 60

    def test_every_task_of_an_executor(self, shared: Governor) -> None:
        limits = governor.Limits.of(tasks=3)
        with governor.Executor(2, limits=limits, governor=shared) as executor:
            assert isinstance(executor.submit(children).exception(), OSError)
            assert executor.limited(tasks=20).submit(children).result() == 10
            found = executor.map(pow, range(6), [2] * 6, chunksize=2)
            assert list(found) == [n * n for n in range(6)]

    def test_a_function_carries_its_own(self, executor: governor.Executor) -> None:
        def limited() -> int:
            raise AssertionError("the function itself is called")

        limited.__wrapped__ = children  # type: ignore[attr-defined]
        limited.__governor_limits__ = governor.Limits.of(tasks=4)  # type: ignore[attr-defined]
        future = executor.submit(limited)
        assert isinstance(future.exception(), OSError)
        assert future.usage is not None
        assert future.usage.tasks_peak == 4

    def test_that_cannot_be(self, executor: governor.Executor) -> None:
        with pytest.raises(GovernorError, match="tasks"):
            executor.limited(tasks="many")
        error = executor.limited(cpus="8000").submit(pow, 2, 2).exception()
        assert isinstance(error, GovernorError)
        assert error.errno == errno.EINVAL

    def test_below_those_of_a_container(self, shared: Governor) -> None:
        load = shared.hierarchy("load")
        box = load.mkdir("/box")
        box["numtasks.limit"] = 6
        with governor.Executor(2, container=box) as executor:
            future = executor.limited(tasks=50).submit(children)
            error = future.exception()
            assert isinstance(error, OSError)
            assert isinstance(error.__context__, LimitExceeded)
            assert error.__context__.container == "load:/box"
            plain = executor.submit(children)
            error = plain.exception()
            assert isinstance(error, OSError)
            assert isinstance(error.__context__, LimitExceeded)
            assert (error.__context__.container, error.__context__.limit) == ("load:/box", 6)
            assert executor.submit(pow, 2, 2).result() == 4
        assert box["numtasks.held"] == 0
        box.remove()

    def test_a_container_without_room_for_workers(self, shared: Governor) -> None:
        box = shared.hierarchy("load").mkdir("/full")
        box["numtasks.limit"] = 0
        with governor.Executor(2, container=box) as executor:
            error = executor.submit(pow, 2, 2).exception()
            assert isinstance(error, GovernorError)
            assert "load:/full" in str(error)
            box["numtasks.limit"] = 2  # the nursery and one worker
            assert [executor.submit(pow, n, 2).result() for n in range(5)] == [0, 1, 4, 9, 16]
            found = [executor.submit(pow, n, 2) for n in range(20)]
            assert [future.result() for future in found] == [n * n for n in range(20)]
        box.remove(kill=True)


@pytest.mark.once
class TestUsage:
    def test_cpu_time_of_plain_and_of_limited_tasks(self, executor: governor.Executor) -> None:
        for view in (executor, executor.limited()):
            future = view.submit(spin, 0.1)
            future.result()
            assert future.usage is not None
            assert 0.1 <= future.usage.cpu_seconds < 0.5
            assert future.usage.wall_seconds >= 0.1
            assert future.usage.refusals == ()

    def test_children_count(self, executor: governor.Executor) -> None:
        code = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: 0"
        future = executor.submit(subprocess.run, [sys.executable, "-c", code])
        future.result()
        assert future.usage is not None
        assert future.usage.cpu_seconds >= 0.1

    def test_peaks_are_those_of_the_task(
        self, shared: Governor, executor: governor.Executor, tmp_path: Path
    ) -> None:
        def peak() -> int:
            own = [c for c in shared.containers([".maxheld"]) if "children_that_last" in c.path]
            return max((int(c.files.get("numtasks.maxheld", 0)) for c in own), default=0)

        future = executor.limited().submit(children_that_last, tmp_path / "gate")
        eventually(lambda: peak() == 11, "all have been counted")
        (tmp_path / "gate").touch()
        assert future.result() == 10
        assert future.usage is not None
        assert future.usage.tasks_peak == 11
        plain = executor.submit(pow, 2, 2)
        plain.result()
        assert plain.usage is not None
        assert plain.usage.tasks_peak is None


@pytest.mark.once
class TestLeftovers:
    def test_of_a_limited_task_end_with_it(self, executor: governor.Executor) -> None:
        pid = executor.limited(tasks=5).submit(leave_a_child, "60").result()
        eventually(lambda: not exists(pid), "it has ended")

    def test_of_others_end_with_the_executor(self, shared: Governor) -> None:
        with governor.Executor(1, max_tasks_per_child=1, governor=shared) as executor:
            pid = executor.submit(leave_a_child, "60").result()
            assert executor.submit(pow, 2, 2).result() == 4
            assert exists(pid)
        eventually(lambda: not exists(pid), "it has ended")

    def test_many_tasks_leave_nothing(self, shared: Governor) -> None:
        with governor.Executor(2, governor=shared) as executor:
            list(executor.map(pow, range(100), [2] * 100))
            before = len(os.listdir("/proc/self/fd")), threading.active_count()
            workers = set(executor.map(_resident, range(20)))
            futures_ = [executor.submit(pow, n % 9, 2) for n in range(3000)]
            assert sum(future.result() for future in futures_) > 0
            grown = max(executor.map(_resident, range(20)))
            # What the test before has closed may have been open yet: ZeroMQ closes it later.
            assert len(os.listdir("/proc/self/fd")) <= before[0]
            assert grown < 2 * max(workers)
        assert threading.active_count() < before[1]

    def test_containers_are_removed(self, executor: governor.Executor, shared: Governor) -> None:
        list(executor.limited(tasks=4).map(pow, range(5), range(5)))
        names = [report.path for report in shared.containers()]
        assert not [name for name in names if name.startswith("/pow")]

    def test_a_container_that_was_removed_has_no_figures(self, shared: Governor) -> None:
        leaf = Leaves(shared).make(Limits(tasks=4), "gone")
        leaf.remove()
        assert leaf.usage(1.5) == Usage(0.0, 1.5, None, None, ())


def _resident(_: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.once
class TestTravel:
    def test_lambdas_and_closures(self, executor: governor.Executor) -> None:
        numbers = [1, 2, 3]
        assert executor.submit(lambda: sum(numbers)).result() == 6
        assert executor.limited().submit(lambda: sum(numbers)).result() == 6
        assert executor.submit(lambda: lambda: 7).result()() == 7

    def test_what_a_manager_shares(self, executor: governor.Executor) -> None:
        with multiprocessing.Manager() as manager:
            shared = manager.list()
            executor.submit(shared.append, 1).result()
            executor.limited().submit(shared.append, 2).result()
            assert list(shared) == [1, 2]

    def test_main_is_the_same_on_the_way_back(self, runtime: Path) -> None:
        out = script("""
            class Error(Exception):
                def __init__(self, a): super().__init__(a); self.a = a
            class Point:
                def __init__(self, x): self.x = x
            def fail(): raise Error(3)
            with governor.Executor(1) as executor:
                point = executor.submit(lambda: Point(4)).result()
                assert isinstance(point, Point) and point.x == 4
                try:
                    executor.submit(fail).result()
                except Error as error:
                    print(error.a)
        """)
        assert out == "3\n"

    def test_its_own_executor_in_a_task(self, runtime: Path) -> None:
        out = script("""
            def inner(n):
                with governor.Executor(1) as executor:
                    return executor.submit(pow, n, 2).result()
            with governor.Executor(2) as executor:
                print(executor.submit(inner, 3).result())
        """)
        assert out == "9\n"

    def test_two_executors_and_a_fork_of_the_parent(self, runtime: Path) -> None:
        # From Python 3.12 on a fork beside threads earns a warning.
        out = script("""
            import warnings; warnings.simplefilter("ignore", DeprecationWarning)
            with governor.Executor(1) as one, governor.Executor(1) as two:
                assert one.submit(os.getpid).result() != two.submit(os.getpid).result()
                pid = os.fork()
                if pid == 0:
                    try:
                        one.submit(pow, 2, 2)
                    except concurrent.futures.BrokenExecutor as error:
                        print(error, flush=True)
                    with governor.Executor(1) as own:
                        print(own.submit(pow, 2, 2).result(), flush=True)
                    os._exit(0)
                os.waitpid(pid, 0)
                print(one.submit(pow, 3, 2).result() + two.submit(pow, 1, 1).result())
        """)
        assert out == "this executor is the parent process's; make one here\n4\n10\n"


@pytest.mark.once
class TestEndOfTheInterpreter:
    def test_what_was_submitted_is_done(self, runtime: Path) -> None:
        assert (
            script("""
            executor = governor.Executor(2)
            executor.submit(time.sleep, 0.05)
            executor.submit(print, "done")
        """)
            == "done\n"
        )

    def test_nothing_is_taken_afterwards(self, runtime: Path) -> None:
        assert (
            script("""
            import atexit
            executor = governor.Executor(1)
            @atexit.register
            def late():
                try:
                    executor.submit(id, None)
                except RuntimeError as error:
                    print(error)
            executor.submit(id, 42).result()
        """)
            == "cannot schedule new futures after interpreter shutdown\n"
        )

    def test_after_a_shutdown_that_does_not_wait(self, runtime: Path) -> None:
        assert (
            script("""
            executor = governor.Executor(1)
            executor.submit(print, "done")
            executor.shutdown(wait=False)
        """)
            == "done\n"
        )

    def test_ctrl_c_cancels_and_interrupts(self, runtime: Path) -> None:
        assert (
            script("""
            import signal, threading
            def sleep(path):
                open(path, "w").close()
                time.sleep(60)
            path = os.environ["XDG_RUNTIME_DIR"] + "/running"
            futures = []
            def interrupt():
                while not os.path.exists(path):
                    time.sleep(0.001)
                os.unlink(path)
                os.kill(os.getpid(), signal.SIGINT)
            try:
                with governor.Executor(1) as executor:
                    futures += [executor.submit(sleep, path) for _ in range(3)]
                    threading.Thread(target=interrupt).start()
                    futures[0].result()
            except KeyboardInterrupt:
                print(repr(futures[0].exception()), [f.cancelled() for f in futures])
        """)
            == "KeyboardInterrupt() [False, True, True]\n"
        )

    @pytest.mark.parametrize("limits", ["None", "governor.Limits(tasks=4)"])
    def test_ctrl_c_that_ends_the_program(self, runtime: Path, tmp_path: Path, limits: str) -> None:
        """It does not wait for what runs, as nothing of that is in the terminal."""
        text = f"""
        import os, signal, threading, time, governor
        def interrupt():
            while not os.path.exists({str(tmp_path / "running")!r}):
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)
        def sleep(_):
            open({str(tmp_path / "running")!r}, "w").close()
            time.sleep(600)
        threading.Thread(target=interrupt).start()
        list(governor.Executor(1, limits={limits}).map(sleep, range(3)))
        """
        found = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(text)],
            env=os.environ | {"PYTHONPATH": PYTHONPATH},
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
        )
        assert found.returncode == -signal.SIGINT
        assert found.stderr.endswith("\nKeyboardInterrupt\n")

    def test_one_that_nobody_keeps(self, runtime: Path) -> None:
        assert (
            script("""
            import gc
            future = governor.Executor(1).submit(pow, 2, 2)
            gc.collect()
            print(future.result())
            for thread in threading.enumerate():
                if thread is not threading.main_thread():
                    thread.join()
        """)
            == "4\n"
        )


def script(text: str) -> str:
    """Run a program of its own; what it prints."""
    head = "import concurrent.futures, os, threading, time\nimport governor\n"
    found = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(text)],
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert found.stderr == ""
    assert found.returncode == 0
    return found.stdout


@pytest.mark.once
class TestPace:
    """Rough bounds for any machine; `tools/executor_bench` says how it is."""

    def test_small_tasks(self, executor: governor.Executor) -> None:
        def seconds(executor: futures.Executor) -> float:
            """Of this process's CPU time: on a busy machine all others are the scheduler's."""
            begun = time.process_time()
            for future in [executor.submit(pow, 2, 2) for _ in range(300)]:
                future.result()
            return time.process_time() - begun

        with futures.ProcessPoolExecutor(2) as other:
            for warm in (executor, other):
                seconds(warm)
            ratios = [seconds(executor) / seconds(other) for _ in range(5)]
        assert min(ratios) < 3, ratios

    def test_a_process_for_each_task(self, shared: Governor) -> None:
        def pythons() -> float:
            begun = time.perf_counter()
            for _ in range(10):
                subprocess.run([sys.executable, "-c", "pass"], check=True)
            return time.perf_counter() - begun

        with governor.Executor(2, max_tasks_per_child=1, governor=shared) as executor:
            executor.submit(pow, 2, 2).result()

            def ours() -> float:
                begun = time.perf_counter()
                list(executor.map(pow, range(10), range(10)))
                return time.perf_counter() - begun

            ratios = [pythons() / ours() for _ in range(5)]
        assert max(ratios) > 1.5, ratios
