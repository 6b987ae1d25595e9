"""Release as the seed documents have it: what the agent is given, and what happens beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governor.api import Governor, Hierarchy
from governor.errors import GovernorError
from tests.process.helpers import DEADLINE, eventually, puppet

pytestmark = pytest.mark.once


@pytest.fixture
def load(gov: Governor) -> Hierarchy:
    return gov.mount("load", ["numtasks"])


def agent(load: Hierarchy, directory: Path, script: str) -> Path:
    """Install a release agent; what it prints arrives in the file that is returned."""
    said = directory / "said"
    said.touch()
    program = directory / "agent"
    program.write_text(f"#!/bin/sh\nexec >>{said}\n{script}\n")
    program.chmod(0o755)
    load.root["release_agent"] = str(program)
    return said


def use(gov: Governor, load: Hierarchy, name: str) -> None:
    """Make a container that is to be released, and let somebody come and go."""
    box = load.mkdir(name)
    box["notify_on_release"] = 1
    gov.spawn(["true"], containers=[box]).wait(DEADLINE)


def test_the_agent_has_the_path_and_hardly_an_environment(
    gov: Governor, load: Hierarchy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the caller")
    said = agent(load, tmp_path, 'echo "$@"; echo "$PWD"; env | sort; echo over')
    load.mkdir("/a")
    use(gov, load, "/a/b")
    eventually(lambda: said.read_text().endswith("over\n"), "the agent has spoken")
    path, directory, *environment = said.read_text().splitlines()[:-1]
    assert (path, directory) == ("/a/b", "/")
    names = {line.partition("=")[0] for line in environment}
    assert {"GOVERNOR_HIERARCHY=load", "HOME=/"} <= set(environment)
    # A shell sets some by itself, and the shim goes with whatever is trapped.
    of_others = {"PWD", "OLDPWD", "SHLVL", "_", "LD_PRELOAD", "ASAN_OPTIONS"}
    assert names - of_others == {"GOVERNOR_HIERARCHY", "HOME", "PATH"}


def test_nobody_waits_for_an_agent(gov: Governor, load: Hierarchy, tmp_path: Path) -> None:
    """The first one hangs until it is let go; others begin and end, and all else goes on."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    said = agent(load, tmp_path, f'[ "$1" = /slow ] && read line <{gate}; echo "$1"; exit 1')
    use(gov, load, "/slow")
    use(gov, load, "/quick")
    eventually(lambda: said.read_text() == "/quick\n", "the quick one has ended")
    load["/slow"].rmdir()
    gate.write_text("go\n")
    eventually(lambda: said.read_text() == "/quick\n/slow\n", "the slow one has ended")


def test_who_comes_in_before_the_agent_removes_it_keeps_the_container(
    gov: Governor, load: Hierarchy, tmp_path: Path
) -> None:
    said = agent(load, tmp_path, 'echo "$1"')
    use(gov, load, "/a")
    eventually(lambda: said.read_text() == "/a\n", "the agent is told")
    with puppet(gov, load["/a"]) as job:
        with pytest.raises(GovernorError, match="has processes"):  # what the agent would meet
            load["/a"].rmdir()
        assert load["/a"].tasks == [job.pid]
    eventually(lambda: said.read_text() == "/a\n/a\n", "it is told again of the next time")


def test_agent_and_removal_go_together(gov: Governor, load: Hierarchy, tmp_path: Path) -> None:
    said = agent(load, tmp_path, 'echo "$1"')
    load.root["auto_remove"] = 1
    use(gov, load, "/a")
    eventually(lambda: said.read_text() == "/a\n", "the agent is told")
    eventually(lambda: load.root.children == [], "the container has gone")


def test_the_root_is_never_released(gov: Governor, load: Hierarchy, tmp_path: Path) -> None:
    said = agent(load, tmp_path, 'echo "$1"')
    load.root["notify_on_release"] = 1
    gov.spawn(["true"]).wait(DEADLINE)
    use(gov, load, "/a")
    eventually(lambda: said.read_text() == "/a\n", "the agent is told of the child only")
    load["/a"].rmdir()
    use(gov, load, "/b")
    eventually(lambda: said.read_text() == "/a\n/b\n", "the agent is told of the child only")
