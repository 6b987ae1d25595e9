"""Who is privileged: the capability counts, and the user namespace it holds in."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.capabilities import need
from workers.privilege import CAPABILITIES, privileged


def effective() -> bool:
    """What proc(5) says of this process, read another way."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    return bool(int(fields["CapEff"], 16) & CAPABILITIES)


def of_child(command: list[str]) -> bool:
    """Whether a program that is started by this command is privileged."""
    child = subprocess.Popen(
        [*command, "sh", "-c", "echo up; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        need(child.stdout.readline() == b"up\n", f"{command[0]} is not allowed here")
        found = privileged(child.pid)
        child.stdin.close()
    return found


def test_the_capability_is_what_counts() -> None:
    assert privileged(os.getpid()) is effective()
    assert of_child(["env"]) is effective()


def test_without_the_capability_root_is_ordinary() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root drops capabilities")
    assert not of_child(["setpriv", "--bounding-set=-sys_resource,-sys_admin"])


def test_root_of_a_user_namespace_is_ordinary_outside() -> None:
    assert not of_child(["unshare", "--user", "--map-root-user"])


def test_who_is_gone_is_not_privileged() -> None:
    assert not privileged(2**22 + 1)
