"""Requests by the million for the real handlers; inputs that reach new lines are kept and changed.

    python -m tests.stress.fuzz_supervisor INPUTS SECONDS SEED

Prints a line: inputs, lines reached, findings. The processes are of paper: see paper_supervisor.
"""

from __future__ import annotations

import os
import random
import sys
import time
import traceback
from typing import Any

import msgpack

from governor import registry
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from governor.wire import job as job_wire
from governor.wire.codec import VERSION, Message, encode
from tests.stress.fuzz_decode import MUTATIONS
from tests.unit.paper_supervisor import NOBODY, OUTSIDE, Failure, PaperSupervisor, on_files_of

Input = tuple[str, bytes]
"""Which socket, and the bytes."""

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
PACKAGES = tuple(os.path.join(ROOT, name, "") for name in ("governor", "subsystems", "workers"))
WORLD = 2_000
"""Inputs after which a fresh supervisor is begun."""
LEARNING = 20_000
"""Inputs all of which are watched for new lines; of later ones, one in `SELDOM`."""
SELDOM = 10
ROW_MAX = 12

INTS = (0, 1, 2, 3, 9, 15, 64, 65, -1, 2**20, 2**31 - 1, 2**31, 2**32, 2**63 - 1, -(2**63),
        2**64 - 1)  # fmt: skip
PIDS = (*OUTSIDE, *range(NOBODY, NOBODY + 20))
JOBS = range(1, 6)
FLOATS = (0, 0.0, 0.001, -1.0, 1e300, -1e300, float("inf"), float("-inf"), float("nan"), 2**64 - 1)
NAMES = ("h", "load", "cpu", "0", "", "a/b", "x" * 300, "h\0", "\udcff", "ü", "..", "h\n")
PATHS = (
    "/", "/a", "/a/b", "/b", "/a/b/c", "", "a", "//a//b", "/..", "/a/../b", "/.", "/\0", "/a\n",
    "/" + "x" * 256, "/d" * 200, "/ü", "/\udcff", "/tasks", "/numtasks.limit", "/a b", "/é\u202e",
)  # fmt: skip
VALUES = (
    "max", "0", "1", "0-1", "5", "-1", "100", "0-3", "0", "1,2", "0-", "9-1", "1e3", "nan", "inf",
    "1k", "10 20", "٣", "1_000", "9" * 5000, "x" * 70_000, "\0", "\n", " ", "1\n", "0x10", "1.5",
    "kill",
    "signal", "unlimited", "unchanged", "unsupported", "don't care", "/bin/true", "0-4294967295",
    "99999999999999999999", "1s", "1d", "none", "\udcff",
)  # fmt: skip
TOKENS = ("t1", "t2", "")
BOUNDS = ("limit", "barrier", "passed")
BLOBS = (b"", b"\0", b"/bin/true", b"/", b"\xff" * 10, b"A" * 5000)


PRELUDE: tuple[Message, ...] = (
    wire.Mount(1, "h", ["numtasks", "cpuacct", "numfiles"]),
    wire.Mount(2, "load", ["cpuset", "memset", "physpages"]),
    wire.Mount(3, "cpu", ["numtasks@cpu", "ns"]),
    *(wire.Mkdir(4, h, path) for h in ("h", "load", "cpu") for path in ("/a", "/a/b", "/b")),
    wire.Write(5, "h", "/a", "numtasks.limit", 5),
    wire.Write(6, "h", "/a", "notify_on_release", 1),
    wire.Write(7, "h", "/", "release_agent", "/bin/true"),
    wire.Write(8, "load", "/b", "auto_remove", 1),
    wire.Write(9, "cpu", "/a/b", "tasks", str(OUTSIDE[0])),
    wire.Attach(10, "h", "/a", OUTSIDE[1]),
    wire.Scrape(11, {}, 60.0),  # somebody wants to be told of what is removed
)
"""What most supervisors are told first, so that there is something to be hurt."""


