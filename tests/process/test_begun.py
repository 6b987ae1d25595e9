"""A supervisor that is forked before anybody asks for it, as by ``governor run``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.helpers import DEADLINE, PYTHONPATH

pytestmark = pytest.mark.once

BEGIN = """
import os
from governor import launch
from governor.api import Governor

launch.begin()
while not (begun := "".join(os.listdir(os.environ["XDG_RUNTIME_DIR"]))):
    os.sched_yield()

def is_begun(gov):
    return os.path.basename(gov.directory) == begun

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return len(file.read().split())
"""

ASKED_FOR = """
with Governor(fork=True) as gov:
    print(is_begun(gov), children(), gov.spawn(["true"]).wait().exit_code)
"""
OTHER_TERMS = """
with Governor(fork=True, agent_timeout=3.0) as gov:
    print(is_begun(gov), children())
print(children())
launch.abandon()
"""
NOT_ASKED_FOR = """
print(children())
launch.abandon()
launch.abandon()
"""
NO_PLACE = """
launch.abandon()
os.environ["XDG_RUNTIME_DIR"] = os.environ["TMPDIR"] = "/proc/nowhere"
launch.make_directory.__globals__["is_safe"] = lambda base: False
launch.begin()
print(children())
try:
    Governor(fork=True)
except launch.GovernorError as error:
    print("another user may rename" in error.message and "XDG_RUNTIME_DIR" in error.message)
"""


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (ASKED_FOR, "True 1 0"),
        (OTHER_TERMS, "False 2 1"),
        (NOT_ASKED_FOR, "1"),
        (NO_PLACE, "1 True"),
    ],
    ids=["asked for", "asked for on other terms", "not asked for", "no place for it"],
)
def test_it_is_had_or_it_ends(tmp_path: Path, then: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{BEGIN}{then}print(children())"],
        env={"PYTHONPATH": PYTHONPATH, "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [*said.split(), "0"]
    assert list(tmp_path.iterdir()) == []
