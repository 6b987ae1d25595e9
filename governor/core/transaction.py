"""Callbacks of subsystems: those that may refuse, all of them or none, and those that may not."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.subsystem import Subsystem

Tell = Callable[..., object]
"""``tell(subsystem, callback, *args)``: a callback that cannot refuse, so that whatever it raises
must not keep the others from theirs. Who runs the core says what becomes of it."""

Step = tuple[Callable[[], object], Callable[[], object]]
"""Something that may refuse, and what takes it back once it was granted, which never raises."""


def insist(subsystem: Subsystem, callback: str, *args: object) -> object:
    """A `Tell` for those who want to hear of every mistake at once."""
    return getattr(subsystem, callback)(*args)


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
