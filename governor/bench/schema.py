"""The layout of a result file, as types; `python -m governor.bench.schema` prints its JSON Schema.

Importing this module imports pydantic, so only what reads or writes such a file does.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

VERSION: Final = 2
"""Raised when a key changes its meaning or goes; keys may be added without that."""

Count = int | None
Number = float | None


class _Table(BaseModel):
    """An object; keys that a later version adds are not minded."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Machine(_Table):
    """Of the host, before and after; null is what it does not tell."""

    kernel: str = Field(description="release, as uname(2) has it")
    machine: str = Field(description="architecture, as uname(2) has it")
    cpu: str | None
    cpus: Count
    cpus_usable: int = Field(description="processors that the benchmark may run on")
    frequency_governor: str | None
    clock_source: str | None
    frequency_mhz: Number = Field(description="of the first processor, before")
    frequency_mhz_after: Number
    virtual: bool = Field(description="whether the processor tells of a hypervisor")
    autogroup: str | None = Field(description="1 when the scheduler groups by session")
    load: list[float] = Field(
        min_length=3, description="load averages over 1, 5 and 15 minutes, before"
    )
    load_after: list[float]
    stolen: Number = Field(description="share of all CPU time that a hypervisor gave to others")
    python: str
    libc: str | None
    uid: int
    governor: str = Field(description="governor's version")
    instructions: str | None = Field(
        None, description="counted, or why this host counts no instructions"
    )


class Estimate(_Table):
    """A median; the interval is null with fewer than six samples."""

    median: Number
    low: Number = Field(description="lower end of the 95 % interval")
    high: Number = Field(description="upper end of the 95 % interval")
    spread: Number = Field(description="median absolute deviation of single samples")
    samples: int


class Figures(_Table):
    """Of one operation in one surrounding."""

    ns: Estimate = Field(description="nanoseconds per operation")
    ratio: Estimate = Field(description="to the base, in pairs of one round each")
    excess_ns: Estimate = Field(description="over the base")
    excess_ratio: Estimate | None = Field(description="of the excess, to that of the floor")
    outliers: list[int] = Field(description="where in samples_ns they are; none was left out")
    samples_ns: list[PositiveFloat] = Field(min_length=1, description="one mean for each round")


class Operation(_Table):
    """One operation of a section."""

    base: str = Field(description="the surrounding that the others are compared to")
    surroundings: dict[str, Figures]

    @model_validator(mode="after")
    def _of_one_length(self) -> Operation:
        """Samples are compared in pairs."""
        if self.base not in self.surroundings:
            raise ValueError(f"the base {self.base} is missing")
        if len({len(row.samples_ns) for row in self.surroundings.values()}) > 1:
            raise ValueError("not all surroundings have as many samples")
        return self


class Place(_Table):
    """Where a surrounding stands in a sweep."""

    series: str
    point: int | str


class Section(_Table):
    """What was measured in turns."""

    title: str
    rounds: int
    operations: dict[str, Operation]
    sweep: dict[str, Place] = Field(description="surroundings with a place in a sweep")
    shares: list[float] = Field(description="of the quantiles in latencies_ns")
    latencies_ns: dict[str, dict[str, list[float]]] = Field(
        description="quantiles of single operations, by operation and surrounding"
    )
    instructions: dict[str, dict[str, float]] = Field(
        {},
        description="of the job and its children, user and kernel mode, by operation and "
        "surrounding; empty where the machine counts none",
    )


class Target(_Table):
    """What governor may cost at most, and whether it does."""

    target: str
    section: str
    operation: str
    subject: str
    base: str
    unit: str
    bound: float
    found: Estimate | None
    verdict: str = Field(description="ok, MISSED, noise or absent")


class Size(_Table):
    """Of a governor's memory."""

    title: str
    bytes: Estimate
    samples_bytes: list[float] = Field(min_length=1, description="one for each governor")


class File(_Table):
    """A result of `governor bench`."""

    version: int
    machine: Machine
    sections: dict[str, Section]
    targets: list[Target]
    memory: dict[str, Size] = Field({}, description="what governor takes; empty if not weighed")
    failed: dict[str, str] = Field(description="surrounding to reason, of what should have worked")
    skipped: dict[str, str] = Field(description="the same of what a host need not have")
    notes: dict[str, str] = Field(description="surrounding to what has to be known of its figures")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12)."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | File.model_json_schema()


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
