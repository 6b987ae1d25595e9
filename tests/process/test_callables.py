"""Python callables as jobs: they travel whole, and end as a program would."""

from __future__ import annotations

import errno
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.running import World, plain
from tests.process.running import world as make_world

pytestmark = pytest.mark.once

CONSTANT = 41


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


def module_level() -> None:
    print(CONSTANT + 1)


class Shape:
    def __init__(self, sides: int) -> None:
        self.sides = sides

    def describe(self) -> None:
        print(f"{self.sides} sides")


class TestTravel:
    def test_lambda(self, world: World) -> None:
        assert world.run(lambda: print("hello")) == (0, "hello\n", "")

    def test_closure(self, world: World) -> None:
        numbers = [1, 2, 3]

        def add() -> None:
            print(sum(numbers))

        assert world.run(add) == (0, "6\n", "")

    def test_closure_over_functions(self, world: World) -> None:
        def double(number: int) -> int:
            return 2 * number

        def apply(function: Callable[[int], int]) -> Callable[[], None]:
            return lambda: print(function(function(5)))

        assert world.run(apply(double)) == (0, "20\n", "")

    def test_recursion(self, world: World) -> None:
        def factorial(number: int) -> int:
            return number * factorial(number - 1) if number else 1

        assert world.run(lambda: print(factorial(10))) == (0, "3628800\n", "")

    def test_of_a_module(self, world: World) -> None:
        """The module is found as it was found here."""
        assert world.run(module_level) == (0, "42\n", "")

    def test_method(self, world: World) -> None:
        assert world.run(Shape(3).describe) == (0, "3 sides\n", "")

    def test_arguments(self, world: World) -> None:
        text = "x" * 1_000_000
        job = world.gov.spawn(lambda a, b: os._exit(len(a) == 1_000_000 and b == 7), text, 7)
        assert job.wait(30).exit_code == 1

    def test_modules_beside_the_script(self, world: World, tmp_path: Path) -> None:
        """What the starting program has put into sys.path is there too."""
        (tmp_path / "beside.py").write_text("def greet(): print('from beside')\n")
        sys.path.insert(0, str(tmp_path))
        try:

            def use() -> None:
                import beside  # type: ignore[import-not-found]

                beside.greet()

            assert world.run(use) == (0, "from beside\n", "")
        finally:
            sys.path.remove(str(tmp_path))

    def test_from_a_script(self, tmp_path: Path) -> None:
        """Functions of ``__main__`` have no module to be imported from."""
        script = tmp_path / "script.py"
        script.write_text(
            textwrap.dedent(
                """
                import governor

                GREETING = "hello from the script"

                def greet():
                    print(helper())

                def helper():
                    return GREETING

                if __name__ == "__main__":
                    with governor.Governor() as gov:
                        print(gov.spawn(greet).wait().exit_code)
                """
            )
        )
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        ran = plain([sys.executable, script], env=os.environ | {"PYTHONPATH": path})
        assert ran == (0, "hello from the script\n0\n", "")

    def test_environment_and_directory(self, world: World, tmp_path: Path) -> None:
        def tell() -> None:
            print(os.environ["TEST_OF_CALLABLES"], os.getcwd(), os.getenv("HOME"))

        ran = world.run(tell, env={"TEST_OF_CALLABLES": "yes"}, cwd=tmp_path)
        assert ran == (0, f"yes {tmp_path} None\n", "")

    def test_what_cannot_be_pickled(self, world: World) -> None:
        """Refused here, in the caller, before anything is started."""
        generator = (number for number in range(3))
        with pytest.raises(TypeError, match="generator"):
            world.run(lambda: next(generator))


class TestEnds:
    def test_value_is_ignored(self, world: World) -> None:
        assert world.run(lambda: 7) == (0, "", "")

    @pytest.mark.parametrize(
        ("code", "expected"), [(0, 0), (3, 3), (None, 0), (256, 0), (-1, 255), (True, 1)]
    )
    def test_exit_code(self, world: World, code: int | None, expected: int) -> None:
        assert world.run(lambda: sys.exit(code)) == (expected, "", "")

    def test_exit_message(self, world: World) -> None:
        assert world.run(lambda: sys.exit("no more")) == (1, "", "no more\n")

    def test_exception(self, world: World) -> None:
        def fail() -> None:
            print("before")
            raise ValueError("wrong")

        ran = world.run(fail)
        assert ran[:2] == (1, "before\n")
        assert ran.err.startswith("Traceback (most recent call last):\n")
        assert ran.err.endswith("ValueError: wrong\n")
        assert "in fail" in ran.err

    def test_interrupt(self, world: World) -> None:
        """SIGINT ends it at once, as it would a program."""

        def interrupt() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()

        assert world.run(interrupt).exit_code == 128 + signal.SIGINT

    def test_signal(self, world: World) -> None:
        started = world.start(lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert started.finish().exit_code == 128 + signal.SIGKILL
        assert started.job.wait().signal == signal.SIGKILL

    def test_hard_exit(self, world: World) -> None:
        assert world.run(lambda: os._exit(9)).exit_code == 9

    def test_output_is_flushed(self, world: World) -> None:
        def write() -> None:
            sys.stdout.write("out")
            sys.stderr.write("err")
            os.write(1, b"!")

        assert sorted(world.run(write).out) == sorted("out!")

    def test_input(self, world: World) -> None:
        read, write = os.pipe()
        os.write(write, b"line\n")
        os.close(write)
        try:
            ran = world.run(lambda: print(sys.stdin.read().upper()), stdin=read)
        finally:
            os.close(read)
        assert ran == (0, "LINE\n\n", "")


class TestGoverned:
    def test_limits_hold(self, world: World) -> None:
        container = world.new(world.load, numtasks_limit=2, numfiles_limit=20)

        def try_them() -> None:
            def refusal(call: Callable[[], object], times: int) -> str | None:
                try:
                    for _ in range(times):
                        call()
                except OSError as error:
                    return errno.errorcode[error.errno or 0]
                return None

            def fork() -> None:
                if os.fork() == 0:
                    signal.pause()

            print(refusal(fork, 2), refusal(lambda: os.eventfd(0), 20))

        started = world.start(try_them, [container])
        assert started.finish() == (0, "EAGAIN EMFILE\n", "")
        world.gov.stop([started.job], grace=0)

    def test_nothing_of_governors_is_open(self, world: World) -> None:
        """No socket of the spawner's, and no listener with which it could govern itself."""

        def look() -> None:
            print(sorted(map(int, os.listdir("/proc/self/fd")))[:-1])

        assert world.run(look, world.roomy()) == (0, "[0, 1, 2]\n", "")

    def test_threads_and_children(self, world: World) -> None:
        def work() -> None:
            import multiprocessing
            import threading

            total: list[int] = []
            threads = [threading.Thread(target=total.append, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(sorted(total), pool.map(abs, [-1, -2]))

        ran = world.run(work, world.roomy())
        assert ran == (0, "[0, 1, 2, 3, 4, 5, 6, 7] [1, 2]\n", "")

    def test_random_numbers_differ(self, world: World) -> None:
        """Jobs are forked from one process, whose generator they must not share."""

        def draw() -> None:
            import random

            print(random.random())

        assert world.run(draw).out != world.run(draw).out
