"""When what was, in a batch: its clock, and the figures of its containers over time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from governor.results import ContainerReport, Value

ENDINGS: Final = (".held", ".failcnt", ".usage")
"""Control files whose course is told."""

Read = Callable[[], "Sequence[ContainerReport]"]

INTERVAL_SECONDS: Final = 0.25
"""From one sample to the next as long as there is room; then twice that, and so on."""

MOST_SAMPLES: Final = 240
LEAST_SAMPLES: Final = 20
MOST_VALUES: Final = 200_000
"""Samples of many containers are fewer, so that a report stays below some megabytes."""

_SHARE: Final = 20
"""Sampling takes at most one part in so many of the time."""


class Timeline:
    """A clock that begins now, and the samples of it; there are none before `follow`."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.began_at = time.time()
        self._read: Read | None = None
        self._interval = INTERVAL_SECONDS
        self._next = 0.0
        self._samples: list[tuple[float, Sequence[ContainerReport]]] = []

    def seconds(self, moment: float | None = None) -> float:
        """Seconds from the beginning until now, or until a moment of the monotonic clock."""
        return (time.monotonic() if moment is None else moment) - self.began

    def follow(self, read: Read) -> None:
        """From now on take samples of what ``read`` returns."""
        self._read = read

    def tick(self) -> None:
        """Take a sample if it is time for one; called a few times a second."""
        began = time.monotonic()
        if self._read is None or began < self._next:
            return
        self.add(self._read())
        took = time.monotonic() - began
        self._next = began + max(self._interval, _SHARE * took)

    def add(self, reports: Sequence[ContainerReport]) -> None:
        """Take these figures as a sample of now."""
        if self._read is None:
            return
        told = [report._replace(files=_told(report.files)) for report in reports]
        self._samples.append((self.seconds(), told))
        values = sum(len(report.files) for report in told)
        most = min(MOST_SAMPLES, max(LEAST_SAMPLES, MOST_VALUES // max(1, values)))
        if len(self._samples) > most:
            self._samples = self._samples[::2]
            self._interval *= 2

    def samples(self) -> dict[str, Any] | None:
        """The samples for a report: moments, and of every file that moved its values then.

        A value is None where there was no such container.
        """
        if not self._samples:
            return None
        courses: dict[tuple[str, str], dict[str, list[Value | None]]] = {}
        for number, (_, reports) in enumerate(self._samples):
            for report in reports:
                files = courses.setdefault((report.hierarchy, report.path), {})
                for name, value in report.files.items():
                    course = files.setdefault(name, [None] * len(self._samples))
                    course[number] = value
        containers = []
        for (hierarchy, path), files in courses.items():
            moved = {name: course for name, course in files.items() if any(course)}
            if moved:
                containers.append({"hierarchy": hierarchy, "path": path, "files": moved})
        moments = [round(seconds, 3) for seconds, _ in self._samples]
        return {"seconds": moments, "containers": containers}


def _told(files: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in files.items() if name.endswith(ENDINGS)}
