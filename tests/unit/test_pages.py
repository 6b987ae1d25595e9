"""Resources in pages: what each call asks for, what /proc says, and what is done at a limit."""

from __future__ import annotations

import mmap
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import governor.subsystem.watched
from governor import memory
from governor.core.container import Container
from governor.core.forest import Forest, control_files
from governor.core.plan import compile_plan
from governor.memory import PAGE_SIZE, Memory, pages, proportional
from governor.results import Value
from governor.subsystem.watched import Watched, WatchedSubsystem
from workers import spaces
from workers.resources.privvmpages import Counted
from workers.spaces import heap_end
from workers.syscalls import CLONE_VM, table

CALLS = table().memory
WRITABLE, PRIVATE, SHARED = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, mmap.MAP_SHARED
sizes = st.integers(0, 1 << 48)


@pytest.fixture(scope="module")
def resource() -> Counted:
    return Counted(table())


def asked(nr: int, *args: int) -> int:
    return Counted(table()).exact(nr, (*args, *[0] * (6 - len(args))), os.getpid())


class TestWhatIsAsked:
    @given(sizes)
    def test_pages_are_whole(self, size: int) -> None:
        assert 0 <= pages(size) * PAGE_SIZE - size < PAGE_SIZE

    @given(sizes, st.integers(0, 7), st.sampled_from([PRIVATE, SHARED, 3]), st.integers(0, 1))
    def test_mmap(self, size: int, protection: int, kind: int, anonymous: int) -> None:
        flags = kind | anonymous * mmap.MAP_ANONYMOUS
        counts = kind == PRIVATE and protection & mmap.PROT_WRITE
        assert asked(CALLS.mmap, 0, size, protection, flags) == (pages(size) if counts else 0)

    def test_huge_pages_are_whole_too(self) -> None:
        huge = PRIVATE | 0x40000
        assert asked(CALLS.mmap, 0, 1, WRITABLE, huge) == pages(1 << 21)
        assert asked(CALLS.mmap, 0, 1, WRITABLE, huge | 30 << 26) == pages(1 << 30)

    @given(sizes, sizes)
    def test_mremap(self, old: int, new: int) -> None:
        grown = asked(CALLS.mremap, 0, old, new, 1)
        assert grown == max(0, pages(new) - pages(old))
        assert asked(CALLS.mremap, 0, old, new, 1 | 4) == pages(new)

    @given(sizes)
    def test_mprotect(self, size: int) -> None:
        for nr in CALLS.mprotect:
            assert asked(nr, 0, size, WRITABLE) == pages(size)
            assert asked(nr, 0, size, mmap.PROT_READ) == 0

    @given(st.integers(-1000, 1000))
    def test_brk(self, more: int) -> None:
        end = heap_end(os.getpid())
        assert end is not None
        assert asked(CALLS.brk, end + more * PAGE_SIZE) == max(0, more)
        assert asked(CALLS.brk, 0) == 0

    def test_clone(self) -> None:
        own = memory.memory(os.getpid())
        assert own is not None
        assert asked(table().clone, CLONE_VM) == 0
        assert asked(table().clone, signal.SIGCHLD) == pytest.approx(own.data, rel=0.1)

    def test_refused_break_is_the_old_one(self, resource: Counted) -> None:
        end = heap_end(os.getpid())
        assert resource.refusal(CALLS.brk, [end or 0] * 6, os.getpid()) == (end, 0)


