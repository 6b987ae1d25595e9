"""``governor up``, ``down`` and ``status``: a governor's life, and whom it lets in."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import governor
from governor.api import Governor
from tests.capabilities import need
from tests.end_to_end.runner import DEADLINE, Runner, end, heard
from tests.end_to_end.running import Shell
from tests.process.helpers import PYTHONPATH, eventually, exists, kill_and_see, state
from workers.undertaker import oldest_first


def runs(pid: int) -> bool:
    """Whether the process has not ended; a zombie has."""
    return state(pid) not in "ZX"


def is_still(pid: int) -> bool:
    """Whether a process that was stopped has come to a stand, or ended."""
    return state(pid) in "TtZX"


def stop_all(shell: Shell, but: set[int]) -> set[int]:
    """Stop the processes of a governor, also those that were just being made; all of them."""
    stopped: set[int] = set()
    while new := set(shell.runner.mark.processes()) - but - stopped:
        for pid in new:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in new:
            eventually(partial(is_still, pid), "it stands still")
        stopped |= new
    return set(filter(runs, stopped))


def sleep_in(shell: Shell) -> tuple[subprocess.Popen[str], int]:
    """A client with a job of the running governor that sleeps, and the job's pid."""
    process = shell.start("run", "--at", "--", "sh", "-c", "echo $$; exec sleep 1000")
    return process, int(heard(process))


def test_up_returns_when_clients_may_connect(shell: Shell) -> None:
    pid = shell.up()
    assert ["pid", str(pid)] in map(str.split, shell.say("status").split("\n"))
    assert stat.S_IMODE(shell.directory.stat().st_mode) == 0o700
    assert exists(pid)


def test_down_ends_it_with_everything(shell: Shell) -> None:
    pid = shell.up()
    client, job = sleep_in(shell)
    with client:
        assert shell.say("down", "--grace", "100ms") == ""
        assert not exists(pid)
        assert not runs(job)
        assert not shell.directory.exists()
        end(client, "")


@pytest.mark.once
def test_without_one_there_is_a_code_of_its_own(shell: Shell) -> None:
    for command in (["status"], ["down"], ["ls"], ["mkdir", "a:/b"], ["events"]):
        ended = shell.governor(*command)
        assert ended.exit_code == 3
        assert ended.errors == (
            f"governor: no governor runs at {shell.directory}; start one with 'governor up'\n"
        )
    assert shell.governor("run", "--at", "--", "true").exit_code == 125


@pytest.mark.once
def test_a_second_one_is_told_who_is_there(shell: Shell) -> None:
    pid = shell.up()
    for mode in ([], ["--detach"]):
        ended = shell.governor("up", *mode)
        assert ended.exit_code == 1
        assert ended.errors == (
            f"governor: a governor runs at {shell.directory} already: process {pid} [EBUSY]\n"
        )
    assert shell.say("ls") == "0\n"


@pytest.mark.once
def test_up_without_streams(shell: Shell) -> None:
    script = f"exec {sys.executable} -m governor up --detach <&- >&- 2>&-"
    env = {"GOVERNOR_DIR": str(shell.directory)}
    with shell.runner.command(["sh", "-c", script], env=env) as process:
        assert end(process, "") == (0, "", "")
    assert shell.governor("up").errors.endswith("[EBUSY]\n")
    assert shell.say("run", "--at", "--", "echo", "heard") == "heard\n"


@pytest.mark.once
def test_up_mounts_and_sets(shell: Shell) -> None:
    shell.up("--hierarchy", "load=numtasks", "--set", "load:/a/b:numtasks.limit=5")
    assert shell.say("get", "load:/a/b:numtasks.limit") == "5\n"


@pytest.mark.once
@pytest.mark.parametrize("mode", [[], ["--detach"]])
def test_up_that_is_refused_leaves_nothing(shell: Shell, mode: list[str]) -> None:
    ended = shell.governor("up", *mode, "--hierarchy", "load=nonsense")
    assert ended.exit_code == 1
    assert ended.errors.startswith("governor: no subsystem 'nonsense'; there are ")
    assert ended.errors.endswith("[ENOENT]\n")
    assert ended.errors.count("\n") == 1
    assert not shell.directory.exists()


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground_a_signal_ends_it_with_one_line(
    shell: Shell, number: signal.Signals
) -> None:
    process = shell.start("up")
    assert heard(process).startswith(f"governor runs at {shell.directory}: process ")
    process.send_signal(number)
    ended = end(process, "")
    assert (ended.exit_code, ended.errors) == (0, f"governor: ended by {number.name}\n")
    assert not shell.directory.exists()


@pytest.mark.once
def test_in_the_foreground_down_ends_it(shell: Shell) -> None:
    process = shell.start("up")
    heard(process)
    shell.say("down")
    assert end(process, "").exit_code == 0


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_supervisor_ends_jobs_politely(
    shell: Shell, number: signal.Signals
) -> None:
    pid = shell.up()
    script = 'trap "echo told; exit 3" TERM; echo ready; while :; do sleep 0.01; done'
    with shell.start("run", "--at", "--", "sh", "-c", script) as job:
        assert heard(job) == "ready"
        os.kill(pid, number)
        assert end(job, "").output == "told\n"
    eventually(lambda: not shell.directory.exists(), "the governor is gone")


