"""Subsystems that make further hierarchies as costly as the first.

A subsystem can be bound in one hierarchy only, so every hierarchy of the benchmark after the first
gets two subsystems of its own that count the same resources: then N hierarchies really are N times
the limits. They are found as any third party's are, through entry points, from a directory put on
the module path of the benchmark's own processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from governor.registry import ENTRY_POINTS
from governor.subsystem import CountedSubsystem

RESOURCES: Final = ("tasks", "files")
"""What can be counted and trapped in every hierarchy."""
LARGEST: Final = 16
"""The most hierarchies that can be asked for."""


def subsystems_of(hierarchy: int, resources: Sequence[str] = RESOURCES) -> list[str]:
    """Return the names of the counting subsystems of hierarchy 1 to LARGEST."""
    prefix = "num" if hierarchy == 1 else f"bench{hierarchy}_"
    return [f"{prefix}{resource}" for resource in resources]


def install_entry_points(directory: Path) -> None:
    """Write to ``directory`` the metadata that offers the further subsystems to the registry."""
    metadata = directory / "governor_bench-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: governor-bench\nVersion: 0\n")
    lines = [f"{name} = {__name__}:{name}" for name in _FURTHER]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines, ""]))


def _further() -> dict[str, type[CountedSubsystem]]:
    """Return one class for every name that `subsystems_of` gives for hierarchy 2 and up."""
    classes: dict[str, type[CountedSubsystem]] = {}
    for hierarchy in range(2, LARGEST + 1):
        for name, resource in zip(subsystems_of(hierarchy), RESOURCES, strict=True):
            body = {"name": name, "resource": resource, "traps": frozenset({resource})}
            classes[name] = type(name, (CountedSubsystem,), body)
    return classes


_FURTHER: Final = _further()
globals().update(_FURTHER)
