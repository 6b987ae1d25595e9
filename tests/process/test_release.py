"""Release: the agent of a hierarchy, and containers that go by themselves."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import governor
from governor.api import Container, Governor, Hierarchy
from tests.process.helpers import DEADLINE, eventually, puppet


class Agent:
    """A release agent that writes down what it is told."""

    def __init__(self, directory: Path) -> None:
        self._told = directory / "told"
        self._told.touch(mode=0o666)
        self.program = directory / "agent"
        self.program.write_text(f'#!/bin/sh\necho "$# $1" >>{self._told}\n')
        self.program.chmod(0o755)

    @property
    def told(self) -> list[str]:
        """The paths it was run with."""
        lines = self._told.read_text().splitlines()
        assert all(line.startswith("1 ") for line in lines)
        return [line[2:] for line in lines]


@pytest.fixture
def load(gov: Governor) -> Hierarchy:
    return gov.mount("load", ["numtasks"])


@pytest.fixture
def agent(load: Hierarchy, tmp_path: Path) -> Agent:
    agent = Agent(tmp_path)
    load.root["release_agent"] = str(agent.program)
    return agent


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(governor.GovernorError) as caught:
        yield
    assert caught.value.errno == number


def wait_until_told(agent: Agent, paths: list[str]) -> None:
    """All runs have begun and ended, so that another one would have been seen, too."""
    eventually(lambda: len(agent.told) >= len(paths), f"the agent is told of {paths}")
    assert agent.told == paths


def drain(gov: Governor, load: Hierarchy) -> None:
    """Bring about another release after those before, and wait for it."""
    last = load.mkdir("/last")
    last["notify_on_release"] = 1
    gov.spawn(["true"], containers=[last]).wait(DEADLINE)


@pytest.mark.once
def test_notify_on_release_is_inherited_at_mkdir(load: Hierarchy) -> None:
    a = load.mkdir("/a")
    assert a["notify_on_release"] == 0
    a["notify_on_release"] = 1
    assert a.mkdir("b")["notify_on_release"] == 1
    a["notify_on_release"] = 0
    assert load["/a/b"]["notify_on_release"] == 1
    assert a.mkdir("c")["notify_on_release"] == 0
    for bad in (2, -1, "yes", ""):
        with refused(errno.EINVAL):
            a["notify_on_release"] = bad


@pytest.mark.once
def test_release_agent_is_of_the_root(load: Hierarchy, tmp_path: Path) -> None:
    with refused(errno.ENOENT):
        load.mkdir("/a")["release_agent"] = "/bin/true"
    with refused(errno.EINVAL):
        load.root["release_agent"] = "true"
    with refused(errno.ENOENT):
        load.root["release_agent"] = str(tmp_path / "nothing")
    with refused(errno.EACCES):
        load.root["release_agent"] = str(tmp_path)
    load.root["release_agent"] = "/bin/true"
    assert load.root["release_agent"] == "/bin/true"
    load.root["release_agent"] = ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_agent_is_run_once_when_the_last_process_has_ended(
    gov: Governor, load: Hierarchy, agent: Agent, number: int
) -> None:
    a = load.mkdir("/a")
    a["notify_on_release"] = 1
    jobs = [gov.spawn(["sleep", "1000"], containers=[a]) for _ in range(3)]
    for job in jobs[1:]:
        job.signal(number)
        job.wait(DEADLINE)
    assert agent.told == []
    jobs[0].signal(number)
    jobs[0].wait(DEADLINE)
    wait_until_told(agent, ["/a"])
    drain(gov, load)
    wait_until_told(agent, ["/a", "/last"])


def test_a_descendant_that_dies_unseen_releases_too(
    gov: Governor, load: Hierarchy, agent: Agent
) -> None:
    """It is no job's first process, and its parent in another container lives on."""
    a = load.mkdir("/a")
    a["notify_on_release"] = 1
    with puppet(gov) as job:
        child = job.make()
        a.attach(child)
        os.kill(child, signal.SIGKILL)
        job.end()  # reaps it
        wait_until_told(agent, ["/a"])


def test_who_moves_out_releases(gov: Governor, load: Hierarchy, agent: Agent) -> None:
    a, b = load.mkdir("/a"), load.mkdir("/b")
    a["notify_on_release"] = 1
    with puppet(gov, a) as job:
        b.attach(job.pid)
        wait_until_told(agent, ["/a"])


@pytest.mark.once
def test_the_last_child_releases_its_parent(gov: Governor, load: Hierarchy, agent: Agent) -> None:
    a = load.mkdir("/a")
    a["notify_on_release"] = 1
    b = a.mkdir("b")
    gov.spawn(["true"], containers=[a]).wait(DEADLINE)
    gov.spawn(["true"], containers=[b]).wait(DEADLINE)
    wait_until_told(agent, ["/a/b"])
    b.rmdir()
    wait_until_told(agent, ["/a/b", "/a"])


@pytest.mark.once
def test_an_empty_container_is_not_released_at_once(
    gov: Governor, load: Hierarchy, agent: Agent
) -> None:
    load.mkdir("/a")["notify_on_release"] = 1
    drain(gov, load)
    wait_until_told(agent, ["/last"])


@pytest.mark.once
def test_a_used_container_is_released_again_and_again(
    gov: Governor, load: Hierarchy, agent: Agent
) -> None:
    a = load.mkdir("/a")
    a["notify_on_release"] = 1
    for round in range(1, 4):
        gov.spawn(["true"], containers=[a]).wait(DEADLINE)
        wait_until_told(agent, ["/a"] * round)


def test_containers_go_by_themselves(gov: Governor, load: Hierarchy) -> None:
    a = load.mkdir("/a")
    a["auto_remove"] = 1
    deep = a.mkdir("b").mkdir("c")
    other = a.mkdir("d")
    assert deep["auto_remove"] == 1
    jobs = [gov.spawn(["sleep", "1000"], containers=[c]) for c in (deep, other)]
    jobs[0].kill()
    eventually(lambda: _is_gone(load, "/a/b"), "/a/b has gone")
    assert load["/a/d"].tasks == [jobs[1].pid]
    jobs[1].kill()
    eventually(lambda: _is_gone(load, "/a"), "/a has gone")
    assert load.root.children == []


def test_an_agent_that_cannot_be_run_harms_nobody(gov: Governor, load: Hierarchy) -> None:
    script = Path(os.environ["XDG_RUNTIME_DIR"]) / "agent"
    script.write_text("#!/nowhere/sh\n")
    script.chmod(0o755)
    load.root["release_agent"] = str(script)
    a: Container = load.mkdir("/a")
    a["notify_on_release"] = 1
    gov.spawn(["true"], containers=[a]).wait(DEADLINE)
    ended = [event for event, _ in zip(gov.events(after=0), range(7), strict=False)]
    assert "release" in [event.kind for event in ended]
    a.rmdir()
    script.unlink()


def _is_gone(hierarchy: Hierarchy, path: str) -> bool:
    try:
        hierarchy[path]
    except governor.GovernorError as error:
        return error.errno == errno.ENOENT
    return False
