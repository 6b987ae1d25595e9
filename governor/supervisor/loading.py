"""Which subsystems may be mounted: those that ask for nothing an agent cannot do."""

from __future__ import annotations

import errno

from governor import registry
from governor.errors import GovernorError
from governor.subsystem import CountedSubsystem, Subsystem
from workers import seccomp
from workers.resources import NAMES

ALL = "all"
"""What `mount` is given for every subsystem there is, as in the seeds."""


def expand(labels: list[str]) -> list[str]:
    """Every subsystem there is, where `ALL` is among the labels."""
    if ALL not in labels:
        return labels
    others = [label for label in labels if label != ALL]
    return [*registry.names(), *(label for label in others if label not in registry.names())]


def load(name: str) -> Subsystem:
    """The subsystem ``name``; EINVAL when it wants traps or figures that no agent has."""
    subsystem = registry.load(name)
    unknown = subsystem.traps - seccomp.TRAPS
    if isinstance(subsystem, CountedSubsystem):
        unknown |= {subsystem.resource}.difference(NAMES)
    if unknown:
        raise GovernorError(
            errno.EINVAL,
            f"subsystem {name!r} wants {', '.join(sorted(unknown))}; what can be trapped is"
            f" {', '.join(sorted(seccomp.TRAPS))}, and counted all of it but affinity",
        )
    return subsystem
