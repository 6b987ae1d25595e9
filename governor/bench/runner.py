"""Taking turns: every round does every operation in every surrounding, in an order of its own."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from governor.bench.operations import Operation
from governor.bench.surroundings import Surrounding
from governor.errors import GovernorError


class Settings(NamedTuple):
    """How long to measure: rounds, seconds per sample, and seconds after which no round begins.

    The rounds are dealt out to ``lives``: for each, all surroundings are set up anew, for one may
    have luck with its place in memory or on the processors as long as it lives.
    """

    rounds: int
    sample_seconds: float
    deadline_seconds: float
    lives: int = 1


QUICK = Settings(rounds=21, sample_seconds=0.01, deadline_seconds=75.0)
FULL = Settings(rounds=60, sample_seconds=0.05, deadline_seconds=600.0, lives=6)

_MOST_SINGLE: Final = 20_000
_SINGLE_RUNS: Final = 5
_COUNTED: Final = 1_000
"""Operations that instructions are counted of, at most."""

Samples = dict[str, dict[str, list[float]]]
"""Nanoseconds per operation: operation, surrounding, one value per round."""
Instructions = dict[str, dict[str, float]]
Progress = Callable[[str], None]


class Measured(NamedTuple):
    """What was found; ``failed`` says why a surrounding is missing from ``samples``.

    ``singles`` are the nanoseconds of single operations, in no order; ``instructions`` by operation
    and surrounding how many one operation takes.
    """

    samples: Samples
    rounds: int
    failed: dict[str, str]
    singles: Samples
    instructions: Instructions


class Runner:
    """One measurement of some operations in some surroundings, by name."""

    def __init__(
        self,
        operations: Sequence[Operation],
        surroundings: Mapping[str, Surrounding],
        settings: Settings,
        progress: Progress,
    ) -> None:
        self._surroundings, self._settings, self._progress = surroundings, settings, progress
        self._able = {
            operation: [name for name in surroundings if surroundings[name].can(operation.name)]
            for operation in operations
        }
        self._failed: dict[str, str] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def measure(
        self,
        singly: Sequence[str] = (),
        counted: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> Measured:
        """Measure everything; a surrounding that fails once is left out, and told.

        At least one round is run, and no round begins after the deadline. After the rounds the
        single operations of ``singly`` are timed and, if ``counted``, instructions counted.
        """
        deadline = clock() + self._settings.deadline_seconds
        for operation, names in self._able.items():
            for name in names:
                self._progress(f"calibrating {operation.name} {name}")
                self._counts[operation.name, name] = self._calibrate(operation, name)
        samples: Samples = {
            operation.name: {name: [] for name in names} for operation, names in self._able.items()
        }
        rounds = 0
        while rounds < self._settings.rounds and (rounds == 0 or clock() < deadline):
            self._progress(f"round {rounds + 1} of {self._settings.rounds}")
            for operation, names in self._able.items():
                for name in shuffled(names, rounds):
                    count = self._counts[operation.name, name]
                    samples[operation.name][name].append(self._sample(operation, name, count))
            rounds += 1
        singles = self._singles(singly)
        instructions = self._instructions() if counted else {}
        return Measured(
            self._working(samples), rounds, self._failed, self._working(singles), instructions
        )

    def _instructions(self) -> Instructions:
        """Count once in every surrounding: instructions vary less than a time does."""
        found: Instructions = {}
        for operation, names in self._able.items():
            for name in names:
                self._progress(f"counting instructions: {operation.name} {name}")
                count = min(self._counts[operation.name, name], _COUNTED)
                # A tracer or a kernel may refuse the counter here only: that is no failure.
                with contextlib.suppress(GovernorError, OSError):
                    told = self._surroundings[name].tell("instructions", operation.name, count)
                    found.setdefault(operation.name, {})[name] = told[0]
        return found

    def _singles(self, singly: Sequence[str]) -> Samples:
        """Time single operations, again in turns."""
        wanted = {o.name: names for o, names in self._able.items() if o.name in singly}
        found: Samples = {name: {other: [] for other in names} for name, names in wanted.items()}
        for turn in range(min(_SINGLE_RUNS, self._settings.rounds)):
            for operation, names in wanted.items():
                for name in shuffled(names, turn):
                    self._progress(f"single operations: {operation} {name}")
                    count = min(self._counts[operation, name], _MOST_SINGLE)
                    self._attempt(
                        name,
                        lambda n=name, o=operation, c=count: found[o][n].extend(  # type: ignore[misc]
                            self._surroundings[n].tell("each", o, c)
                        ),
                    )
        return found

    def _calibrate(self, operation: Operation, name: str) -> int:
        """Return how many operations fill a sample's time, at least as many as the probe did."""
        nanoseconds = self._sample(operation, name, operation.probe)
        wanted = int(self._settings.sample_seconds * 1e9 / max(nanoseconds, 1.0))
        return max(operation.probe, wanted)

    def _sample(self, operation: Operation, name: str, count: int) -> float:
        """Return one sample, or 0.0 of a surrounding that fails or has failed."""
        taken = 0.0

        def run() -> None:
            nonlocal taken
            taken = self._surroundings[name].run(operation.name, count)

        self._attempt(name, run)
        return taken

    def _attempt(self, name: str, act: Callable[[], None]) -> None:
        """Do something in a surrounding unless it has failed; note when it does now."""
        if name in self._failed:
            return
        try:
            act()
        except (GovernorError, OSError) as error:
            self._failed[name] = str(error)

    def _working(self, samples: Samples) -> Samples:
        """Return the samples without the rows of what failed."""
        return {
            operation: {name: row[name] for name in row if name not in self._failed}
            for operation, row in samples.items()
        }


def joined(lives: Sequence[Measured]) -> Measured:
    """Return several measurements of the same as one; what failed once is left out of all."""
    failed = {name: reason for life in lives for name, reason in life.failed.items()}
    samples = {
        operation: {
            name: [value for life in lives for value in life.samples[operation][name]]
            for name in row
            if all(name in life.samples[operation] for life in lives)
        }
        for operation, row in lives[0].samples.items()
    }
    rounds = sum(life.rounds for life in lives)
    return lives[0]._replace(samples=samples, rounds=rounds, failed=failed)


def shuffled(names: Sequence[str], turn: int) -> list[str]:
    """Return the names in the order of a turn, always the same one for the same turn.

    None is always first, and none comes always after the same other: what one leaves behind (a
    warm cache, a processor that is awake) would be a part of the next one's figures.
    """
    return random.Random(turn).sample(names, len(names))
