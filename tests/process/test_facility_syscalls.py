from __future__ import annotations

import errno
import os

import pytest

from governor.errors import GovernorError
from tests.capabilities import need
from workers.syscalls import CLONE_PIDFD, created, extra_files, table


def test_unknown_machine_names_the_known_ones() -> None:
    with pytest.raises(GovernorError, match="x86_64, aarch64") as caught:
        table("vax")
    assert caught.value.errno == errno.ENOSYS


def test_this_machine_is_the_default() -> None:
    machine = os.uname().machine
    need(machine in ("x86_64", "aarch64"), f"no system call table for {machine}")
    assert table() == table(machine)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_sets_are_consistent(machine: str) -> None:
    calls = table(machine)
    assert {calls.clone, calls.clone3} <= calls.tasks
    assert calls.signalfd <= calls.files.keys()
    assert calls.may_block <= calls.files.keys()
    assert not calls.tasks & calls.files.keys()
    assert not calls.io_uring & calls.files.keys()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_a_call_creates(machine: str) -> None:
    calls = table(machine)
    for number in calls.signalfd:
        assert created(calls, number, [0xFFFFFFFF]) == 1
        assert created(calls, number, [0xFFFFFFFFFFFFFFFF]) == 1
        assert created(calls, number, [5]) == 0
    assert created(calls, calls.clone, [CLONE_PIDFD | 17]) == 1
    assert created(calls, calls.clone, [17]) == 0
    assert created(calls, 0, [0]) == 0


def test_clone3_flags_are_read_from_memory() -> None:
    import ctypes

    calls = table()
    for flags in (CLONE_PIDFD, CLONE_PIDFD | 0x100, 0x100, 0):
        memory = ctypes.create_string_buffer(flags.to_bytes(8, "little"))
        args = [ctypes.addressof(memory)]
        assert extra_files(calls, calls.clone3, args, os.getpid()) == bool(flags & CLONE_PIDFD)
        assert extra_files(calls, calls.clone3, args) == 1
    assert extra_files(calls, calls.clone3, [1], os.getpid()) == 1
