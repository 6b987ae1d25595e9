"""One combination, in a process of its own: ``python -m tests.faults.run STEP KIND DIRECTORY``.

Prints what came of it as JSON. KIND ``none``: nothing goes wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import governor.api.governor
from governor.client import DEADLINE, Client
from tests.faults.kinds import Fault, Stage
from tests.faults.protocols import STEPS
from tests.faults.story import tell

STRUCK = "struck"
"""The file in the directory that is made when the fault strikes."""
SHORTER = 24.0
"""Seconds that a client waits less for an answer than it would."""


def _be_impatient() -> None:
    """Let clients give up earlier; how long exactly says nothing of what is tested here."""
    ask = Client.ask

    def ask_briefly(self: Client, request: Any, timeout: float | None = DEADLINE) -> Any:
        return ask(self, request, None if timeout is None else timeout - SHORTER)

    setattr(Client, "ask", ask_briefly)  # noqa: B010 - mypy lets no method be assigned
    setattr(governor.api.governor, "WAIT_SLICE", 3.0)  # noqa: B010


def main(name: str, kind: str, directory: str, cgroup: str) -> None:
    """Plant the fault and tell the story."""
    scratch = Path(directory)
    stage = Stage()
    _be_impatient()
    if kind != "none":
        (step,) = (step for step in STEPS if step.name == name)
        Fault(step, kind, stage, str(scratch / STRUCK)).plant()
    print(json.dumps(tell(stage, scratch, cgroup)._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
