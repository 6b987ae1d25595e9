"""Figures of a result, as SVG and PNG: one for every sweep, and one of the latencies.

Lines differ in dashes, markers and shades of grey, never in colour alone, so that a print in black
and white says as much. Only this module needs matplotlib, which the extra ``figures`` installs.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from governor.bench import lookup, statistics
from governor.bench.offers import Point
from governor.bench.operations import title
from governor.bench.result import Part, Result
from governor.bench.statistics import SHARES, Estimate
from governor.bench.surroundings import CGROUP_V1, GOVERNED, UNGOVERNED
from governor.bench.sweeps import TWO_AGENTS
from governor.errors import GovernorError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES: Final = 3.6
"""Width and height of one panel."""
_MICROSECOND: Final = 1e3
_ASIDE: Final = 0.06
"""Of the distance between two values of a sweep."""
_KEPT: Final = ("svg", "png")


class _Pen(NamedTuple):
    """How a line is drawn: grey level from 0 (black), dashes, marker."""

    shade: str
    dashes: str
    marker: str


PENS: Final = {
    UNGOVERNED: _Pen("0.55", ":", ""),
    "floor": _Pen("0.0", ":", "v"),
    "ptrace": _Pen("0.35", "--", "s"),
    "strace -f": _Pen("0.55", "-.", "D"),
    GOVERNED: _Pen("0.0", "-", "o"),
    CGROUP_V1: _Pen("0.35", "--", "^"),
    "cgroup-v2": _Pen("0.6", "-", "x"),
    TWO_AGENTS: _Pen("0.0", "-.", "d"),
    lookup.NAME: _Pen("0.0", "-", "s"),
}
"""By the name of a surrounding, or of a series of them."""


def prepare(directory: str) -> None:
    """Make the directory and look whether figures can be drawn and written there.

    Raises GovernorError: ENOENT without matplotlib, or what the directory is refused with.
    """
    try:
        import matplotlib as _  # noqa: F401  only whether it is there
    except ImportError:
        reason = "figures need matplotlib: pip install 'governor[figures]'"
        raise GovernorError(errno.ENOENT, reason) from None
    try:
        os.makedirs(directory, exist_ok=True)
        # Rights alone do not tell: root has all of them in /proc, too.
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        reason = f"cannot write figures into {directory}: {error.strerror}"
        raise GovernorError(error.errno or 0, reason) from error


def draw(result: Result, directory: str) -> list[Path]:
    """Write the figures that the result has something for; return the files.

    Raises GovernorError when one cannot be written.
    """
    import matplotlib

    written = []
    # The same result gives the same file, without the shape of every letter in it.
    with matplotlib.rc_context({"svg.hashsalt": "governor", "svg.fonttype": "none"}):
        for name, figure in _figures(result):
            for kind in _KEPT:
                path = Path(directory, f"{name}.{kind}")
                metadata = {"Date": None} if kind == "svg" else None
                try:
                    figure.savefig(path, dpi=150, metadata=metadata)
                except OSError as error:
                    reason = f"cannot write {path}: {error.strerror}"
                    raise GovernorError(error.errno or 0, reason) from error
                written.append(path)
    return written


def _figures(result: Result) -> Iterator[tuple[str, Figure]]:
    """Give every figure by the name of its file."""
    for name, part in result.parts.items():
        if part.places and part.samples:
            yield name, _sweep(part)
        if any(part.latencies.values()):
            yield "latency", _latency(part)


def _panels(titles: list[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each operation, side by side, and room for a legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES * len(titles), _INCHES + 0.6), layout="constrained")
    panels = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for panel, heading in zip(panels, titles, strict=True):
        panel.set_title(heading, fontsize="medium")
        panel.grid(visible=True, color="0.88", linewidth=0.6)
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure, panels


def _sweep(part: Part) -> Figure:
    """Return cost against the values of a dimension, one panel for each operation."""
    figure, panels = _panels([title(operation) for operation in part.samples])
    points = list(dict.fromkeys(place.point for place in part.places.values()))
    all_series = list(dict.fromkeys(place.series for place in part.places.values()))
    for panel, row in zip(panels, part.samples.values(), strict=True):
        _draw_base(panel, row, part)
        for number, series in enumerate(all_series):
            # Beside each other, so that no interval hides another.
            aside = _ASIDE * (number - (len(all_series) - 1) / 2)
            _draw_series(panel, series, aside, _estimates(series, points, row, part))
        # The values are far apart, and may be words: evenly spaced, as on a logarithmic axis.
        panel.set_xticks(
            range(len(points)),
            [f"{point:,}" if isinstance(point, int) else point for point in points],
        )
        panel.set_xlabel(part.title)
        panel.set_ylim(bottom=0)
    panels[0].set_ylabel("microseconds per operation")
    _legend(figure, panels, f"median and 95 % interval of {part.rounds} rounds")
    return figure


def _draw_base(panel: Axes, row: dict[str, list[float]], part: Part) -> None:
    """Draw what has no place in the sweep as a level line."""
    for name, values in row.items():
        if name not in part.places:
            pen = PENS[name]
            level = statistics.median(values) / _MICROSECOND
            panel.axhline(level, color=pen.shade, linestyle=pen.dashes, label=name)


def _estimates(
    series: str, points: list[Point], row: dict[str, list[float]], part: Part
) -> dict[int, Estimate]:
    """Return what was found of a series, by the places of its values on the axis."""
    return {
        points.index(place.point): statistics.estimate(row[name])
        for name, place in part.places.items()
        if place.series == series and name in row
    }


def _draw_series(panel: Axes, series: str, aside: float, found: dict[int, Estimate]) -> None:
    if not found:
        return
    pen = PENS[series]
    values = [estimate.value / _MICROSECOND for estimate in found.values()]
    ends = [_ends(estimate) for estimate in found.values()]
    panel.errorbar(
        [at + aside for at in found],
        values,
        yerr=[[low for low, _ in ends], [high for _, high in ends]],
        label=series,
        color=pen.shade,
        linestyle=pen.dashes,
        marker=pen.marker,
        markersize=5,
        capsize=3,
    )


def _ends(found: Estimate) -> tuple[float, float]:
    """Return how far the interval reaches below and above, in microseconds; nothing without one."""
    if not found.conclusive:
        return 0.0, 0.0
    return (found.value - found.low) / _MICROSECOND, (found.high - found.value) / _MICROSECOND


def _latency(part: Part) -> Figure:
    """Return the share of single operations that took longer, against the time."""
    shown = {name: row for name, row in part.latencies.items() if row}
    figure, panels = _panels([title(operation) for operation in shown])
    for panel, row in zip(panels, shown.values(), strict=True):
        for name, quantiles in row.items():
            pen = PENS[name]
            slower = [(time, 1 - share) for time, share in zip(quantiles, SHARES, strict=True)]
            # Of the slowest one only that it was: it is no share of so few.
            kept = [(time / _MICROSECOND, share) for time, share in slower if time < quantiles[-1]]
            panel.plot(
                [time for time, _ in kept],
                [share for _, share in kept],
                label=name,
                color=pen.shade,
                linestyle=pen.dashes,
                marker=pen.marker,
                markersize=4,
                markevery=(5, 18),
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("microseconds")
    panels[0].set_ylabel("share that took longer")
    _legend(figure, panels, "single operations")
    return figure


def _legend(figure: Figure, panels: list[Axes], what: str) -> None:
    """Put the names below all panels, with what is shown."""
    handles, labels = panels[0].get_legend_handles_labels()
    columns = min(len(labels), 2 * len(panels))
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        title=what,
        title_fontsize="small",
        handlelength=3.5,
    )
