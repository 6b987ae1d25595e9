"""What governor tells of itself: build, agents, hierarchies, ends. Few series, all made anew."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import Metric as Family

from governor import __version__
from governor.metrics.calls import name_of
from governor.metrics.numbers import written
from governor.wire.agent import LATENCY_BOUNDS

_WAYS: Final = ("short", "closely")


def families(answer: dict[str, Any]) -> Iterator[Family]:
    """All of it, from an answer to `governor.wire.client.Scrape`.

    Its ``state`` is what `governor.api.Governor.state` gives.
    """
    build = InfoMetricFamily("governor_build", "Always 1, with the version of governor.")
    build.add_metric([], {"version": __version__})
    yield build
    yield from _agent(answer)
    yield from _hierarchies(answer["hierarchies"])
    ended = CounterMetricFamily(
        "governor_jobs_ended",
        "Jobs that have ended, with exit code 0 (success) or another one (failure).",
        labels=("outcome",),
    )
    for outcome, times in zip(("success", "failure"), answer["ended"], strict=True):
        ended.add_metric([outcome], times)
    yield ended


def _agent(answer: dict[str, Any]) -> Iterator[Family]:
    calls, answers, recounts, recounting = answer["work"]
    yield CounterMetricFamily(
        "governor_agent_restarts",
        "How often the process that enforces was replaced: it had died or did not answer.",
        answer["restarts"],
    )
    yield CounterMetricFamily(
        "governor_spawner_restarts",
        "How often the process that starts and reaps jobs was replaced.",
        answer["spawner_restarts"],
    )
    path, failure = answer["state"]
    if path:
        yield GaugeMetricFamily(
            "governor_recording",
            "1 while everything is recorded in the state directory, 0 while it cannot be.",
            float(not failure),
        )
    traps = CounterMetricFamily(
        "governor_agent_traps", "System calls that were trapped, by name.", labels=("syscall",)
    )
    for name, times in sorted((name_of(nr), times) for nr, times in calls):
        traps.add_metric([name], times)
    yield traps
    yield _latency(answers)
    yield CounterMetricFamily(
        "governor_agent_recounts", "How often counters were counted from the kernel.", recounts
    )
    yield CounterMetricFamily(
        "governor_agent_recount_seconds",
        "Time it took to count from the kernel.",
        recounting / 1e9,
        unit="seconds",
    )


def _latency(answers: list[list[int]]) -> Family:
    latency = HistogramMetricFamily(
        "governor_agent_answer_seconds",
        "From the receipt of a trapped call to its answer; those of the short way are a sample.",
        labels=("way",),
        unit="seconds",
    )
    bounds = [*(written(bound / 1e9) for bound in LATENCY_BOUNDS), "+Inf"]
    for way, (ns, *counts) in zip(_WAYS, answers, strict=True):
        buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
        latency.add_metric([way], buckets, ns / 1e9)
    return latency


def _hierarchies(rows: list[list[Any]]) -> Iterator[Family]:
    labels = ("hierarchy",)
    containers = GaugeMetricFamily(
        "governor_hierarchy_containers", "Containers of the hierarchy, the root included.",
        labels=labels,
    )  # fmt: skip
    groups = GaugeMetricFamily(
        "governor_hierarchy_groups",
        "Combinations of containers, one of them of the hierarchy, that processes are or were in.",
        labels=labels,
    )
    for name, so_many, grouped in rows:
        containers.add_metric([name], so_many)
        groups.add_metric([name], grouped)
    yield containers
    yield groups
