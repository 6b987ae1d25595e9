"""What is exported: families of columns, kept from one scrape to the next.

What a control file is called and means as a metric is in its subsystem's `Metric`; nothing here
knows a subsystem. A column is one list of values, one per container or job. One that is the same
as at the last scrape costs a comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from prometheus_client.core import Metric as Head

from governor import registry
from governor.errors import GovernorError
from governor.metrics.numbers import written
from governor.results import LEVELS
from governor.subsystem import Metric, to_number

_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")
_WHERE: Final = ("container", "hierarchy")
_JOB: Final = ("id", "name")
"""Not `job`: Prometheus has a label of that name for whatever it scrapes."""
_JOB_CONTAINER: Final = (*_WHERE, *_JOB)
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}
"""What the name of a sample has besides that of its family."""
_STATES: Final = ("starting", "running", "ended")
_TEXTS_MAX: Final = 65536

Raw = int | float | str | None
Number = Callable[[Any], float]


class Rows:
    """The label sets of the rows that columns have in common; never changed."""

    def __init__(
        self, names: Sequence[str], values: Sequence[tuple[str, ...]], old: Rows | None
    ) -> None:
        """``old``: rows of which many may be the same. ``names`` are sorted."""
        self.names = names
        self.values = values
        known: dict[tuple[str, ...], str] = (
            dict(zip(old.values, old.texts, strict=True)) if old is not None else {}
        )
        self.texts: list[str] = [known.get(row) or _labels(names, row) for row in values]

    @classmethod
    def of(cls, old: Rows | None, names: Sequence[str], values: Sequence[tuple[str, ...]]) -> Rows:
        """Those with these values: the old ones where they are."""
        return old if old is not None and old.values == values else cls(names, values, old)


def _labels(names: Sequence[str], row: Sequence[str]) -> str:
    """As in the text formats, without the braces."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, row, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Family:
    """All series of one name. ``owner``: whose it is, when two would have the same."""

    def __init__(self, name: str, kind: str, help: str, unit: str, owner: str) -> None:
        self.name = name
        self.kind = kind
        self.owner = owner
        self._help = help
        self._unit = unit
        self.sample = name + _SUFFIXES.get(kind, "")

    def head(self) -> Head:
        """The family as prometheus_client has it, without samples."""
        return Head(self.name, self._help, self.kind, self._unit)


