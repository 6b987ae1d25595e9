"""governor: several independent container hierarchies over real processes, without root.

The names below are the public Python API; they are loaded on first use so that
``import governor`` stays cheap for the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from governor.api import Container, Governor, Hierarchy, Job, JobResult
    from governor.api.executor import Executor
    from governor.api.limits import Limits, Usage
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
    "Limits",
    "NotRunning",
    "ProtocolError",
    "Refusal",
    "Usage",
    "WorkerDied",
    "__version__",
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
    "Executor": "governor.api.executor",
    "Limits": "governor.api.limits",
    "Usage": "governor.api.limits",
}
"""What is not loaded with `governor.api`."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'governor' has no attribute {name!r}")
    if name in _ERRORS:
        from governor import errors

        return getattr(errors, name)
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE[name]), name)
    from governor import api

    return getattr(api, name)
