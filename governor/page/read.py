"""The JSON of a run, as `governor.report` writes it now or has written it, checked."""

from __future__ import annotations

import errno
import json
import os
from typing import Annotated, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from governor.errors import GovernorError
from governor.report import Attempt, JobReport, Report
from governor.results import ContainerReport, Refusal

_LONGEST = 1e10
"""Seconds, three centuries; a page has to have room for a time."""

Seconds = Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=-(2**63), lt=2**64)]
Level = Annotated[str, Field(pattern="^(enforced|partial|observed)$")]


class _Attempt(BaseModel):
    status: str
    exit_code: int | None
    signal: int | None
    wall_seconds: Seconds
    cpu_seconds: Seconds
    began_seconds: Seconds | None
    error: str | None


class _Job(BaseModel):
    name: str
    command: list[str]
    containers: list[str]
    status: str
    exit_code: int | None
    signal: int | None
    wall_seconds: Seconds
    cpu_seconds: Seconds
    timed_out: bool
    error: str | None
    unenforced: str | None = None
    earlier: bool = False
    began_seconds: Seconds | None = None
    attempts: list[_Attempt] = []
    cpu_timed_out: bool = False
    unmet: str | None = None
    skipped: str | None = None
    refusals: list[Refusal] = []

    def told(self) -> JobReport:
        """As `governor.report` has it."""
        attempts = tuple(Attempt(**attempt.model_dump()) for attempt in self.attempts)
        return JobReport(**{**dict(self), "attempts": attempts})


class _Container(BaseModel):
    hierarchy: str
    path: str
    level: dict[str, Level]
    files: dict[str, Count | str]


class _Course(BaseModel):
    hierarchy: str
    path: str
    files: dict[str, list[Count | None]]


class _Samples(BaseModel):
    seconds: list[Seconds]
    containers: list[_Course]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.seconds != sorted(self.seconds):
            raise ValueError("the moments do not rise")
        for course in self.containers:
            if any(len(values) != len(self.seconds) for values in course.files.values()):
                raise ValueError("there is not a value for every moment")
        return self


class _Run(BaseModel):
    exit_code: int
    signal: int | None
    wall_seconds: Seconds
    jobs: list[_Job]
    enforcement: dict[str, Level]
    containers: list[_Container]
    title: str = ""
    began_at: float | None = Field(None, ge=0, le=1e11, allow_inf_nan=False)
    samples: _Samples | None = None


def read(path: str) -> Report:
    """The report in a file; ``-`` is standard input. EINVAL: it is none. ENOENT and the like."""
    try:
        with open(0 if path == "-" else path, encoding="utf-8", closefd=path != "-") as file:
            text = file.read()
        return parse(text)
    except OSError as error:
        number = error.errno or errno.EIO
        raise GovernorError(number, f"cannot read {path}: {os.strerror(number)}") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are such
        raise GovernorError(
            errno.EINVAL, f"{path} is not a report of governor batch or run: {error}"
        ) from None


def parse(text: str) -> Report:
    """The report that a text is. Raises ValueError with the first thing that is wrong."""
    try:
        run = _Run.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return Report(
        run.exit_code,
        run.signal,
        run.wall_seconds,
        [job.told() for job in run.jobs],
        run.enforcement,
        [ContainerReport(**container.model_dump()) for container in run.containers],
        run.title,
        run.began_at,
        run.samples.model_dump() if run.samples else None,
    )
