"""Resources: their calls on every machine, what they demand, and when a filter traps them."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import seccomp, signals
from workers.demands import Demands
from workers.resources import NAMES, When, load, trapped
from workers.syscalls import CLONE_PIDFD, Table, table

MACHINES = ("x86_64", "aarch64")
every_machine = pytest.mark.parametrize("calls", [table(name) for name in MACHINES], ids=MACHINES)

TRAP, ALLOW = 0x7FC00000, 0x7FFF0000


def verdict(program: bytes, calls: Table, nr: int, *args: int) -> int:
    """What a filter says of a call: classic BPF as far as our filters use it."""
    data = struct.pack("=iIQ6Q", nr, calls.audit_arch, 0, *args, *[0] * (6 - len(args)))
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x05:
            at += value
        elif code == 0x15:
            at += if_true if accumulator == value else if_false
        elif code == 0x45:
            at += if_true if accumulator & value else if_false
        else:
            assert code == 0x06, code
            return int(value)


@every_machine
@pytest.mark.parametrize("name", NAMES)
def test_every_one_is_told_by_its_calls(calls: Table, name: str) -> None:
    resource = load(name, calls)
    assert resource.name == name
    assert resource.errno > 0
    assert resource.when.keys() <= resource.calls.keys()
    assert set(resource.may_block) <= resource.calls.keys()
    assert all(amount > 0 for amount in resource.calls.values())


def test_there_is_no_other() -> None:
    with pytest.raises(ValueError, match="tasks, files"):
        load("dreams", table("x86_64"))


def meeting(when: When, value: int) -> list[int]:
    """Arguments that meet a condition by this value, and whatever else it asks for."""
    args = [0] * 6
    args[when.argument] = value
    while when.also is not None:
        when = when.also
        args[when.argument] = when.bits & -when.bits or when.values[0]
    return args


@every_machine
def test_a_filter_traps_the_calls_of_its_resources_and_no_others(calls: Table) -> None:
    """Conditions are met or not; a call that another resource traps always is trapped."""
    for traps in ({"files"}, {"tasks", "files"}, {"locks"}, {"sockets", "ptys"}, set(NAMES)):
        program = seccomp.build(traps, calls)
        resources = trapped(traps, calls)
        for nr in range(500):
            if nr in (*calls.io_uring, calls.prlimit64, calls.setrlimit):
                continue
            whens = [r.when.get(nr) for r in resources if nr in r.calls]
            assert verdict(program, calls, nr) == (TRAP if None in whens else ALLOW), nr
            for when in filter(None, whens):
                for value in (when.bits & -when.bits, *when.values):
                    if value:
                        assert verdict(program, calls, nr, *meeting(when, value)) == TRAP


@every_machine
def test_conditions_of_several_resources_are_alternatives(calls: Table) -> None:
    whens = [When(0, bits=CLONE_PIDFD), When(2, bits=6, values=(1, 8))]
    body = b"".join(seccomp._trap_when(whens))
    assert verdict(body, calls, 0, CLONE_PIDFD) == TRAP
    for value in range(16):
        expected = TRAP if value & 6 or value in (1, 8) else ALLOW
        assert verdict(body, calls, 0, 0, 0, value) == expected


@every_machine
def test_demands_of_several_resources(calls: Table) -> None:
    demands = Demands(calls, {"ptys", "files", "affinity", "tasks", "sockets"})
    pair = next(nr for nr, made in calls.sockets.items() if made == 2)
    opened = next(iter(calls.opens))
    assert demands.quick[pair] == (("files", 2), ("sockets", 2))
    assert demands.quick[calls.clone3] == (("tasks", 1), ("files", 1))
    assert demands.exact(calls.clone, [0], 0) == (("tasks", 1),)
    assert demands.exact(pair, [0], 0) == (("files", 2), ("sockets", 2))
    assert demands.vague == dict.fromkeys(calls.opens, frozenset({"ptys"}))
    assert calls.sched_setaffinity not in demands.quick
    # Nobody has thread 0, so that its memory says nothing of the path.
    assert demands.exact(opened, [0, 0], 0) == (("files", 1),)


@given(
    st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=5), st.integers(0, 3)
)
def test_pending_signals_are_counted(shared: int, own: list[int], timers: int) -> None:
    with tempfile.TemporaryDirectory() as proc:
        process = Path(proc) / "7"
        for tid, mask in enumerate(own, 7):
            (process / "task" / str(tid)).mkdir(parents=True)
            (process / "task" / str(tid) / "status").write_text(
                f"Name:\tx\nSigPnd:\t{mask:016x}\nShdPnd:\t{shared:016x}\nSigBlk:\t{2**64 - 1:x}\n"
            )
        if own:
            (process / "status").write_text(f"SigPnd:\t{own[0]:016x}\nShdPnd:\t{shared:016x}\n")
            (process / "timers").write_text(
                "".join(f"ID: {n}\nsignal: 0/0\n" for n in range(timers))
            )
        expected = shared.bit_count() + sum(map(int.bit_count, own)) + timers if own else 0
        assert signals.pending(7, proc) == expected
