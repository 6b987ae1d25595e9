"""privvmpages: the private writable address space of a group, against what /proc says of it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.api import Container, Governor
from tests.process.helpers import DEADLINE, Puppet, eventually, program, run_job
from tests.process.running import program as compiled

PAGES = 4000


def data_of(*pids: int) -> int:
    """Pages of data and stack, as the kernel counts them by process."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[5]) for pid in pids)


class MemoryPuppet(Puppet):
    """The program memory_puppet: an order is a letter and a number of pages."""

    def do(self, letter: str) -> tuple[int, int]:
        self.say(letter)
        return self._hear()

    def say(self, order: str) -> None:
        """Give an order; whether it answers is seen later."""
        os.write(self._orders, f"{order} ".encode())  # the space ends the number

    def settle(self) -> None:
        """Hear the answer to an order that was only said."""
        assert self._hear()[0] == 0


@contextlib.contextmanager
def puppet(gov: Governor, container: Container, path: str | None = None) -> Iterator[MemoryPuppet]:
    path = path or program("memory_puppet")

    def start(stdin: int, stdout: int) -> None:
        gov.spawn([path], containers=[container], stdin=stdin, stdout=stdout)

    with MemoryPuppet(start) as made:
        yield made


@pytest.fixture
def container(gov: Governor) -> Container:
    made = gov.mount("memory", ["privvmpages"]).mkdir("/some")
    made["privvmpages.limit"] = PAGES
    return made


def held(container: Container) -> int:
    return int(container["privvmpages.held"])


def failcnt(container: Container) -> int:
    return int(container["privvmpages.failcnt"])


def room(container: Container) -> int:
    return PAGES - held(container)


class TestOneProcess:
    def test_held_is_what_the_kernel_says(self, gov: Governor, container: Container) -> None:
        with puppet(gov, container) as it:
            assert held(container) == data_of(it.pid)
            for order in ("m100", "s100", "n100", "p50", "b30", "T0"):
                assert it.do(order)[0] == 0, order
                assert held(container) == data_of(it.pid), order
            assert failcnt(container) == 0

    def test_limit_is_met_to_the_page(self, gov: Governor, container: Container) -> None:
        with puppet(gov, container) as it:
            fitting = room(container)
            assert it.do(f"m{fitting + 1}") == (errno.ENOMEM, -1)
            assert it.do(f"m{fitting}") == (0, 0)
            assert data_of(it.pid) == PAGES
            assert it.do("m1") == (errno.ENOMEM, -1)
            assert failcnt(container) == 2
            assert it.do("u0") == (0, 0)
            assert it.do("m1") == (0, 0)

    def test_barrier_is_for_ordinary_callers(self, gov: Governor, container: Container) -> None:
        with puppet(gov, container) as it:
            container["privvmpages.barrier"] = held(container) + 10
            assert it.do("m10") == (0, 0)
            expected = errno.ENOMEM if os.geteuid() else 0
            assert it.do("m1")[0] == expected
            assert failcnt(container) == (1 if expected else 0)

    @pytest.mark.parametrize("kind", ["mprotect", "mremap", "thread", "fork"])
    def test_every_other_way(self, gov: Governor, container: Container, kind: str) -> None:
        """At the limit each is refused; as soon as there is room it is not."""
        with puppet(gov, container) as it:
            before = {"mprotect": "n10", "mremap": "m5"}.get(kind)
            if before:
                assert it.do(before)[0] == 0
            order = {"mprotect": "p10", "mremap": "r10", "thread": "T0", "fork": "f0"}[kind]
            expected = errno.EAGAIN if kind == "thread" else errno.ENOMEM  # as pthread_create says
            container["privvmpages.limit"] = held(container) + 4
            assert it.do(order)[0] == expected
            assert failcnt(container) >= 1
            assert data_of(it.pid) <= int(container["privvmpages.limit"])
            container["privvmpages.limit"] = PAGES
            assert it.do(order)[0] == 0

    def test_what_is_free(self, gov: Governor, container: Container) -> None:
        """Nothing that is shared, unreadable or made smaller is refused at the limit."""
        with puppet(gov, container) as it:
            assert it.do("m20")[0] == 0
            container["privvmpages.limit"] = held(container)
            assert it.do("m1")[0] == errno.ENOMEM
            for order in ("r10", "r5", "s1000", "u0", "n1000", "b0", "b-1"):
                assert it.do(order)[0] == 0, order

    @pytest.mark.parametrize("library", ["cc", "static", "musl"])
    def test_refused_break_stays_where_it_is(
        self, gov: Governor, container: Container, library: str
    ) -> None:
        """As the kernel does it: the answer is the old break, by which C libraries know."""
        flags = [] if library == "cc" else ["-static"]
        compiler = "musl-gcc" if library == "musl" else "cc"
        path = compiled("memory_puppet", "-pthread", *flags, compiler=compiler)
        # sbrk of musl is always refused, so there it is the call itself.
        move = "b" if library == "musl" else "S"
        with puppet(gov, container, path) as it:
            assert it.do(f"{move}10")[0] == 0
            fitting = room(container)
            before = data_of(it.pid)
            assert it.do(f"b{fitting + 1}") == (0, 0)
            assert it.do(f"S{fitting + 1}")[0] == errno.ENOMEM
            assert data_of(it.pid) == before
            assert it.do(f"{move}{fitting}")[0] == 0
            assert data_of(it.pid) == PAGES

    @pytest.mark.parametrize("pages", [1, 8, 100])
    def test_malloc_until_null(self, gov: Governor, container: Container, pages: int) -> None:
        """Small ones come from the heap, large ones are mapped; afterwards all goes on."""
        with puppet(gov, container) as it:
            times = {it.do(f"a{pages}") for _ in range(3)}
            error, got = min(times)
            assert error == 0
            assert PAGES * 0.8 < got * pages < PAGES
            assert failcnt(container) >= 3
            assert int(container["privvmpages.maxheld"]) <= PAGES

    def test_what_exec_leaves_behind(self, gov: Governor, container: Container) -> None:
        """The old space is gone; a worker that is yet to exec counts for nothing."""
        container["privvmpages.limit"] = 500
        result, out = run_job(gov, ["sh", "-c", "exec cat /proc/self/statm"], [container])
        assert result.exit_code == 0
        assert int(out.split()[5]) < 500
        assert int(container["privvmpages.maxheld"]) < 500
        assert held(container) == 0


