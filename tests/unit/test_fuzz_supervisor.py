"""Whatever clients, workers and desk are sent, the real handlers answer and all stays in order."""

from __future__ import annotations

import contextlib
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from governor.fs.operations import Operations
from governor.fs.tree import Tree
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from governor.wire import job as job_wire
from governor.wire.codec import encode
from tests.stress import fuzz_supervisor
from tests.unit.paper_supervisor import NOBODY, OUTSIDE, PaperSupervisor, paper_supervisor


def begun(paper: PaperSupervisor) -> None:
    for message in fuzz_supervisor.PRELUDE:
        paper.feed("clients", encode(message))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.binary(max_size=60), max_size=3))
def test_requests_of_right_types_and_of_none(seed: int, noise: list[bytes]) -> None:
    writer = fuzz_supervisor.Writer(random.Random(seed))
    with paper_supervisor() as paper:
        begun(paper)
        writer.files += paper.forest.files(paper.forest.lookup("h", "/a"))
        for _ in range(20):
            message = writer.client()
            if not isinstance(message, wire.Shutdown):
                frame = fuzz_supervisor._pack(type(message).__name__, message._asdict())
                paper.feed("clients", frame)
        for frame in noise:
            for where in ("clients", "desk", "report", "spawner"):
                paper.feed(where, frame)
        paper.check()


def test_the_fuzzer_reaches_jobs_moves_and_removals() -> None:
    said, findings = fuzz_supervisor.run(4_000, 60, 1)
    assert not findings, (said, findings)


def start(paper: PaperSupervisor) -> None:
    paper.feed("desk", encode(wire.Stdio("t1")))
    paper.feed(
        "clients",
        encode(
            wire.Spawn(1, "j", [b"true"], b"", {}, b"/", 0, 0, [], {"h": "/a"}, None, 0.0, "t1")
        ),
    )


def test_who_has_ended_before_it_is_looked_at_is_an_event_and_no_more() -> None:
    """A process that was to enter namespaces, and one that a subsystem tells of."""
    gone = NOBODY + 7
    with paper_supervisor() as paper:
        begun(paper)
        real = paper.real
        real._entries.hear(agent_wire.Entering(1, gone, False))
        paper.feed("clients", b"")
        real._policy.host.event("kill", paper.forest.lookup("h", "/a"), pid=gone)
        entering, killed = list(real._events._row)[-2:]
        assert (entering.kind, entering.fields["pid"]) == ("unenforced", gone)
        assert (killed.fields["pid"], killed.fields["job"]) == (gone, 0)
        paper.check()


def test_a_worker_that_reports_nonsense_is_ended() -> None:
    for frame in (
        b"nonsense",
        encode(job_wire.Ready("")),  # and no listener
        encode(job_wire.Failed(2**63, "x")),
        encode(job_wire.Go()),
        encode(wire.Status(1)),
    ):
        with paper_supervisor() as paper:
            begun(paper)
            start(paper)
            assert NOBODY + 1 in paper.processes
            paper.feed("report", frame)
            paper.feed("spawner", b"")
            job = paper.real._jobs.by_id[1]
            if not frame.startswith(encode(job_wire.Failed(2**63, "x"))[:9]):
                assert NOBODY + 1 not in paper.processes
                assert job.result.exit_code == 125
                # Without a listener, the report may be true: there was no room for it here.
                lacking = frame == encode(job_wire.Ready(""))
                assert ("Too many open files" if lacking else "nonsense") in job.result.error


def test_a_worker_that_is_ready_twice_is_placed_once() -> None:
    with paper_supervisor() as paper:
        begun(paper)
        start(paper)
        for _ in range(3):
            paper.feed("report", encode(job_wire.Ready("no")))
        assert paper.members[NOBODY + 1].job == 1
        assert paper.real._jobs.by_id[1].placed


paths = st.lists(
    st.sampled_from(
        ["h", "load", "a", "b", "tasks", "numtasks.limit", "..", ".", "", "\0", "\udcff", "x" * 300]
    ),
    max_size=5,
).map(lambda names: "/" + "/".join(names))
operation = st.one_of(
    st.tuples(st.sampled_from(["getattr", "rmdir"]), paths),
    st.tuples(st.just("access"), paths, st.integers(0, 7)),
    st.tuples(st.just("readdir"), paths, st.just(0)),
    st.tuples(st.just("open"), paths, st.integers(0, 4095)),
    st.tuples(st.just("read"), paths | st.none(), st.integers(0, 9), st.integers(0, 9), st.just(3)),
    st.tuples(st.just("write"), paths | st.none(), st.binary(max_size=9), st.just(0), st.just(0)),
    st.tuples(st.just("mkdir"), paths, st.integers(0, 4095)),
    st.tuples(st.just("rename"), paths, paths),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(operation, max_size=25))
def test_the_control_filesystem_gives_errnos_and_nothing_else(
    operations: list[tuple[object, ...]],
) -> None:
    with paper_supervisor() as paper:
        begun(paper)
        filesystem = Operations(Tree(paper.ask), lambda: OUTSIDE[0], lambda: None)
        for name, *arguments in operations:
            with contextlib.suppress(OSError):
                getattr(filesystem, str(name))(*arguments)
        paper.check()
