"""All or nothing: ask everybody first, and take back what was granted when one refuses."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from governor.errors import GovernorError

Step = tuple[Callable[[], object], Callable[[], object]]
"""Something that may refuse, and what takes it back once it was granted."""


def all_or_none(steps: Iterable[Step]) -> None:
    """Do every step; when one refuses, those before it are taken back, the last one first.

    The refusal is raised. Anything else a step raises counts as a refusal with EIO: a mistake in
    a subsystem must not leave a half-done change behind.
    """
    granted: list[Callable[[], object]] = []
    try:
        for ask, take_back in steps:
            ask()
            granted.append(take_back)
    except Exception as error:
        for take_back in reversed(granted):
            take_back()
        if isinstance(error, GovernorError):
            raise
        raise GovernorError(errno.EIO, f"a subsystem failed: {error!r}") from error