class Column:
    """The values of a family for some rows; ``more``: labels that all have besides."""

    def __init__(self, family: Family, number: Number, more: dict[str, str]) -> None:
        self.family = family
        self._number = number
        self.more = more
        self._rows = Rows((), [], None)
        self._raw: list[Any] = []
        self._texts: dict[Raw, str] = {}
        self.text = b""
        """All lines, encoded."""
        self.packed: bytes | None = None
        """The same compressed, where somebody has done that."""

    def update(self, rows: Rows, raw: list[Any]) -> None:
        """These are the values now; those that are missing at the end are None."""
        if rows is self._rows and raw == self._raw:
            return
        self._rows, self._raw = rows, raw
        self.text = "".join(self._lines()).encode()
        self.packed = None

    def _lines(self) -> Iterator[str]:
        sample, texts = self.family.sample, self._texts
        more = ",".join(f'{name}="{_escape(value)}"' for name, value in self.more.items())
        end = f",{more}}}" if more else "}"
        if len(texts) > _TEXTS_MAX:
            texts.clear()
        for labels, value in zip(self._rows.texts, self._raw, strict=False):
            text = texts.get(value)
            if text is None:
                text = texts[value] = self._text(value)
            if text:
                yield f"{sample}{{{labels}{end}{text}"

    def _text(self, value: Raw) -> str:
        """What is behind the labels; nothing when it is no number."""
        number = self._parse(value)
        return "" if number is None else f" {written(number)}\n"

    def _parse(self, value: Raw) -> float | None:
        try:
            return None if value is None else self._number(value)
        except ValueError:
            return None

    def samples(self) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and number of each."""
        for row, value in zip(self._rows.values, self._raw, strict=False):
            number = self._parse(value)
            if number is not None:
                yield dict(zip(self._rows.names, row, strict=True)) | self.more, number


_LEVEL: Final = Family(
    "governor_enforcement_level",
    "gauge",
    "1 for the level that the subsystem has in the container, 0 for the other two.",
    "",
    "",
)
_STATE: Final = Family(
    "governor_job_state", "gauge", "1 for the state of the job, 0 for the other two.", "", ""
)
_AGE: Final = Family(
    "governor_job_age_seconds",
    "gauge",
    "How long the job has been running, or did until it ended.",
    "seconds",
    "",
)
_EXIT: Final = Family(
    "governor_job_exit_code", "gauge", "The exit code of a job that has ended.", "", ""
)
_CONTAINER: Final = Family(
    "governor_job_container", "info", "Always 1, for each container that the job is in.", "", ""
)


class Model:
    """All columns, brought up to date by each answer to `governor.wire.client.Scrape`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], Rows] = {}
        self.shapes: dict[str, int] = {}
        """The versions of the paths that are known, by hierarchy."""
        self._columns: dict[tuple[object, ...], Column] = {}
        self._used: dict[tuple[object, ...], Column] = {}
        self._known: dict[str, dict[str, Metric | None]] = {}
        self._families: dict[str, Family] = {}

    def update(self, answer: dict[str, Any]) -> None:
        """Take over what there is now; what is not told of is no more."""
        self._used = {}
        old, self._rows = self._rows, {}
        shapes = {}
        for hierarchy, version, paths, files, levels in answer["blocks"]:
            key = hierarchy, bool(version)
            if version:
                shapes[hierarchy] = version
            rows = self._rows[key] = (
                old[key]
                if paths is None
                else Rows.of(old.get(key), _WHERE, [(path, hierarchy) for path in paths])
            )
            self._add_levels(key, rows, levels)
            self._add_files(key, rows, levels, files)
        self._add_jobs(answer["jobs"], old)
        self.shapes = shapes
        self._columns = self._used
        self._families = {column.family.name: column.family for column in self._columns.values()}

    def families(self) -> Iterator[tuple[Family, list[Column]]]:
        """Every family with its columns, of which at least one has a sample."""
        found: dict[str, list[Column]] = {}
        for column in self._columns.values():
            if column.text:
                found.setdefault(column.family.name, []).append(column)
        for columns in found.values():
            yield columns[0].family, columns

    def _column(
        self,
        key: tuple[object, ...],
        family: Family,
        number: Number,
        rows: Rows,
        raw: list[Any],
        **more: str,
    ) -> None:
        key = (*key, family.name, *more.values())
        column = self._columns.get(key)
        if column is None or column.family.owner != family.owner:
            column = Column(family, number, more)
        column.update(rows, raw)
        self._used[key] = column

    def _add_levels(
        self, key: tuple[object, ...], rows: Rows, levels: dict[str, list[int]]
    ) -> None:
        for subsystem, column in levels.items():
            for place, level in enumerate(LEVELS):
                number = _is(place)
                self._column(key, _LEVEL, number, rows, column, level=level, subsystem=subsystem)

    def _add_files(
        self,
        key: tuple[object, ...],
        rows: Rows,
        subsystems: dict[str, Any],
        files: dict[str, list[Any]],
    ) -> None:
        for subsystem in subsystems:
            metrics = self._metrics(subsystem)
            for file, column in files.items():
                if file.startswith(f"{subsystem}."):
                    metric = metrics.get(file)
                    family = self._family(subsystem, file, metric)
                    if family.owner == file:  # its name is not another file's
                        number = metric.number if metric else _undescribed
                        self._column(key, family, number, rows, column)

    def _family(self, subsystem: str, file: str, metric: Metric | None) -> Family:
        name = family_name(subsystem, file, metric)
        if name not in self._families:
            kind = metric.kind if metric else "unknown"
            help = metric.help if metric else f"The control file {file}."
            unit = metric.unit if metric else ""
            self._families[name] = Family(name, kind, help, unit, file)
        return self._families[name]

    def _metrics(self, subsystem: str) -> dict[str, Metric | None]:
        """The metrics of a subsystem's control files; none of one that only others can load."""
        if subsystem not in self._known:
            try:
                files = registry.load(subsystem).populate()
            except GovernorError:
                files = {}
            self._known[subsystem] = {name: file.metric for name, file in files.items()}
        return self._known[subsystem]

    def _add_jobs(self, jobs: list[list[Any]], old: dict[tuple[object, ...], Rows]) -> None:
        rows = self._rows[_JOB] = Rows.of(
            old.get(_JOB), _JOB, [(str(id), name) for id, name, *_ in jobs]
        )
        states, ages, codes = ([job[place] for job in jobs] for place in (2, 3, 4))
        for state in _STATES:
            self._column(_JOB, _STATE, _is(state), rows, states, state=state)
        self._column(_JOB, _AGE, float, rows, ages)
        self._column(_JOB, _EXIT, float, rows, codes)
        where = [
            (path, hierarchy, str(id), name)
            for id, name, *_, places in jobs
            for hierarchy, path in places
        ]
        rows = self._rows[_JOB_CONTAINER] = Rows.of(old.get(_JOB_CONTAINER), _JOB_CONTAINER, where)
        self._column(_JOB_CONTAINER, _CONTAINER, float, rows, [1] * len(where))


def family_name(subsystem: str, file: str, metric: Metric | None) -> str:
    """What a control file's metric is called, without the ``_total`` of a counter."""
    own = metric.name if metric else file.removeprefix(f"{subsystem}.")
    parts = ["governor", subsystem, own, metric.unit if metric else ""]
    return _NOT_IN_A_NAME.sub("_", "_".join(filter(None, parts)))


def _undescribed(value: int | str) -> float:
    """A text that looks like a number today may not tomorrow: ValueError for all but ``max``."""
    if isinstance(value, str) and value != "max":
        raise ValueError(value)
    return to_number(value)


def _is(one: Raw) -> Number:
    return lambda value: float(value == one)