class TestWhatProcSays:
    def process(self, proc: Path, pid: int, **files: str) -> None:
        directory = proc / str(pid)
        (directory / "task" / str(pid)).mkdir(parents=True)
        for name, text in files.items():
            (directory / name).write_text(text)

    def test_heap_is_where_the_last_of_its_mappings_ends(self, tmp_path: Path) -> None:
        other = "7f00-7f10 rw-p 00000000 00:00 0 \n"
        maps = (
            "1000-3000 rw-p 00000000 00:00 0                  [heap]\n"
            "3000-5000 r--p 00000000 00:00 0                  [heap]\n"
        )
        self.process(tmp_path, 1, maps=maps + other)
        assert heap_end(1, str(tmp_path)) == 0x5000
        fields = " ".join(str(number) for number in range(3, 53))
        self.process(tmp_path, 2, maps=other, stat=f"2 (a ) b) {fields}")
        assert heap_end(2, str(tmp_path)) == 47
        self.process(tmp_path, 3, maps=other, stat=f"3 (x) {fields.replace(' 47 ', ' 0 ')}")
        assert heap_end(3, str(tmp_path)) is None
        assert heap_end(4, str(tmp_path)) is None

    def test_memory_of_threads_whose_leader_has_ended(self, tmp_path: Path) -> None:
        self.process(tmp_path, 1, statm="0 0 0 0 0 0 0\n")
        assert memory.memory(1, str(tmp_path)) is None
        (tmp_path / "1" / "task" / "5").mkdir()
        self.process(tmp_path, 5, statm="9 8 7 6 0 5 0\n")
        assert memory.memory(1, str(tmp_path)) == Memory(9, 8, 6, 5)
        assert memory.memory(6, str(tmp_path)) is None

    def test_share_is_no_more_than_what_is_resident(self) -> None:
        own = memory.memory(os.getpid())
        assert own is not None
        assert 0 < proportional(os.getpid(), own) <= own.resident * 1.05
        assert proportional(2**22, Memory(9, 8, 6, 5)) == 8


