"""One run of the benchmark, from the variants the host has to the result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from governor.bench import governed, helpers, machine, runner, startup, variants
from governor.bench.operations import OPERATIONS, STARTUP
from governor.bench.report import Result
from governor.bench.runner import Progress, Settings
from governor.bench.variants import CGROUP_V1, UNGOVERNED, CommandVariant, Variant
from governor.errors import GovernorError

HIERARCHIES = (1, 4, 8)


def run(only: Sequence[str], settings: Settings, progress: Progress) -> Result:
    """Measure the operations named in ``only``.

    Raises GovernorError when nothing can be measured at all.
    """
    before = machine.describe()
    samples: dict[str, dict[str, list[float]]] = {}
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    rounds = settings.rounds
    operations = [operation for operation in OPERATIONS if operation.name in only]
    if operations:
        with contextlib.ExitStack() as stack:
            found = _open_variants(stack, failed, skipped)
            measured = runner.measure(operations, found, settings, progress)
        samples, rounds = measured.samples, measured.rounds
        failed |= measured.failed
    if STARTUP in only:
        try:
            samples[STARTUP] = startup.measure(rounds, progress)
        except GovernorError as error:
            failed[startup.GOVERNED] = str(error)
    return Result(before, machine.describe(), rounds, samples, failed, skipped)


def _open_variants(
    stack: contextlib.ExitStack, failed: dict[str, str], skipped: dict[str, str]
) -> list[Variant]:
    """Return the variants that work, to be closed with ``stack``.

    Those that do not are failed, or skipped where a host may well be without them.
    """
    programs = stack.enter_context(helpers.compiled_helpers())
    loop = programs.loop
    opened: list[Variant] = [CommandVariant(UNGOVERNED, [loop])]

    def attempt(name: str, make: Callable[[], Variant], reasons: dict[str, str]) -> None:
        try:
            opened.append(make())
        except GovernorError as error:
            reasons[name] = str(error)

    attempt(variants.FLOOR, lambda: variants.floor_variant(programs.floor, loop), failed)
    for number in HIERARCHIES:
        context = governed.governed_variant(number, loop)
        attempt(variants.governed(number), lambda c=context: stack.enter_context(c), failed)  # type: ignore[misc]
    attempt(CGROUP_V1, lambda: stack.enter_context(variants.cgroup_v1_variant(loop)), skipped)
    return opened
