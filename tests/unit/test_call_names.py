"""The names of trapped system calls, against the tables and the kernel's headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from governor.metrics.calls import NAMES
from tests.capabilities import need
from workers.syscalls import MemoryCalls, table

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def numbers(value: object) -> set[int]:
    if isinstance(value, int):
        return {value}
    if isinstance(value, dict | frozenset | tuple):
        return {number for item in value for number in numbers(item)}
    return set()


@pytest.mark.parametrize("machine", NAMES)
def test_every_call_of_the_table_has_a_name(machine: str) -> None:
    rows = table(machine)._asdict()
    del rows["audit_arch"], rows["foreign_mask"]
    assert isinstance(rows["memory"], MemoryCalls)
    assert numbers(tuple(rows.values())) - NAMES[machine].keys() == set()


@pytest.mark.parametrize("machine", NAMES)
def test_the_kernel_calls_them_so(machine: str) -> None:
    header = HEADERS[machine]
    need(header.exists(), f"{header}, of the kernel's headers, is not there")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", header.read_text())
    known = {int(number): name for name, number in found}
    named = {nr: name for nr, name in NAMES[machine].items() if nr in known}
    assert named == {nr: known[nr] for nr in named}
    assert len(named) > 30
