"""numtasks: limit the tasks (processes and threads) of a container.

At the limit fork, vfork, clone, clone3 and thread creation fail with EAGAIN, whichever
ancestor's limit is met, and that container's ``numtasks.failcnt`` counts the refusal. A
task counts from its creation until it has been reaped, zombies included, as in the
kernel's pids controller.

Not promised: moving a process in, or lowering the limit below what is held, is never
refused; it only keeps new tasks from being made. ``maxheld`` is the highest recount.
"""

from __future__ import annotations

from governor.subsystem import CountedSubsystem


class NumTasks(CountedSubsystem):
    """Processes and threads, limited per container."""

    name = "numtasks"
    resource = "tasks"
    traps = frozenset({"tasks"})
    facility = "tasks"