class TestTogether:
    def test_copies_count_and_shared_spaces_do_not(
        self, gov: Governor, container: Container
    ) -> None:
        with puppet(gov, container) as it:
            assert it.do("m300")[0] == 0
            pids = [it.pid, *(it.do("f0")[1] for _ in range(3))]
            assert held(container) == data_of(*pids)
            assert it.do("T0")[0] == 0
            assert held(container) == data_of(*pids)
            # Like vfork, posix_spawn copies nothing: there is no room for a copy.
            container["privvmpages.limit"] = held(container) + 200
            assert it.do("f0")[0] == errno.ENOMEM
            assert it.do("v0")[0] == 0
            assert it.do("e0")[0] == 0
            assert it.do("f0")[0] == 0

    def test_storm(self, gov: Governor, container: Container) -> None:
        """Nobody who maps while others do brings all of them over the limit."""
        result, out = run_job(gov, [program("memory_storm"), "4", "3", "400"], [container])
        assert result.exit_code == 0
        highest, before, refused, other = map(int, out.split())
        assert highest + before <= PAGES
        assert refused > 0
        assert other == 0
        assert failcnt(container) == refused

    def test_limit_above_counts_all(self, gov: Governor, container: Container) -> None:
        parent = gov.hierarchy("memory").root
        parent["privvmpages.limit"] = PAGES
        other = gov.hierarchy("memory").mkdir("/other")
        with puppet(gov, container) as one, puppet(gov, other) as two:
            assert one.do("m1500")[0] == 0
            left = PAGES - data_of(one.pid, two.pid)
            assert two.do(f"m{left + 1}")[0] == errno.ENOMEM
            assert two.do(f"m{left}")[0] == 0
            assert failcnt(parent) == 1
            assert (failcnt(container), failcnt(other)) == (0, 0)

    def test_leader_that_has_ended(self, gov: Governor, container: Container) -> None:
        """Its threads keep the memory, which the leader's entry does not show any more."""
        text = """
import ctypes, mmap, os, threading, time
kept = mmap.mmap(-1, 1000 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def stay():
    while open("/proc/self/stat").read().split()[2] != "Z":
        pass
    os.read(0, 1)
    os._exit(0)
threading.Thread(target=stay).start()
ctypes.CDLL(None).syscall(60, 0)
"""
        container["privvmpages.limit"] = "max"
        read, write = os.pipe()
        job = gov.spawn([sys.executable, "-c", text], containers=[container], stdin=read)
        try:
            state = Path(f"/proc/{job.pid}/stat")
            eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z", "it ended")
            assert data_of(job.pid) == 0
            assert held(container) > 1000
        finally:
            os.close(read)
            os.close(write)
        assert job.wait(DEADLINE).exit_code == 0


class TestHarmless:
    @pytest.mark.parametrize(
        "command",
        [
            [sys.executable, "-c", "import json, threading, subprocess as s; s.run(['true'])"],
            ["sh", "-c", "seq 20000 | sort -rn | (sleep 0; tail -n 1)"],
            ["sh", "-c", "echo 'int main(void){return 0;}' | cc -x c -o /dev/null -"],
        ],
        ids=["python", "pipeline", "compiler"],
    )
    def test_below_the_limit(self, gov: Governor, container: Container, command: list[str]) -> None:
        compiled("memory_puppet", "-pthread")  # or there is no compiler
        container["privvmpages.limit"] = 200_000
        result, _ = run_job(gov, command, [container])
        assert result.exit_code == 0
        assert failcnt(container) == 0

    def test_program_that_cannot_be_loaded_ends(self, gov: Governor, container: Container) -> None:
        container["privvmpages.limit"] = 20
        result, _ = run_job(gov, ["true"], [container])
        # The dynamic linker says so where it has memory enough for that.
        assert result.exit_code in (127, 128 + signal.SIGSEGV)
        assert failcnt(container) > 0

    def test_callable_needs_room_for_its_interpreter(
        self, gov: Governor, container: Container
    ) -> None:
        container["privvmpages.limit"] = 100_000
        job = gov.spawn(lambda: bytearray(50_000_000), containers=[container])
        assert job.wait(DEADLINE).exit_code == 0
        container["privvmpages.limit"] = 10_000
        job = gov.spawn(lambda: bytearray(50_000_000), containers=[container])
        assert job.wait(DEADLINE).exit_code == 1
