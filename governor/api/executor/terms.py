"""What an executor was asked to be."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from multiprocessing.process import current_process
from typing import Any

from governor.api.container import Container
from governor.api.governor import Governor
from governor.api.leaf import Leaves, refused_at
from governor.errors import GovernorError
from governor.results import Refusal
from workers import pickles


class Terms:
    """``most`` tasks at once; a worker ends after ``calls`` of them, 0: never.

    ``find`` gives the governor, which may be another one when the last has died.
    """

    def __init__(
        self,
        most: int,
        calls: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        containers: list[Container],
        find: Callable[[], Governor],
    ) -> None:
        self.most = most
        self.calls = calls
        self.containers = containers
        self.labels = tuple(f"{c.hierarchy.name}:{c.path}" for c in containers)
        self.governor = find
        self.key = bytes(current_process().authkey)
        """What proxies of multiprocessing's managers show."""
        self.prepare = b""
        """The pickled initializer, with a byte in front that says how; see `workers.calls`."""
        if initializer is not None:
            packed = pickles.pack_call((initializer, initargs))
            self.prepare = bytes([packed.whole]) + packed.data
        self._lock = threading.Lock()
        self._leaves: tuple[Governor, Leaves] | None = None

    def refusals(self) -> tuple[Refusal, ...]:
        """What the limits that hold for the workers have refused by now, to any of them."""
        if not self.containers:
            return ()
        with contextlib.suppress(GovernorError):
            return refused_at(self.governor().client, self.containers)
        return ()

    def leaves(self, governor: Governor) -> Leaves:
        """Where tasks get containers of their own."""
        with self._lock:
            if self._leaves is None or self._leaves[0] is not governor:
                self._leaves = governor, Leaves(governor, self.containers)
            return self._leaves[1]
