"""The protocols between the processes of a governor, step by step.

A step is a message on its way from one process to another, or something that one of them does by
itself. Takeover is that of an agent, succession that of a spawner. Each protocol is a stage of
`story`, where its steps are done in about this order.
"""

from __future__ import annotations

from typing import NamedTuple

CLIENT, SUPERVISOR, SPAWNER, AGENT, WORKER = "client", "supervisor", "spawner", "agent", "worker"
REQUESTS = "requests"
"""ZeroMQ between clients and supervisor."""
PLANS = "plans"
"""ZeroMQ between supervisor and agent."""
JOURNAL = "journal"
"""The file in which a supervisor records what it decides."""
CHANNEL = "channel"
"""Unix sockets that carry descriptors."""


class Step(NamedTuple):
    """``what`` is a kind of message, or with no ``receiver`` a function: see `kinds.FUNCTIONS`.

    ``waits``: the sender says nothing more on this link before it has been answered.
    """

    protocol: str
    what: str
    link: str
    sender: str
    receiver: str
    waits: bool = False

    @property
    def name(self) -> str:
        """What a combination is called after."""
        return f"{self.protocol}.{self.what.replace(' ', '-')}"


def _asks(protocol: str, what: str) -> Step:
    return Step(protocol, what, REQUESTS, CLIENT, SUPERVISOR, waits=True)


def _answers(protocol: str, what: str = "Result") -> Step:
    return Step(protocol, what, REQUESTS, SUPERVISOR, CLIENT, waits=True)


def _tells(protocol: str, what: str, waits: bool = False) -> Step:
    return Step(protocol, what, PLANS, SUPERVISOR, AGENT, waits)


def _hears(protocol: str, what: str, waits: bool = False) -> Step:
    return Step(protocol, what, PLANS, AGENT, SUPERVISOR, waits)


def _passes(protocol: str, what: str, sender: str, receiver: str) -> Step:
    return Step(protocol, what, CHANNEL, sender, receiver)


def _does(protocol: str, *functions: str, who: str = AGENT) -> tuple[Step, ...]:
    return tuple(Step(protocol, what, "", who, "") for what in functions)


def _records(protocol: str) -> tuple[Step, ...]:
    """In its journal: only a governor with a state has one, and so a successor."""
    return tuple(Step(protocol, what, JOURNAL, SUPERVISOR, "") for what in ("record", "sync"))


PROTOCOLS: dict[str, tuple[Step, ...]] = {
    "tree": (
        _asks("tree", "Mkdir"),
        *_records("tree"),
        _answers("tree"),
    ),
    "spawn": (
        _passes("spawn", "Stdio", CLIENT, SUPERVISOR),
        _asks("spawn", "Spawn"),
        _passes("spawn", "StartWorker", SUPERVISOR, SPAWNER),
        _passes("spawn", "Started", SPAWNER, SUPERVISOR),
        _passes("spawn", "Ready", WORKER, SUPERVISOR),
        _passes("spawn", "Bind", SUPERVISOR, WORKER),
        _passes("spawn", "Go", SUPERVISOR, WORKER),
        _answers("spawn"),
    ),
    "failure": (_passes("failure", "Failed", WORKER, SUPERVISOR),),
    "place": (
        _tells("place", "SetCounter"),
        _tells("place", "SetPlan"),
        _passes("place", "Listening", SUPERVISOR, AGENT),
        _tells("place", "Place"),
        *_does("place", "plan", "place", "listen", "tag"),
        _hears("place", "Placed"),
        *_records("place"),
    ),
    "trap": (
        *_does("trap", "receive", "look closely", "recount", "consider", "answer"),
        *_does("trap", "note refusal", "count refusal", "close refusal"),
        _hears("trap", "JobHit"),
    ),
    "attach": (
        _asks("attach", "Attach"),
        _tells("attach", "SetPlan"),
        _tells("attach", "MoveAll", waits=True),
        *_does("attach", "move", "tag", "confine"),
        _hears("attach", "MovedAll"),
        *_records("attach"),
        _answers("attach"),
    ),
    "gather": (
        _asks("gather", "AttachAll"),
        _tells("gather", "MoveAll", waits=True),
        *_does("gather", "move", "tag", "go on"),
        _hears("gather", "MovedAll"),
        *_records("gather"),
        _answers("gather"),
    ),
    "limit": (
        _asks("limit", "Write"),
        _tells("limit", "SetCounter"),
        *_records("limit"),
        _tells("limit", "Ping", waits=True),
        _hears("limit", "Pong"),
        _answers("limit"),
    ),
    "count": (
        _asks("count", "Read"),
        _tells("count", "Count", waits=True),
        *_does("count", "count"),
        _hears("count", "Figures"),
        _answers("count"),
    ),
    "takeover": (
        _passes("takeover", "Reaped", SPAWNER, SUPERVISOR),
        _passes("takeover", "StartAgent", SUPERVISOR, SPAWNER),
        _passes("takeover", "Started", SPAWNER, SUPERVISOR),
        _hears("takeover", "Hello", waits=True),
        _tells("takeover", "SetCounter"),
        _tells("takeover", "SetPlan"),
        _passes("takeover", "Listening", SUPERVISOR, AGENT),
        _tells("takeover", "Adopt"),
        _tells("takeover", "Resume", waits=True),
        *_does("takeover", "adopt", "take over", "reserve", "recount"),
        _hears("takeover", "Resumed"),
    ),
    "succession": (
        *_does("succession", "bury spawner", "start spawner", "ask again", who=SUPERVISOR),
        _passes("succession", "StartWorker", SUPERVISOR, SPAWNER),
    ),
    "end": (
        _asks("end", "Wait"),
        _passes("end", "UserTime", SPAWNER, SUPERVISOR),
        _passes("end", "Reaped", SPAWNER, SUPERVISOR),
        _passes("end", "Buried", SPAWNER, SUPERVISOR),
        *_records("end"),
        _answers("end"),
    ),
    "enter": (
        *_does("enter", "begin entry"),
        _hears("enter", "Entering", waits=True),
        _tells("enter", "Enter"),
        *_does("enter", "allow entry"),
        _hears("enter", "Entered"),
    ),
    "rmdir": (
        _asks("rmdir", "Rmdir"),
        _tells("rmdir", "DropPlan"),
        _tells("rmdir", "DropCounter"),
        *_records("rmdir"),
        _answers("rmdir"),
    ),
    "shutdown": (
        _asks("shutdown", "Shutdown"),
        _passes("shutdown", "Reaped", SPAWNER, SUPERVISOR),
        _answers("shutdown"),
        _tells("shutdown", "Stop"),
        _passes("shutdown", "Quit", SUPERVISOR, SPAWNER),
    ),
}
"""Each protocol's steps. ``kill`` of either side, and so on, come from `kinds`."""

STEPS: tuple[Step, ...] = tuple(step for steps in PROTOCOLS.values() for step in steps)
