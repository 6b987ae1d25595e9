"""physpages: watch the resident memory of a container, in pages, and act at its limit.

Counted is PSS: a page that n processes have mapped is an n-th of a page for each. Over
``physpages.barrier`` there is an event. At the limit ``physpages.action`` says what happens:

- ``refuse``: fork and new threads fail with ENOMEM while there is no room for a page;
- ``stop``: all members are stopped (SIGSTOP) while more is held, then continued;
- ``kill``: the largest member is killed (SIGKILL), one at a look, until no more is held.

Not promised: that no more than the limit is held. A page becomes resident when it is touched,
which no filter sees: memory is looked at ten times a second. What is stopped frees nothing by
itself, so that somebody has to end a member or raise the limit. A process from outside that
is stopped when its governor ends stays so.
"""

from __future__ import annotations

from governor.memory import proportional
from governor.subsystem.watched import WatchedSubsystem


class PhysPages(WatchedSubsystem):
    """Resident memory by PSS, watched per container."""

    name = "physpages"
    resource = "physpages"
    traps = frozenset({"physpages"})
    facility = "memory"
    measure = staticmethod(proportional)