def test_a_worker_that_becomes_a_program_while_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the interpreter had in it is over when the process has another name."""
    own, after = Memory(9, 8, 6, 5000), Memory(4, 3, 1, 50)
    looks = {1: own, os.getpid(): own}

    def starting(pid: int) -> bool:
        looks[pid] = after
        return False

    monkeypatch.setattr(spaces, "memory", lambda pid: looks[pid])
    monkeypatch.setattr(spaces, "_starting", starting)
    assert list(spaces.spaces([1])) == [(1, after)]


class Toy(WatchedSubsystem):
    name = resource = "toy"
    measure = staticmethod(lambda pid, space: space.resident)


class Host:
    """Members by path; what was signalled and told."""

    now = 0.0

    def __init__(self, members: dict[str, list[int]]) -> None:
        self.by_path = members
        self.signals: list[tuple[int, int]] = []
        self.events: list[tuple[str, str]] = []

    def members(self, container: Container) -> list[int]:
        return self.by_path.get(container.path, [])

    def signal(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))

    def event(self, kind: str, container: Container, **fields: Value) -> None:
        # Whose process it is can be found out as long as it lives.
        assert kind != "kill" or (fields["pid"], signal.SIGKILL) not in self.signals
        self.events.append((kind, container.path))

    def changed(self, container: Container) -> None:
        pass

    def took(self) -> list[tuple[int, int]]:
        """The signals since the last time."""
        taken, self.signals = self.signals, []
        return taken


@pytest.fixture
def sizes_by_pid(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    known: dict[int, int] = {}

    def look(pid: int) -> Memory | None:
        return Memory(1, known[pid], 1, 1) if known.get(pid) else None

    monkeypatch.setattr(governor.subsystem.watched, "memory", look)
    monkeypatch.setattr(governor.subsystem.watched, "_is_stopped", lambda pid: False)
    return known


class TestWatched:
    def tree(self) -> tuple[Toy, Container, Container]:
        toy = Toy()
        forest = Forest(lambda _: toy)
        forest.mount("h", ["toy"])
        return toy, forest.lookup("h", "/"), forest.mkdir("h", "/a")

    def set(self, container: Container, **values: Value) -> None:
        for name, value in values.items():
            file = control_files(container)[f"toy.{name}"]
            assert file.parse is not None
            assert file.write is not None
            file.write(container, file.parse(value))

    def hold(self, container: Container, held: int) -> Watched:
        state = container.states["toy"]
        assert isinstance(state, Watched)
        state.held = held
        return state

    def test_only_who_is_to_refuse_is_limited_in_plans(self) -> None:
        _, _, a = self.tree()
        self.set(a, limit=10)
        state = self.hold(a, 0)
        group = Forest(lambda _: Toy())
        for action, limited in (("refuse", True), ("stop", False), ("kill", False)):
            self.set(a, action=action)
            assert state.limited is limited
            assert control_files(a)["toy.limit"].read(a) == 10
        assert not compile_plan(group.group([])).charges

    def test_events_at_each_crossing(self) -> None:
        toy, root, a = self.tree()
        host = Host({})
        self.set(a, barrier=5, limit=8)
        for held in (5, 6, 8, 9, 9, 6, 9, 1, 6):
            self.hold(a, held)
            toy.sampled(root, host)
        kinds = [kind for kind, _ in host.events]
        assert kinds == ["barrier", "limit", "limit", "barrier"]

    def test_stopped_for_two_goes_on_when_both_are_below(
        self, sizes_by_pid: dict[int, int]
    ) -> None:
        toy, root, a = self.tree()
        host = Host({"/a": [1], "/": [2]})
        for node in (root, a):
            self.set(node, limit=10, action="stop")
            self.hold(node, 11)
        toy.sampled(root, host)
        assert sorted(host.took()) == [(1, signal.SIGSTOP)] * 2 + [(2, signal.SIGSTOP)]
        self.hold(a, 10)
        toy.sampled(root, host)
        assert host.took() == []
        self.hold(root, 10)
        toy.sampled(root, host)
        assert sorted(host.took()) == [(1, signal.SIGCONT), (2, signal.SIGCONT)]
        toy.sampled(root, host)
        assert host.took() == []

    def test_one_is_killed_at_a_time(self, sizes_by_pid: dict[int, int]) -> None:
        toy, root, a = self.tree()
        sizes_by_pid.update({1: 5, 2: 9, 3: 7})
        host = Host({"/a": [1, 2], "/": [3]})
        self.set(root, limit=10, action="kill")
        self.hold(root, 21)
        for _ in range(3):
            toy.sampled(root, host)
        assert host.took() == [(2, signal.SIGKILL)], "its memory is still being given back"
        host.by_path["/a"].remove(2)
        toy.sampled(root, host)
        assert host.took() == [], "it has gone since this was counted"
        self.hold(root, 12)
        toy.sampled(root, host)
        assert host.took() == [(3, signal.SIGKILL)]
        self.hold(root, 5)
        toy.sampled(root, host)
        assert host.took() == []
        assert control_files(root)["toy.failcnt"].read(root) == 2
        assert control_files(a)["toy.failcnt"].read(a) == 0

    def test_one_that_does_not_end_is_waited_for_by_the_clock(
        self, sizes_by_pid: dict[int, int]
    ) -> None:
        """However often somebody reads a figure, which is a look as well."""
        toy, root, _ = self.tree()
        sizes_by_pid.update({1: 9, 2: 5})
        host = Host({"/": [1, 2]})
        self.set(root, limit=10, action="kill")
        self.hold(root, 14)
        for _ in range(100):
            toy.sampled(root, host)
        assert host.took() == [(1, signal.SIGKILL)]
        host.now += 1
        for _ in range(100):
            toy.sampled(root, host)
        assert host.took() == [(2, signal.SIGKILL)], "the first one cannot give anything"

    @given(st.dictionaries(st.integers(1, 50), st.tuples(st.integers(1, 99), st.integers(0, 99))))
    def test_largest(self, found: dict[int, tuple[int, int]]) -> None:
        """The same as if every share were looked at."""
        shares = {pid: min(share, resident) for pid, (resident, share) in found.items()}
        toy = Toy()
        toy.measure = lambda pid, space: shares[pid]  # type: ignore[misc]
        by_pid = {pid: Memory(1, resident, 1, 1) for pid, (resident, _) in found.items()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(governor.subsystem.watched, "memory", by_pid.get)
            largest = toy.largest(found)
        assert (largest is None) == (not found)
        if largest is not None:
            assert shares[largest] == max(shares.values())