class Writer:
    """Makes messages of the right types with the worst of values."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._labels = [*registry.names(), "all", "numtasks@x", "numtasks@", "@", "nothing"]
        self.files: list[str] = ["tasks", "nothing.here", "", "\0"]
        """Names of control files; those met in a supervisor are added."""

    def client(self) -> Message:
        """A request."""
        # Most of what there is to get wrong is behind the control files.
        cls: Any = self._chance.choice((*wire.VERBS, *[wire.Write] * 8))
        return cls(**{name: self._value(cls, name) for name in cls._fields})

    def report(self) -> Message:
        """What a worker might say."""
        chance = self._chance
        return chance.choice(
            [
                job_wire.Ready(chance.choice(["", "no"])),
                job_wire.Ready("no"),
                job_wire.Failed(chance.choice(INTS), chance.choice(VALUES[:20])),
            ]
        )

    def agent(self) -> Message:
        """What an agent may say: true of what was there lately, and never nonsense."""
        chance = self._chance
        pid, job = chance.choice((0, os.getpid(), *PIDS)), chance.choice((0, *JOBS, 2**20 - 1))
        counter, times, held = (chance.choice((*range(1, 20), 2**40)) for _ in range(3))
        rows = range(chance.choice((0, 1, 3, 200)))
        hit = agent_wire.JobHit(counter, chance.choice(BOUNDS), job, times, held, pid)
        return chance.choice(
            [
                hit,
                hit,
                agent_wire.JobRefusals([[job, counter + row, times, held] for row in rows]),
                agent_wire.Refusals([[counter + row, times] for row in rows]),
                agent_wire.Trapped([[job, times]], [[held] * 15] * 2, times, held),
                agent_wire.Entering(counter, pid, chance.randrange(2) == 1),
                agent_wire.Entered(counter, chance.randrange(2) == 1, times, held),
                agent_wire.Resumed(0, [counter, times]),
                agent_wire.Placed(job, chance.choice((0, counter)), 0, times, held),
                agent_wire.Pong(0),
            ]
        )

    def _value(self, cls: Any, name: str) -> Any:
        chance = self._chance
        special: dict[str, Any] = {
            "hierarchy": NAMES, "path": PATHS, "file": self.files, "value": (*VALUES, *INTS),
            "token": TOKENS, "grace": FLOATS, "job": (*JOBS, *INTS), "signal": (9, 15, 0, *INTS),
            "pid": (chance.choice(PIDS), chance.choice(PIDS), os.getpid(), *INTS),
        }  # fmt: skip
        if name == "name":
            return chance.choice(NAMES[:4] if chance.randrange(2) else (*NAMES, "a", "b", "c"))
        if name in special:
            # What is in order comes first in each row, and is wanted often.
            row = special[name]
            return chance.choice(row[:3] if chance.randrange(4) else row)
        shape = getattr(cls.__annotations__[name], "__forward_arg__", cls.__annotations__[name])
        return self._of_shape(shape, name)

    def _of_shape(self, shape: str, name: str) -> Any:
        chance = self._chance
        several = range(chance.choice((0, 1, 1, 2, 3, 300)))
        if shape.startswith("list["):
            if name == "subsystems":
                return [chance.choice(self._labels) for _ in range(chance.randrange(4))]
            if name == "jobs" and chance.randrange(2):
                return [chance.choice(JOBS)]
            return [self._of_shape(shape[5:-1], name) for _ in several]
        if shape == "dict[str, str]":
            return {chance.choice(NAMES[:5]): chance.choice(PATHS) for _ in several}
        if shape == "dict[str, Any]":
            return {chance.choice(NAMES[:5]): chance.choice((*VALUES, *INTS)) for _ in several}
        if shape == "dict[bytes, bytes]":
            return {chance.choice(BLOBS): chance.choice(BLOBS) for _ in several}
        if shape.startswith("float"):
            return chance.choice(FLOATS)
        rows = {"int": INTS, "str": VALUES, "bytes": BLOBS, "bool": (True, False)}
        return chance.choice(rows[shape])


class Fuzzer:
    """Feeds one supervisor after the other. ``findings`` are the failures, each with its input."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._writer = Writer(self._chance)
        self.corpus: list[list[Input]] = []
        self.lines: set[tuple[str, int]] = set()
        self._trace = on_files_of(PACKAGES, self.lines)
        self.inputs = self.answers = 0
        self.findings: dict[str, list[Input]] = {}
        self._begin()

    def _begin(self) -> None:
        self._paper = PaperSupervisor()
        self._until = self.inputs + WORLD
        for message in PRELUDE if self._chance.randrange(4) else ():
            self._paper.feed("clients", encode(message))

    def step(self) -> None:
        """One row of inputs."""
        row = self._row()
        before = len(self.lines)
        watched = self.inputs < LEARNING or not self._chance.randrange(SELDOM)
        if watched:
            sys.settrace(self._trace)
        try:
            for where, frame in row:
                self.inputs += 1
                self._paper.feed(where, frame)
        except Exception as error:
            sys.settrace(None)
            self._find(error, row)
            self._renew()
        finally:
            sys.settrace(None)
        if len(self.lines) > before:
            self.corpus.append(row)
        if self.inputs >= self._until or not self._paper.running:
            self._check(row)
            self._renew()

    def _row(self) -> list[Input]:
        chance = self._chance
        if not chance.randrange(10):
            row = [("desk", encode(wire.Stdio("t1"))), ("clients", encode(self._job()))]
            row += [("report", encode(job_wire.Ready("no"))), self._fresh()]
            job = chance.choice(JOBS)
            refused = agent_wire.JobRefusals([[job, chance.randrange(9), 5, 1]])
            return [*row, ("agent", encode(refused)), ("spawner", chance.randbytes(3))]
        if not self.corpus or chance.randrange(2):
            return [self._fresh() for _ in range(chance.randrange(1, 4))]
        row = list(chance.choice(self.corpus))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(row))
            what = chance.randrange(4)
            if what == 0:
                row[at] = self._bent(row[at])
            elif what == 1:
                row.insert(at, self._fresh())
            elif what == 2:
                row[at] = self._changed(row[at])
            else:
                row += chance.choice(self.corpus)
        return row[:ROW_MAX]

    def _fresh(self) -> Input:
        chance = self._chance
        kind = chance.randrange(20)
        if kind == 0:
            return "desk", encode(wire.Stdio(chance.choice(TOKENS)))
        if kind == 3:
            return "clients", encode(self._job())
        if kind == 1:
            return "report", encode(self._writer.report())
        if kind == 2:
            return "spawner", chance.randbytes(3)
        if kind in (4, 5, 6):
            return "agent", encode(self._writer.agent())
        while True:
            message = self._writer.client()
            if not isinstance(message, wire.Shutdown) or not chance.randrange(200):
                return "clients", _pack(type(message).__name__, message._asdict())

    def _job(self) -> Message:
        """A job that may be started, if its streams are there."""
        places = {h: self._chance.choice(("/a", "/a/b", "/b", "/")) for h in ("h", "load")}
        timeout = self._chance.choice((None, 0.0, 1.0))
        return wire.Spawn(
            1, "j", [b"/bin/true"], b"", {}, b"/", 0, 0, [], places, timeout, 0.0, "t1"
        )

    def _bent(self, given: Input) -> Input:
        """The same with bytes changed."""
        if given[0] == "agent":  # which is a part of the governor: it does not send nonsense
            return self._fresh()
        frame = bytearray(given[1])
        for _ in range(self._chance.randrange(1, 4)):
            self._chance.choice(MUTATIONS)(self._chance, frame, self._fresh()[1])
        return given[0], bytes(frame[:100_000])

    def _changed(self, given: Input) -> Input:
        """The same with one field of another request of that kind."""
        if given[0] == "agent":
            return self._fresh()
        try:
            _, kind, fields = msgpack.unpackb(given[1], unicode_errors="surrogatepass")
            cls: Any = getattr(wire, kind)
            name = self._chance.choice(sorted(fields))
            fields[name] = self._writer._value(cls, name)
        except Exception:  # it was bent before
            return self._fresh()
        return given[0], _pack(kind, fields)

    def _find(self, error: Exception, row: list[Input]) -> None:
        told = "".join(traceback.format_exception(error, limit=-4))[:4000]
        self.findings.setdefault(told, row)

    def _check(self, row: list[Input]) -> None:
        try:
            self._paper.check()
        except Failure as error:
            self._find(error, row)

    def _renew(self) -> None:
        for hierarchy in self._paper.forest.hierarchies.values():
            for name in self._paper.forest.files(hierarchy.root):
                if name not in self._writer.files:
                    self._writer.files.insert(0, name)
        self._chance.shuffle(self._writer.files)
        self.answers += self._paper.real._clients.sent
        self._paper.close()
        self._begin()

    def close(self) -> None:
        """Leave nothing."""
        self._paper.close()


def _pack(kind: str, fields: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb([VERSION, kind, fields], unicode_errors="surrogatepass")
    return packed


def run(inputs: int, seconds: float, seed: int) -> tuple[str, dict[str, list[Input]]]:
    """So many inputs, or as many as fit into so many seconds; what happened, and the findings."""
    fuzzer = Fuzzer(seed)
    began = time.monotonic()
    files = len(os.listdir("/proc/self/fd"))
    try:
        while fuzzer.inputs < inputs and time.monotonic() - began < seconds:
            fuzzer.step()
        grown = len(os.listdir("/proc/self/fd")) - files
    finally:
        fuzzer.close()
    said = (
        f"supervisor: {fuzzer.inputs} inputs, {fuzzer.answers} answers, {len(fuzzer.lines)} lines "
        f"reached, {len(fuzzer.corpus)} rows kept, {time.monotonic() - began:.0f} s, seed {seed}, "
        f"{grown} descriptors more, {len(fuzzer.findings)} findings"
    )
    return said, fuzzer.findings


if __name__ == "__main__":
    line, findings = run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    for finding, row in findings.items():
        print(finding, row[-3:], sep="\n", file=sys.stderr)
    print(line)
    sys.exit(bool(findings))
