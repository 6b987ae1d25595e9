"""From two looks at a governor to the rows of a table: rates, totals, order, filter, folds.

Pure: the moments of the looks are given. As in `governor.summary` nothing here knows a subsystem;
a resource is whatever has a control file NAME.held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from governor.results import ENFORCED, LEVELS, ContainerReport, Value
from governor.summary import noun, resources

ENDINGS: Final = (".held", ".limit", ".failcnt", ".usage", ".effective_cpus")
"""What a look has to have of the control files."""

ROOT: Final = "/"
_BILLION: Final = 1e9

Key = tuple[str, str]
"""A container: its hierarchy and its path."""


class Look(NamedTuple):
    """All containers at a ``moment`` (seconds of any clock that does not jump)."""

    moment: float
    reports: Sequence[ContainerReport]


class Held(NamedTuple):
    """What is held of a resource; ``limit`` is None where there is none, in ``file`` it is set."""

    amount: int
    limit: int | None
    file: str = ""

    @property
    def share(self) -> float | None:
        """The part of the limit that is taken: 1 is all of it; None without a limit."""
        if self.limit is None:
            return None
        return self.amount / self.limit if self.limit else 1.0


class Figures(NamedTuple):
    """A container now.

    ``held`` is by noun (tasks, files, ...), ``cpu`` in percent of one CPU, ``refused`` what its
    own limits refused since it was made, ``refusals`` that per second. ``all_refused`` and
    ``all_refusals`` are those of the containers below as well. ``level`` is the worst of its
    subsystems'; ``is_metered`` says whether there is a figure of CPU time. None is what is not
    known: rates at the first look, what is not bound there.
    """

    hierarchy: str
    path: str
    held: dict[str, Held]
    cpu: float | None
    refused: int
    refusals: float | None
    all_refused: int
    all_refusals: float | None
    cpus: str | None
    level: str
    is_metered: bool = False


class View(NamedTuple):
    """How to show it. ``hierarchy`` None is all; ``sort`` is in `sorts`, or a noun."""

    hierarchy: str | None = None
    sort: str = "name"
    flat: bool = False
    filter: str = ""
    folded: frozenset[Key] = frozenset()


class Row(NamedTuple):
    """A container to show: ``depth`` levels in, as ``name``; ``hidden`` rows are folded into it."""

    figures: Figures
    depth: int
    name: str
    has_children: bool
    hidden: int

    @property
    def key(self) -> Key:
        """Which container it is."""
        return self.figures.hierarchy, self.figures.path

    @property
    def refused(self) -> int:
        """What was refused here, and in what is folded into it."""
        return self.figures.all_refused if self.hidden else self.figures.refused

    @property
    def refusals(self) -> float | None:
        """That per second."""
        return self.figures.all_refusals if self.hidden else self.figures.refusals


SORTS: Final = ("name", "tasks", "files", "cpu", "refused")
"""What can always be sorted by; other counted resources by their nouns."""


# -- figures ------------------------------------------------------------------------------


class _Names(NamedTuple):
    """Which control files of a container say what."""

    held: list[tuple[str, str, str]]
    failcnt: list[str]
    usage: str | None
    cpus: str | None


def measure(now: Look, before: Look | None) -> list[Figures]:
    """The figures of every container, in the order of the look: parents before children."""
    earlier = {(r.hierarchy, r.path): r.files for r in before.reports} if before else {}
    seconds = now.moment - before.moment if before else 0.0
    # The roots of a hierarchy have the same files, and so have all the others.
    names: dict[tuple[str, bool], _Names] = {}
    found = []
    for report in now.reports:
        kind = report.hierarchy, report.path == ROOT
        if kind not in names:
            names[kind] = _names(report.files)
        past = earlier.get((report.hierarchy, report.path)) if seconds > 0 else None
        found.append(_figures(report, names[kind], past, seconds))
    return _summed(found)


def _names(files: Iterable[str]) -> _Names:
    names = list(files)
    counted = [(noun(name), f"{name}.held", f"{name}.limit") for name in resources(names)]
    failcnt = [name for name in names if name.endswith(".failcnt")]
    usage = next((name for name in names if name.endswith(".usage")), None)
    cpus = next((name for name in names if name.endswith(".effective_cpus")), None)
    return _Names(counted, failcnt, usage, cpus)


def _figures(
    report: ContainerReport, names: _Names, past: dict[str, Value] | None, seconds: float
) -> Figures:
    files = report.files
    held = {
        word: Held(_count(files.get(file)), _limit(files.get(limit)), limit)
        for word, file, limit in names.held
    }
    refused = sum(_count(files.get(name)) for name in names.failcnt)
    refusals = cpu = None
    if past is not None:
        # What has fallen was reset, or belongs to a new container of the same name.
        before = sum(_count(past.get(name)) for name in names.failcnt)
        refusals = max(0, refused - before) / seconds
        if names.usage in files and names.usage in past:
            used = _count(files[names.usage]) - _count(past[names.usage])
            cpu = max(0, used) / _BILLION / seconds * 100
    cpus = str(files[names.cpus]) if names.cpus in files else None
    level = max(report.level.values(), key=LEVELS.index, default=ENFORCED)
    return Figures(
        report.hierarchy, report.path, held, cpu, refused, refusals, refused, refusals, cpus, level,
        names.usage in files,
    )  # fmt: skip


def _count(value: Value | None) -> int:
    return value if isinstance(value, int) else 0


def _limit(value: Value | None) -> int | None:
    return value if isinstance(value, int) else None


def _summed(found: list[Figures]) -> list[Figures]:
    """With refusals added up from the leaves; everything else includes what is below anyway."""
    if not any(figures.refused for figures in found):
        return found
    totals: dict[Key, tuple[int, float]] = {}
    for figures in reversed(found):
        count, rate = totals.pop((figures.hierarchy, figures.path), (0, 0.0))
        count, rate = count + figures.refused, rate + (figures.refusals or 0.0)
        totals[figures.hierarchy, figures.path] = count, rate
        if figures.path != ROOT:
            above = figures.hierarchy, parent(figures.path)
            others = totals.get(above, (0, 0.0))
            totals[above] = others[0] + count, others[1] + rate
    return [
        figures._replace(
            all_refused=totals[figures.hierarchy, figures.path][0],
            all_refusals=(
                None if figures.refusals is None else totals[figures.hierarchy, figures.path][1]
            ),
        )
        for figures in found
    ]


def parent(path: str) -> str:
    """The path of the container above; the root is its own."""
    return path.rpartition("/")[0] or ROOT


# -- what there is to choose from -----------------------------------------------------------


def hierarchies(found: Iterable[Figures]) -> list[str]:
    """The names of the hierarchies, as they were mounted."""
    return list(dict.fromkeys(figures.hierarchy for figures in found))


def nouns(found: Iterable[Figures]) -> list[str]:
    """What is counted: tasks and files first, then what is held or limited anywhere."""
    used: dict[str, bool] = {}
    for figures in found:
        for word, held in figures.held.items():
            used[word] = used.get(word, False) or bool(held.amount) or held.limit is not None
    first = [word for word in ("tasks", "files") if word in used]
    return first + [word for word, is_used in used.items() if is_used and word not in first]


def sorts(found: Iterable[Figures]) -> list[str]:
    """What the rows can be sorted by."""
    return list(dict.fromkeys([*SORTS, *nouns(found)]))


# -- rows ---------------------------------------------------------------------------------


def arrange(found: Iterable[Figures], view: View) -> list[Row]:
    """The rows to show, in order.

    In a tree siblings are sorted among each other, and what the filter lets pass brings the
    containers above it; a list (``flat``) is sorted as a whole. By name is ascending, by a figure
    is descending.
    """
    shown = [figures for figures in found if view.hierarchy in (None, figures.hierarchy)]
    passes = _passing(view.filter)
    if view.flat:
        chosen = sorted(filter(passes, shown), key=_order(view.sort))
        return [Row(one, 0, f"{one.hierarchy}:{one.path}", False, 0) for one in chosen]
    return list(_tree(_kept(shown, passes) if view.filter else shown, view))


def _passing(words: str) -> Callable[[Figures], bool]:
    """Whether a container's place has all these words in it, in whatever case."""
    wanted = words.casefold().split()

    def passes(figures: Figures) -> bool:
        place = f"{figures.hierarchy}:{figures.path}".casefold()
        return all(word in place for word in wanted)

    return passes


