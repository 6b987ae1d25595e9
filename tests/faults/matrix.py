"""Every combination of a step and a fault: what is expected of it, or why there is none."""

from __future__ import annotations

from typing import NamedTuple

from tests.faults.kinds import KINDS
from tests.faults.protocols import (
    AGENT,
    CHANNEL,
    CLIENT,
    JOURNAL,
    REQUESTS,
    SPAWNER,
    STEPS,
    SUPERVISOR,
    WORKER,
    Step,
)
from tests.faults.story import ENDED, GONE, HEALED, TOLD

_LOSSES = ("drop", "duplicate", "reorder")
_KEPT = "sockets of the kernel neither lose, repeat nor reorder what is sent: unix(7)"
_ALONE = "its sender says nothing more on this link before it is answered"
_FORKS = {("spawn", "StartWorker"), ("takeover", "StartAgent")}
_WHOLE = "what goes between these two arrives whole, and nobody else can write there: unix(7)"
_FRESH = "a spawner that has been started by another is a new program, without faults"
_QUICKER = "the spawner may have ended the agent before"
_AT_AGENT = ("kill-receiver", "stall-receiver", "clock-receiver", "descriptors")
_OF_JOURNALS = ("disk-full", "disk-broken")
_OF_FUNCTIONS = (
    "kill-before",
    "kill-after",
    "stall-sender",
    "clock-sender",
    "descriptors",
    "kill-agent",
)

OF_A_DEATH = {
    AGENT: (HEALED,),
    SPAWNER: (HEALED,),
    SUPERVISOR: (ENDED,),
    WORKER: (TOLD,),
    CLIENT: (GONE,),
}
"""What follows when one of these is killed."""


class Combination(NamedTuple):
    """``why_not`` says why there is nothing to try; otherwise one of ``expected`` comes of it."""

    step: Step
    kind: str
    expected: tuple[str, ...]
    why_not: str

    @property
    def name(self) -> str:
        return f"{self.step.name}:{self.kind}"


def why_not(step: Step, kind: str) -> str:
    """Why a fault makes no sense at a step; empty when it does."""
    if (step.link == JOURNAL or kind in _OF_JOURNALS) and (
        step.link != JOURNAL or kind not in (*_OF_JOURNALS, "kill-before", "kill-after")
    ):
        return "the journal is a file, and nothing else is"
    if not step.receiver and kind not in (*_OF_FUNCTIONS, *_OF_JOURNALS):
        return "this is no message"
    if kind == "fork" and (step.protocol, step.what) not in _FORKS:
        return "nothing is forked"
    if kind == "descriptors" and AGENT not in (step.sender, step.receiver):
        return "no agent takes part"
    if kind in _LOSSES and step.link == CHANNEL:
        return _KEPT
    if kind == "reorder" and step.waits:
        return _ALONE
    if kind == "kill-agent" and (step.receiver or step.sender != SUPERVISOR):
        return "the agent is killed at its own steps"
    if kind == "truncate" and SPAWNER in (step.sender, step.receiver):
        return _WHOLE
    if step.protocol == "succession" and kind in ("kill-receiver", "stall-receiver", "fork"):
        return _FRESH
    if step.what == "Stop" and kind in _AT_AGENT:
        return _QUICKER
    if kind.startswith(("stall", "clock")):
        return _why_not_in_time(step, kind)
    return ""


def _why_not_in_time(step: Step, kind: str) -> str:
    who = step.sender if kind.endswith("sender") else step.receiver
    if kind.startswith("stall") and who not in (AGENT, SPAWNER):
        return "only agent and spawner are watched for silence"
    if kind.startswith("clock") and who not in (AGENT, SUPERVISOR):
        return "it does not look at a clock"
    return ""


def expected(step: Step, kind: str) -> tuple[str, ...]:
    """What may come of a combination."""
    if why_not(step, kind):
        return ()
    exception = EXCEPTIONS.get(f"{step.name}:{kind}")
    if exception:
        return exception
    if kind in _OF_JOURNALS:  # a change is refused before it happens, or known of afterwards
        return (HEALED, TOLD)
    if step.protocol == "shutdown" and (step.what == "Result" or _dies(step, kind) == SUPERVISOR):
        if _dies(step, kind) == CLIENT:
            return (GONE,)
        return (HEALED, TOLD)  # it has ended, as was asked for
    if _dies(step, kind):
        return OF_A_DEATH[_dies(step, kind)]
    if step.link == REQUESTS and kind in ("drop", "truncate"):
        return (TOLD,)
    if step.link == CHANNEL and kind == "truncate":
        return (TOLD,)
    return (HEALED,)


def _dies(step: Step, kind: str) -> str:
    """Who is killed by this, if anybody."""
    if kind in ("kill-before", "kill-after"):
        return step.sender
    return step.receiver if kind == "kill-receiver" else ""


EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "spawn.Stdio:truncate": (TOLD,),
    # The second one finds its descriptors collected; that it was repeated cannot be seen.
    "spawn.Spawn:duplicate": (TOLD,),
    "spawn.StartWorker:fork": (TOLD,),
    # Its own end, or ours if that is quicker.
    "failure.Failed:truncate": (HEALED, TOLD),
    # The agent's own channel: it gives up.
    "place.Listening:truncate": (HEALED,),
    "takeover.Listening:truncate": (HEALED,),
}
"""Where it is otherwise, by the name of the combination."""

COMBINATIONS = tuple(
    Combination(step, kind, expected(step, kind), why_not(step, kind))
    for step in STEPS
    for kind in KINDS
)
POSSIBLE = tuple(c for c in COMBINATIONS if not c.why_not)
