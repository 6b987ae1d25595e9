"""``governor doctor`` on this host, on one that forbids things, and inside a governed job."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from governor.api import Governor
from governor.registry import names
from tests.capabilities import need
from tests.programs.facility_support import prctl
from workers.membership import RLIMIT_LOCKS
from workers.syscalls import table

GOVERNOR = [sys.executable, "-m", "governor"]
DOCTOR = [*GOVERNOR, "doctor"]
FORBID = [sys.executable, str(Path(__file__).parent.parent / "programs" / "forbid.py")]

KILL = 0x80000000
REFUSE = 0x00050000
_PR_CAPBSET_DROP = 24
_CAP_SYS_RESOURCE = 24
_MKDIR = {"x86_64": (83, 258), "aarch64": (34,)}


def call(
    *command: str, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": search, **(env or {})},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=100,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
    assert "Traceback" not in f"{done.stdout}{done.stderr}"
    return done


def examine(
    *before: str, said: str = "", **options: Any
) -> tuple[dict[str, str], dict[str, str], Any]:
    """States by capability, levels by subsystem, and all there is.

    ``said``: what ends the only line on standard error, if there is to be one.
    """
    done = call(*before, *DOCTOR, "--json", **options)
    assert [line.endswith(said) for line in done.stderr.splitlines()] == [True] * bool(said)
    found = json.loads(done.stdout)
    states = {row["name"]: row["state"] for row in found["capabilities"]}
    levels = {row["name"]: row["level"] for row in found["subsystems"]}
    assert done.returncode == any(row["level"] != row["best"] for row in found["subsystems"])
    return states, levels, found


def forbidding(verdict: int, *numbers: int) -> list[str]:
    return [*FORBID, f"{verdict:x}", ",".join(map(str, numbers))]


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    """What this host can do without being forbidden anything."""
    return examine()[0]


def test_it_agrees_with_what_a_governor_does() -> None:
    _, levels, _ = examine()
    assert sorted(levels) == names()
    with Governor() as governor:
        hierarchy = governor.mount("all", names())
        governor.spawn(["true"], containers=[hierarchy.root]).wait()
        need("none" not in levels.values(), "a governor cannot run on this host")
        assert governor.enforcement() == levels


def test_the_text_fits_a_terminal() -> None:
    done = call(*DOCTOR, env={"COLUMNS": "20"})
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.startswith("governor ")
    assert "\nsubsystem " in done.stdout


def test_json_gives_reasons_and_advice() -> None:
    _, _, found = examine()
    keys = {"version", "kernel", "machine", "user", "capabilities", "subsystems", "unseen"}
    assert found.keys() == keys
    for row in found["capabilities"]:
        assert row.keys() == {"name", "use", "without", "advice", "state", "seen"}
        assert row["use"]
        assert row["without"]
    for row in found["subsystems"]:
        assert row.keys() == {"name", "level", "why", "best"}
        assert row["why"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EINVAL, errno.ENOSYS])
def test_seccomp_refused(code: int, here: dict[str, str]) -> None:
    states, levels, _ = examine(*forbidding(REFUSE | code, table().seccomp))
    assert states["seccomp_notification"] == "missing"
    assert states["no_other_listener"] == states["memory"] == "unknown"
    assert (levels["numtasks"], levels["numfiles"], levels["cpuset"]) == ("observed",) * 3
    assert levels["cpuacct"] == "enforced"
    changed = {name for name in states if states[name] != here[name]}
    assert changed <= {
        "seccomp_notification",
        "no_other_listener",
        "synchronous_wake_up",
        "memory",
    }


def test_calls_that_kill() -> None:
    states, levels, found = examine(*forbidding(KILL, table().seccomp, table().kcmp))
    assert states["seccomp_notification"] == states["kcmp"] == "missing"
    assert states["tag"] == "ok"
    assert levels["numfiles"] == "observed"
    kcmp = next(row for row in found["capabilities"] if row["name"] == "kcmp")
    assert kcmp["seen"] == "the host ended the process with SIGSYS"


def test_kcmp_refused(here: dict[str, str]) -> None:
    need(here["seccomp_notification"] == "ok", "this host cannot trap calls")
    states, levels, _ = examine(*forbidding(REFUSE | errno.EPERM, table().kcmp))
    assert states["kcmp"] == "missing"
    assert (levels["numfiles"], levels["numtasks"]) == ("partial", "enforced")


def test_other_processes_out_of_reach() -> None:
    states, levels, _ = examine(*forbidding(REFUSE | errno.EPERM, table().prlimit64))
    assert states["tag"] == "missing"
    assert set(levels.values()) == {"none"}


def test_a_lowered_limit_of_locks() -> None:
    def lower() -> None:
        prctl(_PR_CAPBSET_DROP, _CAP_SYS_RESOURCE)  # which lets root set any limit
        resource.setrlimit(RLIMIT_LOCKS, (5, 5))

    states, levels, _ = examine(preexec_fn=lower)
    assert states["tag"] == "missing"
    assert set(levels.values()) == {"none"}


def test_inside_a_governed_job(here: dict[str, str]) -> None:
    need(here["seccomp_notification"] == "ok", "this host cannot trap calls")
    states, levels, found = examine(*GOVERNOR, "run", "--max-tasks", "50", "--")
    assert states["no_other_listener"] == states["tag"] == "missing"
    assert set(levels.values()) == {"none"}
    seen = {row["name"]: row["seen"] for row in found["capabilities"]}
    assert seen["no_other_listener"] == "this process belongs to a governed job"
    assert "another governor" in seen["tag"]


def test_at_a_limit_that_leaves_no_process(here: dict[str, str]) -> None:
    need(here["seccomp_notification"] == "ok", "this host cannot trap calls")
    command = (*GOVERNOR, "run", "--max-tasks", "1", "--")
    states, levels, _ = examine(*command, said="times (limit 1, held 1)")
    assert states["seccomp_notification"] == states["kcmp"] == "unknown"
    assert set(levels.values()) == {"none"}


def test_no_place_for_sockets() -> None:
    numbers = _MKDIR[os.uname().machine]
    states, levels, found = examine(*forbidding(REFUSE | errno.EROFS, *numbers))
    assert states["runtime_directory"] == "missing"
    assert set(levels.values()) == {"none"}
    seen = {row["name"]: row["seen"] for row in found["capabilities"]}
    assert "Read-only file system" in seen["runtime_directory"]


def test_nothing_is_left_behind() -> None:
    # Not pytest's directory: its path may be too long for a socket's address.
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        states, _, found = examine(env={"XDG_RUNTIME_DIR": "", "TMPDIR": place})
        assert states["runtime_directory"] == "ok"
        seen = {row["name"]: row["seen"] for row in found["capabilities"]}
        assert seen["runtime_directory"] == place
        assert os.listdir(place) == []


def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = call(*DOCTOR, stdout=full)
    assert (done.returncode, done.stderr) == (
        125,
        "governor: cannot print: No space left on device\n",
    )


def test_a_reader_that_went_away() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as output:
        done = call(*DOCTOR, stdout=output)
    assert done.returncode in (0, 1)
    assert done.stderr == ""


@pytest.mark.parametrize("argument", ["--nonsense", "numtasks"])
def test_a_mistake_on_the_command_line(argument: str) -> None:
    done = call(*DOCTOR, argument)
    assert (done.returncode, done.stdout) == (2, "")
    assert argument in done.stderr
    assert done.stderr.count("\n") == 1