def _kept(shown: Sequence[Figures], passes: Callable[[Figures], bool]) -> list[Figures]:
    """What passes, with everything above it."""
    wanted: set[Key] = set()
    for figures in reversed(shown):
        key = figures.hierarchy, figures.path
        if key in wanted or passes(figures):
            wanted |= {key, (figures.hierarchy, parent(figures.path))}
    return [figures for figures in shown if (figures.hierarchy, figures.path) in wanted]


def _tree(shown: Sequence[Figures], view: View) -> Iterator[Row]:
    """The rows of all trees, without what is folded; a filter sees through folds."""
    children: dict[Key, list[Figures]] = {}
    tops: list[Figures] = []
    for figures in shown:
        is_top = figures.path == ROOT
        above = (figures.hierarchy, parent(figures.path))
        (tops if is_top else children.setdefault(above, [])).append(figures)
    order = _order(view.sort)
    folded = frozenset() if view.filter else view.folded
    below = _sizes(shown) if folded else {}
    # A stack instead of recursion: a tree may be deeper than Python's own stack.
    stack = [(top, 0) for top in reversed(tops)]
    while stack:
        figures, depth = stack.pop()
        key = figures.hierarchy, figures.path
        inside = children.get(key, [])
        is_folded = key in folded
        name = f"{figures.hierarchy}:/" if not depth else figures.path.rpartition("/")[2]
        yield Row(figures, depth, name, bool(inside), below[key] if is_folded else 0)
        if not is_folded:
            stack += [(child, depth + 1) for child in sorted(inside, key=order, reverse=True)]


def _sizes(shown: Sequence[Figures]) -> dict[Key, int]:
    """How many containers are below each."""
    sizes: dict[Key, int] = {}
    for figures in reversed(shown):
        count = sizes.setdefault((figures.hierarchy, figures.path), 0)
        if figures.path != ROOT:
            above = figures.hierarchy, parent(figures.path)
            sizes[above] = sizes.get(above, 0) + count + 1
    return sizes


def _order(sort: str) -> Callable[[Figures], Any]:
    """A key that sorts by a figure, the largest first, and where that is the same by place."""

    def order(figures: Figures) -> tuple[Any, ...]:
        return _weight(figures, sort), figures.hierarchy, natural(figures.path)

    return order


def _weight(figures: Figures, sort: str) -> tuple[float, ...]:
    """The smaller the further up; what is not known comes last."""
    if sort == "name":
        return ()
    if sort == "cpu":
        return (-figures.cpu,) if figures.cpu is not None else (1.0,)
    if sort == "refused":
        return -(figures.all_refusals or 0.0), -figures.all_refused
    held = figures.held.get(sort)
    return (-held.amount,) if held else (1.0,)


@lru_cache(maxsize=65_536)
def natural(text: str) -> list[tuple[int, str]]:
    """A key by which ``c10`` comes after ``c9``."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
