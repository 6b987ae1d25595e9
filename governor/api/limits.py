"""Limits of one job, as users write them, and what it has used."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from governor.errors import GovernorError
from governor.results import Refusal
from governor.units import format_cpus, parse_count, parse_cpus, parse_duration


class Limits(NamedTuple):
    """Limits of a job; None is none. ``timeout`` in seconds, ``cpus`` such as ``0-3,5``."""

    tasks: int | None = None
    files: int | None = None
    cpus: str | None = None
    timeout: float | None = None

    @classmethod
    def of(
        cls,
        *,
        tasks: int | str | None = None,
        files: int | str | None = None,
        cpus: str | int | Iterable[int] | None = None,
        timeout: float | str | None = None,
    ) -> Limits:
        """Limits as users write them: ``64``, ``"4k"``, ``"0-1"``, ``{0, 1}``, ``"10s"``.

        EINVAL: one of them is not such a value, or leaves no room for anything.
        """
        return cls(
            _checked("tasks", parse_count, tasks),
            _checked("files", parse_count, files),
            _checked("cpus", _cpus, cpus),
            _checked("timeout", parse_duration, timeout),
        )

    def over(self, others: Limits) -> Limits:
        """These, and of ``others`` what is not said here."""
        said = {name: value for name, value in self._asdict().items() if value is not None}
        return others._replace(**said)

    def settings(self) -> dict[str, int | str]:
        """The control files that enforce these, but for the time, which is the job's."""
        files = {
            "numtasks.limit": self.tasks,
            "numfiles.limit": self.files,
            "cpuset.cpus": self.cpus,
        }
        return {file: value for file, value in files.items() if value is not None}


class Usage(NamedTuple):
    """What a job or a task has used.

    ``cpu_seconds`` of all its processes; ``wall_seconds`` from its start to its end;
    ``tasks_peak`` and ``files_peak``: the most processes and threads, and open files, that were
    counted at once: whenever a limit was met, and otherwise now and then, so that what lasts for
    less than some 100 ms may be missed; None where nobody counted.
    ``refusals``: what was refused.
    """

    cpu_seconds: float
    wall_seconds: float
    tasks_peak: int | None
    files_peak: int | None
    refusals: tuple[Refusal, ...]


def _checked(name: str, parse: Callable[[Any], Any], value: object) -> Any:
    """A limit read by ``parse``; EINVAL when it is wrong, or so small that nothing could run."""
    if value is None:
        return None
    try:
        parsed = parse(value)
    except (ValueError, TypeError) as error:
        raise GovernorError(errno.EINVAL, f"{name}: {error}") from None
    if not parsed:
        raise GovernorError(errno.EINVAL, f"{name}={value!r} leaves no room for anything")
    return parsed


def _cpus(cpus: str | int | Iterable[int]) -> str:
    if isinstance(cpus, str):
        return format_cpus(parse_cpus(cpus))
    if isinstance(cpus, int):
        return format_cpus(parse_cpus(str(cpus)))
    return format_cpus(parse_cpus(",".join(map(str, cpus))))
