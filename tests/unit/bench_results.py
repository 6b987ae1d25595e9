"""Results of a benchmark that never ran."""

from __future__ import annotations

from governor.bench import machine, statistics
from governor.bench.result import Part, Place, Result

POINTS = (1, 16)


def spread_around(centre: float, count: int = 21) -> list[float]:
    """Samples in no order, half a percent apart, whose median is ``centre``."""
    half = count // 2
    return [centre * (1 + ((i * 8) % count - half) * 0.005) for i in range(count)]


def row(times: dict[str, float], unit: float) -> dict[str, list[float]]:
    """Samples of several surroundings that differ by the given factors."""
    return {name: spread_around(unit * factor) for name, factor in times.items()}


def sample_result(governed: float = 4.0, machine_factor: float = 1.0) -> Result:
    """A run in which governor meets every target but those of start-up and of a supervisor.

    ``governed`` is what it costs in times of ungoverned, ``machine_factor`` how slow all is.
    """
    unit = 1000.0 * machine_factor
    calls = row({"ungoverned": 1.0, "floor": 3.0, "governed": governed}, unit)
    spawn = row(
        {"ungoverned": 1.0, "python3 -c pass": 10.0, "governor run": 80.0}, 1e6 * machine_factor
    )
    sweep = {"ungoverned": 1.0} | {
        f"{series} hierarchies={point}": factor + point / 1000
        for series, factor in (("governed", governed), ("cgroup-v1", 1.1))
        for point in POINTS
    }
    places = {
        name: Place(name.split()[0], int(name.rpartition("=")[2])) for name in sweep if "=" in name
    }
    latencies = {"open": {name: statistics.quantiles(values) for name, values in calls.items()}}
    facts = machine.describe()
    return Result(
        facts,
        facts | {"stolen": 0.25},
        {
            "calls": Part("what a job does", 21, {"open": calls}, {}, latencies),
            "spawn": Part("start of jobs", 21, {"spawn": spawn}, {}, {}),
            "hierarchies": Part(
                "number of hierarchies", 21, {"open": row(sweep, unit)}, places, {}
            ),
        },
        {},
        {"cgroup-v1": "not mounted"},
        {"cgroup-v2": "without the pids controller"},
        {"supervisor, containers": spread_around(70e6), "container": spread_around(1.5e3)},
    )
