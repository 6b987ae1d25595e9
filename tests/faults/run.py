"""One combination, in a process of its own: ``python -m tests.faults.run STEP KIND ...``.

The rest of the arguments is a `Place`. Prints what came of it as JSON. KIND ``none``: no fault.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import governor.api.governor
from governor.client import DEADLINE, Client
from governor.supervisor.plans import Plans
from tests.faults.kinds import Fault, Stage
from tests.faults.protocols import JOURNAL, STEPS
from tests.faults.story import Place, tell

STRUCK = "struck"
"""The file in the directory that is made when the fault strikes."""
SHORTER = 15.0
"""Seconds that a client waits less for an answer than it would."""


def _be_impatient() -> None:
    """Let clients give up earlier; how long exactly says nothing of what is tested here."""
    ask = Client.ask

    def ask_briefly(
        self: Client, request: Any, timeout: float | None = DEADLINE, undo: Any = None
    ) -> Any:
        return ask(self, request, None if timeout is None else timeout - SHORTER, undo)

    setattr(Client, "ask", ask_briefly)  # noqa: B010 - mypy lets no method be assigned
    setattr(governor.api.governor, "WAIT_SLICE", 3.0)  # noqa: B010


def _have_nodes() -> None:
    """Let jobs be confined to a node of memory, also where there is but one."""
    confined = Plans.confined

    def confined_to_one(self: Plans, group: int, resource: str) -> list[int]:
        return confined(self, group, resource) or [0] * (resource == "mems")

    setattr(Plans, "confined", confined_to_one)  # noqa: B010


def main(name: str, kind: str, *places: str) -> None:
    """Plant the fault and tell the story."""
    place = Place(*places)
    step = next((step for step in STEPS if step.name == name), None)
    if step is not None and step.link == JOURNAL:
        place = place._replace(state=os.path.join(place.scratch, "state"), succeeds="yes")
    elif step is not None and step.protocol == "succession":
        place = place._replace(succeeds="yes")
    stage = Stage()
    _be_impatient()
    _have_nodes()
    if step is not None:
        Fault(step, kind, stage, os.path.join(place.scratch, STRUCK)).plant()
    print(json.dumps(tell(stage, place)._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
