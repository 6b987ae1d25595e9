"""Counted resources in pages: control files have pages, metrics bytes."""

from __future__ import annotations

from collections.abc import Mapping

from governor.memory import PAGE_SIZE
from governor.subsystem import ControlFile, CountedSubsystem, Value, to_number


def to_bytes(value: Value) -> float:
    """A count of pages as metrics have it."""
    return to_number(value) * PAGE_SIZE


class PagesSubsystem(CountedSubsystem):
    """A controller of a resource in pages of ``SC_PAGE_SIZE``, as the seeds' beancounters."""

    def populate(self) -> Mapping[str, ControlFile]:
        """The files of any counted resource."""
        return {name: _in_bytes(file) for name, file in super().populate().items()}


def _in_bytes(file: ControlFile) -> ControlFile:
    """Export a figure of pages in bytes. Counters count refusals."""
    metric = file.metric
    if metric is None or metric.kind == "counter":
        return file
    return file._replace(metric=metric._replace(unit="bytes", number=to_bytes))