@pytest.mark.once
def test_after_the_supervisor_was_killed_status_says_so_and_up_works(shell: Shell) -> None:
    pid = shell.up()
    client, _ = sleep_in(shell)
    with client:
        kill_and_see([pid])
        ended = end(client, "")
    assert (ended.exit_code, ended.errors) == (125, "governor: the supervisor has ended\n")
    eventually(
        lambda: "ended by signal 9" in shell.governor("status").errors, "status says what happened"
    )
    assert shell.up() != pid
    assert shell.say("ls") == "0\n"


def test_up_clears_away_what_was_left_when_all_were_killed(shell: Shell) -> None:
    shell.up()
    client, job = sleep_in(shell)
    with client:
        # Nobody notices the end of another. When parents end first, the kernel wakes up those of
        # an orphaned process group that have stopped: setpgid(2).
        everybody = stop_all(shell, {job, client.pid})
        kill_and_see(reversed(oldest_first(everybody)))
        assert client.wait(DEADLINE) == 125
        assert runs(job)
        assert shell.governor("status").exit_code == 3
        shell.up()
        assert not runs(job)
        assert shell.say("ps", "--json") == "[]\n"


def test_a_directory_is_only_used_when_nobody_else_has_a_hand_in_it(
    shell: Shell, tmp_path: Path
) -> None:
    shared, link, used = tmp_path / "shared", tmp_path / "link", tmp_path / "used"
    for directory in (shared, used):
        directory.mkdir(0o700)
    (used / "letter").write_text("dear")
    shared.chmod(0o755)
    link.symlink_to(tmp_path)
    foreign = tmp_path / "foreign" if os.geteuid() == 0 else Path("/usr")
    if os.geteuid() == 0:
        foreign.mkdir(0o700)
        os.chown(foreign, 65534, 65534)
    for directory, name in (
        (shared, "EACCES"), (link, "ENOTDIR"), (used, "ENOTEMPTY"), (foreign, "EACCES"),
        (tmp_path / "no" / "such", "ENOENT"), (tmp_path / ("x" * 100), "ENAMETOOLONG"),
    ):  # fmt: skip
        ended = shell.governor("up", "--detach", "--dir", str(directory))
        assert (ended.exit_code, ended.output) == (1, "")
        assert ended.errors.endswith(f" [{name}]\n")
        assert ended.errors.count("\n") == 1
    assert os.listdir(used) == ["letter"]


def test_another_user_is_refused(shell: Shell, runner: Runner) -> None:
    need(os.geteuid() == 0, "only root is another user as well", root=True)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    python = [*nobody, "env", f"PYTHONPATH={PYTHONPATH}", sys.executable]
    loads = subprocess.run([*python, "-c", "import governor.api"], capture_output=True, check=False)
    need(loads.returncode == 0, "nobody cannot read the sources", root=True)
    shell.up()
    os.chmod(runner.scratch, 0o755)
    for command in (["status"], ["mkdir", "a:/b"], ["down"]):
        refused = [*python, "-m", "governor", *command, "--dir", str(shell.directory)]
        with runner.command(refused) as process:
            ended = end(process, "")
        assert ended.exit_code == 1
        assert ended.errors == (
            f"governor: {shell.directory} is another user's: only that user and root may use a "
            f"governor [EACCES]\n"
        )
    assert shell.say("ls") == "0\n"


def test_root_may_use_an_ordinary_users(shell: Shell, runner: Runner) -> None:
    need(os.geteuid() == 0, "only root may", root=True)
    os.chmod(runner.scratch, 0o777)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    up = [*nobody, sys.executable, "-m", "governor", "up", "--detach", "--dir"]
    with runner.command([*up, str(shell.directory)]) as process:
        need(end(process, "").exit_code == 0, "nobody cannot run the sources", root=True)
    assert ["uid", "65534"] in map(str.split, shell.say("status").split("\n"))


@pytest.mark.once
def test_connect_in_python(shell: Shell) -> None:
    with pytest.raises(governor.NotRunning) as refused:
        Governor.connect(shell.directory)
    assert refused.value.errno == errno.ENOENT
    pid = shell.up()
    with Governor.connect(shell.directory) as gov:
        assert gov.pid == pid
        gov.mount("load", ["numtasks"]).mkdir("/a")["numtasks.limit"] = 9
        quick = gov.spawn(["true"], containers=[gov.hierarchy("load")["/a"]])
        assert quick.wait(DEADLINE).exit_code == 0
    assert shell.say("get", "load:/a:numtasks.limit") == "9\n"
    with Governor.connect(shell.directory) as gov, Governor.connect(shell.directory) as other:
        gov.shutdown()
        with pytest.raises(governor.GovernorError) as ended:
            other.hierarchies()
    assert ended.value.errno == errno.EIO
    assert not exists(pid)
