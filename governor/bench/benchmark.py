"""One run of the benchmark, from the sections asked for to the result."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Sequence

from governor.bench import helpers, machine, statistics
from governor.bench.helpers import Programs
from governor.bench.operations import Operation
from governor.bench.result import Part, Place, Result
from governor.bench.runner import Measured, Progress, Runner, Settings
from governor.bench.sections import Offer, Section
from governor.bench.surroundings import Surrounding
from governor.errors import GovernorError


class _Run:
    """The sections one after the other, and what could not be done."""

    def __init__(self, programs: Programs, progress: Progress) -> None:
        self._programs, self._progress = programs, progress
        self.parts: dict[str, Part] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.notes: dict[str, str] = {}

    def section(self, section: Section, operations: list[Operation], settings: Settings) -> None:
        """Measure one; its surroundings are there only as long."""

        def progress(text: str) -> None:
            self._progress(f"{section.name}: {text}")

        with contextlib.ExitStack() as stack:
            found = self._open(section, stack)
            measured = Runner(operations, found, settings, progress).measure(section.spread)
            self.parts[section.name] = _part(section, measured)
            for name, reason in measured.failed.items():
                self.failed[f"{section.name} {name}"] = reason

    def _open(self, section: Section, stack: contextlib.ExitStack) -> dict[str, Surrounding]:
        """Return the surroundings that work, closed with ``stack``."""
        found: dict[str, Surrounding] = {}
        for offer in section.offers:
            self._progress(f"{section.name}: setting up {offer.name}")
            try:
                surrounding = found[offer.name] = stack.enter_context(offer.open(self._programs))
            except GovernorError as error:
                self._missing(section, offer, error.message)
                continue
            if surrounding.note:
                self.notes[offer.name] = surrounding.note
        return found

    def _missing(self, section: Section, offer: Offer, reason: str) -> None:
        """Note what cannot be had: once, when it is the same for every point of a sweep."""
        if offer.optional:
            whole = offer.series or offer.name
            if self.skipped.get(whole, reason) == reason:
                self.skipped[whole] = reason
            else:
                self.skipped[offer.name] = reason
        else:
            self.failed[f"{section.name} {offer.name}"] = reason


def run(
    wanted: Sequence[Section], only: Sequence[str], settings: Settings, progress: Progress
) -> Result:
    """Measure the operations named in ``only`` in the wanted sections.

    The sections share the time there is. Raises GovernorError when nothing can be measured at all.
    """
    before, steal = machine.describe(), machine.Steal()
    chosen = [(s, [o for o in s.operations if o.name in only]) for s in wanted]
    chosen = [(section, operations) for section, operations in chosen if operations]
    if not chosen:
        raise GovernorError(
            errno.EINVAL, "no section has any of the operations: nothing to measure"
        )
    end = time.monotonic() + settings.deadline_seconds
    with helpers.compiled_helpers() as programs:
        running = _Run(programs, progress)
        for number, (section, operations) in enumerate(chosen):
            share = (end - time.monotonic()) / (len(chosen) - number)
            running.section(section, operations, settings._replace(deadline_seconds=share))
    after = machine.describe() | {"stolen": steal.share()}
    return Result(before, after, running.parts, running.failed, running.skipped, running.notes)


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
    return Part(section.title, measured.rounds, samples, places, latencies)
