"""From findings to levels and words, over made-up hosts; and probes that go wrong."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from governor import doctor, registry
from governor.cli import doctor as command
from governor.doctor import CAPABILITIES, Condition, Diagnosis, Standing
from governor.errors import GovernorError
from governor.subsystem import Subsystem
from workers import experiment, probe
from workers.experiment import Finding, Probe

NAMES = [capability.name for capability in CAPABILITIES]
ALL_OK = {name: Finding(True) for name in NAMES}


OWN = ["cpuacct", "cpuset", "memset", "numfiles", "numtasks"]


class Trapping(Subsystem):
    name = "third"
    traps = frozenset({"files", "tasks"})
    facility = "something of its own"


def level(subsystem: Subsystem, *missing: str) -> str:
    return standing(subsystem, *missing).level


def standing(subsystem: Subsystem, *missing: str) -> Standing:
    return doctor.standing(subsystem, {**ALL_OK, **{name: Finding(False) for name in missing}})


@pytest.mark.parametrize("name", registry.names())
def test_a_host_that_can_do_everything_has_every_subsystem_at_its_best(name: str) -> None:
    subsystem = registry.load(name)
    assert level(subsystem) == subsystem.best


@pytest.mark.parametrize(
    ("name", "best"), [("numtasks", "enforced"), ("numpty", "partial"), ("numsiginfo", "observed")]
)
def test_what_no_host_enforces_is_not_called_weak(name: str, best: str) -> None:
    subsystem = registry.load(name)
    found = standing(subsystem)
    assert (found.level, found.best) == (best, best)
    assert found.why
    kept = Diagnosis("0.1.0", "Linux 6.1", "x86_64", "nobody", [], [found])
    lost = kept._replace(standings=[standing(subsystem, "tag")])
    assert (kept.weak, lost.weak) == ([], [name])


@pytest.mark.parametrize(
    ("missing", "levels"),
    [
        ("seccomp_notification", ["observed", "observed", "observed", "observed"]),
        ("memory", ["partial", "partial", "observed", "enforced"]),
        ("kcmp", ["partial", "partial", "observed", "enforced"]),
    ],
)
def test_what_it_costs_the_minor_resources(missing: str, levels: list[str]) -> None:
    subsystems = map(registry.load, ["numflock", "numpty", "numsiginfo", "numsock"])
    assert [level(subsystem, missing) for subsystem in subsystems] == levels


def test_what_no_subsystem_can_see_is_told_with_reasons() -> None:
    text = " ".join(command.to_text(diagnosis("ok")).split())
    told = doctor.to_json(diagnosis("ok"))["unseen"]
    assert {row["name"] for row in told} >= {"kmemsize", "pagetables", "dcachesize", "numiptent"}
    for row in told:
        assert row["name"] in text
        assert row["why"]


@pytest.mark.parametrize(
    ("missing", "levels"),
    [
        ("seccomp_notification", ["enforced", "observed", "enforced", "observed", "observed"]),
        ("kcmp", ["enforced", "enforced", "enforced", "partial", "enforced"]),
        ("affinity", ["enforced", "none", "enforced", "enforced", "enforced"]),
        ("memory_policy", ["enforced", "partial", "none", "enforced", "enforced"]),
        ("cpu_clock", ["none", "enforced", "enforced", "enforced", "enforced"]),
        ("subreaper", ["partial", "enforced", "enforced", "enforced", "enforced"]),
        ("tag", ["none"] * 5),
        ("process_list", ["none"] * 5),
        ("memfd", ["none"] * 5),
        ("runtime_directory", ["none"] * 5),
        ("synchronous_wake_up", ["enforced"] * 5),
        ("descriptor_count", ["enforced"] * 5),
        ("shim", ["enforced"] * 5),
        ("memory", ["enforced"] * 5),
        ("cgroup_v1", ["enforced"] * 5),
    ],
)
def test_what_a_missing_capability_costs(missing: str, levels: list[str]) -> None:
    subsystems = map(registry.load, OWN)
    assert [level(subsystem, missing) for subsystem in subsystems] == levels


def test_what_cannot_be_told_is_not_taken_for_granted() -> None:
    findings = {**ALL_OK, "seccomp_notification": Finding(None, "no process for the probe")}
    found = doctor.standing(registry.load("numtasks"), findings)
    assert found.level == "observed"
    assert found.why.startswith("seccomp notification is unknown: ")


def test_subsystems_of_other_packages_have_a_level() -> None:
    assert standing(Trapping())[:3] == ("third", "enforced", "traps calls for files and tasks")
    assert level(Trapping(), "seccomp_notification") == "observed"
    assert level(Trapping(), "kcmp") == "enforced"


def test_a_subsystem_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Subsystem:
        raise SyntaxError("invalid syntax (third.py, line 3)")

    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(registry, "names", lambda: ["third"])
    monkeypatch.setattr(probe, "examine", lambda: ALL_OK)
    assert doctor.examine().standings == [
        ("third", "none", "cannot be loaded: invalid syntax (third.py, line 3)", "enforced")
    ]


def test_every_finding_has_its_capability() -> None:
    probed = [name for one in probe.PROBES for name in one.names]
    assert sorted([*probed, "shim", "runtime_directory"]) == sorted(NAMES)


# -- words -------------------------------------------------------------------------------


def diagnosis(state: str, seen: str = "", level: str = "enforced") -> Diagnosis:
    conditions = [Condition(capability, state, seen) for capability in CAPABILITIES]
    name = "a_name_of_thirty_one_characters"
    standings = [Standing(name, level, "word " * 30), Standing("numtasks", level, "why")]
    return Diagnosis("0.1.0", "Linux 6.1", "x86_64", "nobody", conditions, standings)


@pytest.mark.parametrize("state", ["ok", "missing", "unknown", "absent"])
def test_it_fits_a_terminal(state: str) -> None:
    text = command.to_text(diagnosis(state, "what was seen " * 20, "observed"))
    assert max(map(len, text.splitlines())) <= 80
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_what_is_missing_is_explained() -> None:
    text = " ".join(command.to_text(diagnosis("missing", "Operation not permitted")).split())
    for capability in CAPABILITIES:
        name = doctor.spoken(capability.name)
        told = f"{name} is missing found Operation not permitted so {capability.without}"
        assert told + (f" do {capability.advice}" if capability.advice else "") in text


def test_a_reason_shared_by_several_is_told_once() -> None:
    text = command.to_text(diagnosis("unknown", "no process"))
    assert text.count("no process") == 1


def test_the_verdict() -> None:
    good, bad = diagnosis("ok"), diagnosis("ok", level="partial")
    assert command.to_text(good).endswith("\n\nEvery subsystem is at its best on this host.")
    assert command.to_text(bad).endswith("a_name_of_thirty_one_characters, numtasks.")
    assert (good.weak, bad.weak) == ([], ["a_name_of_thirty_one_characters", "numtasks"])


# -- probes that go wrong ----------------------------------------------------------------

Steps = Iterator[tuple[str, Finding]]


def idle(stream: socket.socket) -> None:
    stream.recv(1)


def test_a_probe_killed_on_its_way() -> None:
    def agent(pid: int, stream: socket.socket) -> Steps:
        yield "first", Finding(True)
        os.kill(os.getpid(), signal.SIGSYS)

    reason = "the host ended the process with SIGSYS"
    assert experiment.run(Probe(("first", "second", "third"), agent, idle)) == {
        "first": Finding(True),
        "second": Finding(False, reason),
        "third": Finding(None, reason),
    }


def test_a_probe_that_raises(capfd: pytest.CaptureFixture[str]) -> None:
    def agent(pid: int, stream: socket.socket) -> Steps:
        yield "first", Finding(True)
        raise GovernorError(1, "it is Tuesday")

    found = experiment.run(Probe(("first", "second"), agent, idle))
    assert found["second"] == Finding(False, "it is Tuesday")
    assert capfd.readouterr() == ("", "")


def test_a_probe_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def agent(pid: int, stream: socket.socket) -> Steps:
        signal.pause()
        yield "first", Finding(True)

    monkeypatch.setattr(experiment, "PATIENCE", 0.1)
    found = experiment.run(Probe(("first",), agent, idle))
    assert found == {"first": Finding(False, "no answer within 0.1 s")}


def test_a_worker_that_ends_at_once_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def agent(pid: int, stream: socket.socket) -> Steps:
        assert stream.recv(1) == b""
        yield "first", Finding(True)

    monkeypatch.setattr(experiment, "PATIENCE", 60.0)
    began = time.monotonic()
    assert experiment.run(Probe(("first",), agent, lambda stream: None)) == {"first": Finding(True)}
    assert time.monotonic() - began < experiment.PATIENCE


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    nothing = Finding(None, "no process for the probe: Resource temporarily unavailable")
    assert probe.examine() == {name: nothing for one in probe.PROBES for name in one.names}


def test_probes_leave_no_process_and_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    probe.examine()
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_whoever_a_killed_probe_has_forked_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    (adopting,) = (one for one in probe.PROBES if one.names == ("subreaper",))
    monkeypatch.setattr("struct.unpack", die)  # by then its grandchild is there
    left, held = os.pipe()
    found = experiment.run(adopting)
    monkeypatch.undo()
    assert found["subreaper"].ok is False
    os.close(held)
    with open(left, "rb") as stream:
        assert stream.read() == b""  # once nobody has the other end
