"""Taking turns: every round runs every operation in every variant, in an order that rotates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from governor.bench.operations import Operation
from governor.bench.variants import Variant
from governor.errors import GovernorError


class Settings(NamedTuple):
    """How long to measure: rounds, seconds per sample, and seconds after which no round begins."""

    rounds: int
    sample_seconds: float
    deadline_seconds: float


QUICK = Settings(rounds=21, sample_seconds=0.03, deadline_seconds=40.0)
FULL = Settings(rounds=60, sample_seconds=0.05, deadline_seconds=600.0)


class Measured(NamedTuple):
    """Nanoseconds per operation in ``samples[operation][variant]``, one value per round.

    ``failed`` says why a variant is missing from ``samples``.
    """

    samples: dict[str, dict[str, list[float]]]
    rounds: int
    failed: dict[str, str]


Progress = Callable[[str], None]


def measure(
    operations: Sequence[Operation],
    variants: Sequence[Variant],
    settings: Settings,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Measure all ``operations`` in all ``variants``; one that fails once is left out, and told.

    At least one round is run, and no round begins after the deadline.
    """
    failed: dict[str, str] = {}
    deadline = clock() + settings.deadline_seconds
    counts: dict[tuple[str, str], int] = {}
    for operation in operations:
        for variant in variants:
            progress(f"calibrating {operation.name} {variant.name}")
            counts[operation.name, variant.name] = _calibrate(operation, variant, settings, failed)

    samples: dict[str, dict[str, list[float]]] = {
        operation.name: {variant.name: [] for variant in variants} for operation in operations
    }
    rounds = 0
    while rounds < settings.rounds and (rounds == 0 or clock() < deadline):
        progress(f"round {rounds + 1} of {settings.rounds}")
        for operation in operations:
            for variant in rotated(variants, rounds):
                count = counts[operation.name, variant.name]
                sample = _sample(operation, variant, count, failed)
                samples[operation.name][variant.name].append(sample)
        rounds += 1
    for row in samples.values():
        for name in failed:
            del row[name]
    return Measured(samples, rounds, failed)


def rotated(variants: Sequence[Variant], turn: int) -> list[Variant]:
    """Return the variants beginning with another one in each turn, so that none is always first."""
    start = turn % len(variants) if variants else 0
    return [*variants[start:], *variants[:start]]


def _calibrate(
    operation: Operation, variant: Variant, settings: Settings, failed: dict[str, str]
) -> int:
    """Return how many operations fill a sample's time, at least as many as the probe did."""
    nanoseconds = _sample(operation, variant, operation.probe, failed)
    return max(operation.probe, int(settings.sample_seconds * 1e9 / max(nanoseconds, 1.0)))


def _sample(operation: Operation, variant: Variant, count: int, failed: dict[str, str]) -> float:
    """Return one sample, or 0.0 when the variant fails or has failed: its row is dropped then."""
    if variant.name in failed:
        return 0.0
    try:
        return variant.run(operation.name, count)
    except GovernorError as error:
        failed[variant.name] = str(error)
        return 0.0
