"""numsiginfo: watch the pending signals of a container.

Counted are the signals that wait to be delivered to processes of the container and to their
threads, plus their POSIX timers, each of which keeps the record of a signal. There is
``numsiginfo.held`` and ``.maxheld``, and no limit to write: a signal is made by its sender,
who need not be in the container, and user space cannot refuse it. What can is
RLIMIT_SIGPENDING, for a user and not for a container.

Not promised: to be exact. The kernel shows which signals are pending and not how often each
is queued, so the count is a lower bound; ``maxheld`` is the highest count that was made.
"""

from __future__ import annotations

from collections.abc import Mapping

from governor.results import OBSERVED
from governor.subsystem import ControlFile, CountedSubsystem


class NumSigInfo(CountedSubsystem):
    """Pending signals, counted per container."""

    name = "numsiginfo"
    resource = "signals"
    best = OBSERVED
    why = "signals can be counted, not refused"

    def populate(self) -> Mapping[str, ControlFile]:
        """Only what is counted: nothing can be limited, and so nothing fails."""
        files = super().populate()
        return {name: files[name] for name in map(self._file, ("held", "minheld", "maxheld"))}

    def _file(self, name: str) -> str:
        return f"{self.name}.{name}"
