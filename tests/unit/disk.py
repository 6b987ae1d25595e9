"""A directory in memory that can fail, and whose machine can crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from governor.journal.place import Place


class Disk:
    """Implements `Place`; ``fails(operation)`` may raise before anything is done.

    What was written and not synced may be there after a crash, up to any byte.
    """

    path = "/state"

    def __init__(self, fails: Callable[[str], None] = lambda operation: None) -> None:
        self.fails = fails
        self.files: dict[str, bytearray] = {}
        self._open: dict[int, bytearray] = {}
        self._pending: list[tuple[bytearray, int, bytes, bytes]] = []
        self._last = 2

    @property
    def place(self) -> Place:
        return cast("Place", self)

    def read(self, name: str) -> bytes | None:
        return bytes(self.files[name]) if name in self.files else None

    def create(self, name: str) -> int:
        self.fails("create")
        self.files[name] = bytearray()
        self._last += 1
        self._open[self._last] = self.files[name]
        return self._last

    def shut(self, descriptor: int) -> None:
        del self._open[descriptor]

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        file = self._open[descriptor]
        try:
            self.fails("write")
        except OSError:
            self._put(file, data[: len(data) // 2], offset)
            raise
        self._put(file, data, offset)

    def _put(self, file: bytearray, data: bytes, offset: int) -> None:
        self._pending.append((file, offset, data, bytes(file[offset : offset + len(data)])))
        file[offset : offset + len(data)] = data

    def sync(self, descriptor: int) -> None:
        self.fails("sync")
        file = self._open[descriptor]
        self._pending = [entry for entry in self._pending if entry[0] is not file]

    def sync_names(self) -> None:
        self.fails("sync_names")

    def cut(self, descriptor: int, size: int) -> None:
        self.fails("cut")
        del self._open[descriptor][size:]

    def replace(self, old: str, new: str) -> None:
        self.fails("replace")
        self.files[new] = self.files.pop(old)

    def names(self) -> list[str]:
        return sorted(self.files)

    def close(self) -> None:
        pass

    def crash(self, kept: int) -> None:
        """The machine stops: of what was not synced the first so many bytes are there."""
        for file, offset, data, before in reversed(self._pending):
            file[offset : offset + len(data)] = before
        for file, offset, data, _ in self._pending:
            data = data[:kept]
            kept -= len(data)
            file[offset : offset + len(data)] = data
        self._pending.clear()
        self._open.clear()
