"""One run of the benchmark, from the sections asked for to the result."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from governor.bench import footprint, helpers, machine, remains, statistics, surroundings
from governor.bench.footprint import Memory
from governor.bench.helpers import Programs
from governor.bench.offers import Offer
from governor.bench.operations import Operation
from governor.bench.result import Part, Place, Result
from governor.bench.runner import Measured, Progress, Runner, Settings, joined
from governor.bench.section import Section
from governor.bench.surroundings import Surrounding
from governor.errors import GovernorError


class Wanted(NamedTuple):
    """The operations named in ``only`` of some sections, and the memory of so many containers.

    With no containers nothing is weighed.
    """

    sections: Sequence[Section]
    only: Collection[str]
    containers: int = 0


class _Run:
    """The sections one after the other, and what could not be done."""

    def __init__(self, programs: Programs, progress: Progress, counted: bool) -> None:
        self._programs, self._show, self._counted = programs, progress, counted
        self.place = ""
        """Where in the whole run this is, for the progress."""
        self._turn = ""
        self.parts: dict[str, Part] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.memory: Memory = {}

    def _progress(self, text: str) -> None:
        self._show(f"{self.place}{self._turn}{text}")

    def section(self, section: Section, operations: list[Operation], settings: Settings) -> None:
        """Measure one, in as many lives as are wanted and there is time for."""
        try:
            if section.check is not None:
                section.check()
        except GovernorError as error:
            self.skipped[section.name] = error.message
            return
        lives = min(settings.lives, settings.rounds) if section.renewed else 1
        end = time.monotonic() + settings.deadline_seconds
        measured: list[Measured] = []
        for life in range(lives):
            left = (end - time.monotonic()) / (lives - life)
            if measured and left <= 0:
                break
            self._turn = f"set-up {life + 1} of {lives}, " if lives > 1 else ""
            share = settings._replace(rounds=-(-settings.rounds // lives), deadline_seconds=left)
            measured.append(self._live(section, operations, share, first=not measured))
        found = joined(measured)
        self.parts[section.name] = _part(section, found)
        for name, reason in found.failed.items():
            self.failed[f"{section.name} {name}"] = reason

    def _live(
        self, section: Section, operations: list[Operation], settings: Settings, first: bool
    ) -> Measured:
        """Set up and measure once; what is measured once only is measured the first time."""
        begun = time.monotonic()
        with contextlib.ExitStack() as places, contextlib.ExitStack() as farewells:
            found = self._open(section, places, farewells)
            left = settings.deadline_seconds - (time.monotonic() - begun)
            rest = settings._replace(deadline_seconds=left)
            runner = Runner(operations, found, rest, self._progress)
            counted = section.counted and self._counted
            return runner.measure(section.spread if first else (), counted and first)

    def weigh(self, containers: int) -> None:
        """Find out what a governor has in memory."""
        try:
            self.memory = footprint.measure(self._programs, containers, self._progress)
        except GovernorError as error:
            self.failed["memory"] = error.message

    def _open(
        self, section: Section, places: contextlib.ExitStack, farewells: contextlib.ExitStack
    ) -> dict[str, Surrounding]:
        """Return the surroundings that work, closed with ``places``.

        ``farewells``, which has to be closed before, tells all of them, so that they end at once:
        who ends a benchmark does not wait for one after the other.
        """
        found: dict[str, Surrounding] = {}
        for offer in section.offers:
            self._progress(f"setting up {offer.name}")
            try:
                surrounding = found[offer.name] = places.enter_context(offer.open(self._programs))
            except GovernorError as error:
                self._missing(section, offer, error)
                continue
            farewells.callback(surrounding.leave)
            if surrounding.note:
                self.notes[offer.name] = surrounding.note
        return found

    def _missing(self, section: Section, offer: Offer, error: GovernorError) -> None:
        """Note what cannot be had: once, when it is the same for every point of a sweep.

        A host need not have the room that `offers` asks for [EAGAIN].
        """
        reason = error.message
        if offer.optional or error.errno == errno.EAGAIN:
            whole = offer.series or offer.name
            if self.skipped.get(whole, reason) == reason:
                self.skipped[whole] = reason
            else:
                self.skipped[offer.name] = reason
        else:
            self.failed[f"{section.name} {offer.name}"] = reason


def run(wanted: Wanted, settings: Settings, progress: Progress) -> Result:
    """Measure what is wanted.

    The sections share the time there is by their weights. Raises GovernorError when nothing can be
    measured at all.
    """
    before, steal = machine.describe(), machine.Steal()
    chosen = _chosen(wanted)
    if not chosen and not wanted.containers:
        raise GovernorError(
            errno.EINVAL, "no section has any of the operations: nothing to measure"
        )
    end = time.monotonic() + settings.deadline_seconds
    with remains.removed(), helpers.compiled_helpers() as programs:
        before["instructions"] = _refusal_to_count(programs) or "counted"
        running = _Run(programs, progress, before["instructions"] == "counted")
        if wanted.containers:
            running.weigh(wanted.containers)
        for number, (section, operations) in enumerate(chosen):
            running.place = f"{number + 1}/{len(chosen)} {section.name}: "
            weights = sum(other.weight for other, _ in chosen[number:])
            share = (end - time.monotonic()) * section.weight / weights
            running.section(section, operations, settings._replace(deadline_seconds=share))
    after = machine.describe() | {"stolen": steal.share()}
    return Result(
        before,
        after,
        running.parts,
        running.failed,
        running.skipped,
        running.notes,
        running.memory,
    )


def _chosen(wanted: Wanted) -> list[tuple[Section, list[Operation]]]:
    """Return the sections that have something to measure, with it."""
    found = [(s, [o for o in s.operations if o.name in wanted.only]) for s in wanted.sections]
    return [(section, operations) for section, operations in found if operations]


def _refusal_to_count(programs: Programs) -> str | None:
    """Return why this host counts no instructions, None when it does (perf_event_open(2))."""
    try:
        surroundings.ungoverned(programs).tell("instructions", "getppid", 1)
    except GovernorError as error:
        return error.message.rpartition("loop: ")[2]
    return None


def _part(section: Section, measured: Measured) -> Part:
    """Return the section's result: rows that nothing was measured in are left out."""
    places = {
        offer.name: Place(offer.series, offer.point)
        for offer in section.offers
        if offer.point is not None
    }
    latencies = {
        operation: {name: statistics.quantiles(values) for name, values in row.items()}
        for operation, row in measured.singles.items()
    }
    samples = {operation: row for operation, row in measured.samples.items() if row}
    return Part(section.title, measured.rounds, samples, places, latencies, measured.instructions)
