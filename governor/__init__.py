"""governor: several independent container hierarchies over real processes, without root.

The names below are the public Python API; they are loaded on first use so that
``import governor`` stays cheap for the command line.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
"""What type checkers take for true; typing would be most of what this imports."""

if TYPE_CHECKING:
    from governor import aio
    from governor.api import Container, Governor, Hierarchy, Job, JobResult
    from governor.api.executor import Executor
    from governor.api.limited import Limited, limited, limits
    from governor.api.limits import Limits, Usage
    from governor.api.running import Completed
    from governor.errors import (
        GovernorError,
        JobFailed,
        JobTimeout,
        LimitExceeded,
        NotRunning,
        ProtocolError,
        WorkerDied,
    )
    from governor.results import Refusal

__all__ = [
    "Completed",
    "Container",
    "Executor",
    "Governor",
    "GovernorError",
    "Hierarchy",
    "Job",
    "JobFailed",
    "JobResult",
    "JobTimeout",
    "LimitExceeded",
    "Limited",
    "Limits",
    "NotRunning",
    "ProtocolError",
    "Refusal",
    "Usage",
    "WorkerDied",
    "__version__",
    "aio",
    "limited",
    "limits",
]

_ERRORS = frozenset(
    {
        "GovernorError",
        "JobFailed",
        "JobTimeout",
        "LimitExceeded",
        "NotRunning",
        "ProtocolError",
        "WorkerDied",
    }
)

_ELSEWHERE = {
    "Completed": "governor.api.running",
    "Executor": "governor.api.executor",
    "Limited": "governor.api.limited",
    "Limits": "governor.api.limits",
    "Usage": "governor.api.limits",
    "limited": "governor.api.limited",
    "limits": "governor.api.limited",
}
"""Names that `governor.api` leaves in their modules, which few programs need."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'governor' has no attribute {name!r}")
    if name in _ERRORS:
        from governor import errors

        return getattr(errors, name)
    if name == "aio" or name in _ELSEWHERE:
        from importlib import import_module

        module = import_module(_ELSEWHERE.get(name, "governor.aio"))
        return module if name == "aio" else getattr(module, name)
    from governor import api

    return getattr(api, name)
