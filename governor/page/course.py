"""The course of a figure over time: a small chart with its scale, its peak and its limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from governor.page.element import Element, element
from governor.summary import noun, number
from governor.units import format_duration

WIDTH: Final = 600.0
HEIGHT: Final = 100.0
"""The drawing's own units; it is stretched to the room there is."""

_BILLION: Final = 1e9
_LIMIT_NEAR: Final = 3.0
"""A limit is drawn when it is at most so many times the peak; a line far above squeezes all."""

Values = Sequence[float | None]


class Course(NamedTuple):
    """What is drawn: ``title`` with its ``unit``, a value for every moment, marks at refusals.

    ``is_mean``: a value is that of the time since the moment before, not of the time after it.
    """

    title: str
    unit: str
    values: Values
    limit: int | None = None
    refused: int = 0
    marks: Sequence[int] = ()
    is_mean: bool = False

    @property
    def peak(self) -> float:
        """The largest value."""
        return max((value for value in self.values if value is not None), default=0.0)


def courses(
    seconds: Sequence[float], files: dict[str, Sequence[int | None]], final: dict[str, int | str]
) -> Iterator[Course]:
    """What there is to draw of a container: CPU time, then every resource that was held."""
    for name, used in files.items():
        if name.endswith(".usage"):
            yield Course("CPU", "%", percentages(seconds, used), is_mean=True)
    for name in dict.fromkeys(file.rpartition(".")[0] for file in files):
        held = files.get(f"{name}.held")
        failcnt = files.get(f"{name}.failcnt", [])
        if held is None and not failcnt:
            continue
        limit = final.get(f"{name}.limit")
        refused = final.get(f"{name}.failcnt")
        yield Course(
            noun(name),
            "",
            held or [0] * len(seconds),
            limit if isinstance(limit, int) else None,
            refused if isinstance(refused, int) else 0,
            rises(failcnt),
        )


def percentages(seconds: Sequence[float], used: Sequence[int | None]) -> list[float | None]:
    """CPU time as percent of one CPU since the moment before; the first is not known."""
    found: list[float | None] = [None] * len(seconds)
    for index in range(1, len(seconds)):
        before, now = used[index - 1], used[index]
        passed = seconds[index] - seconds[index - 1]
        if before is not None and now is not None and passed > 0:
            found[index] = max(0.0, (now - before) / _BILLION / passed * 100)
    return found


def rises(counts: Sequence[int | None]) -> list[int]:
    """Where a count is larger than the one before."""
    return [
        index
        for index in range(len(counts))
        if (counts[index] or 0) > ((counts[index - 1] or 0) if index else 0)
    ]


def chart(course: Course, seconds: Sequence[float], whole: float) -> Element:
    """A figure of one course over ``whole`` seconds."""
    top = ceiling(course)
    drawing = element(
        "svg",
        *_drawn(course, seconds, whole, top),
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{course.title}: {_caption(course)}",
    )
    return element(
        "figure",
        element(
            "figcaption",
            element("b", course.title),
            " ",
            element("span", _caption(course), class_="muted"),
        ),
        element(
            "div",
            element("span", _figure(top, course.unit), class_="top"),
            element("span", "0", class_="zero"),
            drawing,
            class_="plot",
        ),
        element(
            "div",
            element("span", "0 s"),
            element("span", format_duration(whole)),
            class_="time",
        ),
    )


def ceiling(course: Course) -> float:
    """The upper end of the scale: round, not below the peak, nor a limit that is near."""
    most = course.peak
    if course.limit is not None and course.limit <= most * _LIMIT_NEAR:
        most = max(most, course.limit)
    return rounded_up(most)


def rounded_up(value: float) -> float:
    """The next round number, at least 1: 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 30, 40, ..."""
    if value <= 1:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1)
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if power > 1 else (2, 3, 4, 5, 6, 8, 10)
    return next(step * power for step in steps if step * power >= value)


def _caption(course: Course) -> str:
    parts = [f"peak {_figure(course.peak, course.unit)}"]
    if course.limit is not None:
        parts.append(f"limit {number(course.limit)}")
    if course.refused:
        parts.append(f"refused {number(course.refused)}")
    return ", ".join(parts)


def _figure(value: float, unit: str) -> str:
    return f"{number(round(value))}{unit and f' {unit}'}"


def _drawn(course: Course, seconds: Sequence[float], whole: float, top: float) -> Iterator[Element]:
    """Area and line, piece by piece where values are missing; then the limit, then refusals."""
    for piece in pieces(course, seconds, whole, top):
        first, last = piece[0][0], piece[-1][0]
        path = "L".join(f"{x:.1f},{y:.1f}" for x, y in piece)
        yield element("path", d=f"M{first:.1f},{HEIGHT}L{path}L{last:.1f},{HEIGHT}Z", class_="area")
        yield element("path", d=f"M{path}", class_="line")
    if course.limit is not None and course.limit <= top:
        y = _y(course.limit, top)
        yield element("path", d=f"M0,{y:.1f}H{WIDTH:.0f}", class_="limit")
    for index in course.marks:
        x = _x(seconds[index], whole)
        yield element("path", d=f"M{x:.1f},0V10", class_="refused")


def pieces(
    course: Course, seconds: Sequence[float], whole: float, top: float
) -> Iterator[list[tuple[float, float]]]:
    """The corners of a line of steps, in pieces without a gap."""
    piece: list[tuple[float, float]] = []
    before = 0.0
    for moment, value in zip(seconds, course.values, strict=True):
        if value is None:
            if piece:
                yield piece
            piece = []
        else:
            x, y = _x(moment, whole), _y(value, top)
            if course.is_mean:
                piece.append((_x(before, whole), y))
            elif piece:
                piece.append((x, piece[-1][1]))
            piece.append((x, y))
        before = moment
    if piece:
        yield piece


def _x(moment: float, whole: float) -> float:
    return min(1.0, moment / whole) * WIDTH if whole > 0 else 0.0


def _y(value: float, top: float) -> float:
    return HEIGHT * (1 - min(1.0, max(0.0, value / top)))
