"""What the scheduler keeps of governed tasks, for as long as it knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from distributed import SchedulerPlugin

from governor.api.limits import Limits, Usage
from governor.results import Refusal

if TYPE_CHECKING:
    from distributed import Scheduler


class Report(NamedTuple):
    """What a task was given and has used, the last time it ran.

    ``worker``: its address; ``containers`` as ``hierarchy:/path``, and ``job``, of its governor.
    ``exit_code``: of its process, 1 where the task has raised an exception. ``unenforced``: why
    its limits were not enforced there, if so.
    """

    worker: str
    job: int
    containers: tuple[str, ...]
    limits: Limits
    usage: Usage
    exit_code: int
    unenforced: str | None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """From what a worker has told."""
        used = dict(row["usage"])
        refusals = tuple(Refusal(**refusal) for refusal in used.pop("refusals"))
        return cls(
            row["worker"],
            row["job"],
            tuple(row["containers"]),
            Limits(**row["limits"]),
            Usage(**used, refusals=refusals),
            row["exit_code"],
            row["unenforced"],
        )


class Ledger(SchedulerPlugin):
    """Keeps what workers tell of a task until the scheduler forgets the task itself."""

    name = "governor-ledger"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Listen, and answer `governor.dask.report`."""
        self._scheduler = scheduler
        self._rows: dict[Any, dict[str, Any]] = {}
        scheduler.handlers["governor_report"] = self.look_up

    def log_event(self, topic: str, msg: Any) -> None:
        """A worker has told something."""
        if topic == "governor" and msg.get("key") in self._scheduler.tasks:
            self._rows[msg["key"]] = msg

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """A task is forgotten when no future and no other task needs it."""
        if finish == "forgotten":
            self._rows.pop(key, None)

    def look_up(self, key: Any) -> list[dict[str, Any]]:
        """What is known of a task: one row, or none. (A scheduler without us answers None.)"""
        return [self._rows[key]] if key in self._rows else []
