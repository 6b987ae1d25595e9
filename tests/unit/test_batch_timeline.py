"""The samples of a batch: bounded, whole, and only of what moved."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from governor.batch import timeline
from governor.batch.timeline import MOST_SAMPLES, Timeline
from governor.page.read import parse
from governor.report import Report, to_json
from governor.results import ContainerReport


def report(path: str, **files: int | str) -> ContainerReport:
    named = {name.replace("_", ".", 1): value for name, value in files.items()}
    return ContainerReport("load", path, {}, named)


def nothing() -> Sequence[ContainerReport]:
    return []


def followed() -> Timeline:
    line = Timeline()
    line.follow(nothing)
    return line


def test_nobody_who_asks_for_no_report_is_asked() -> None:
    line = Timeline()
    line.tick()
    line.add([report("/", numtasks_held=1)])
    assert line.samples() is None


def test_samples_are_of_figures_that_moved() -> None:
    line = followed()
    line.add([report("/", numtasks_held=0, numfiles_held=0, numtasks_limit=5)])
    line.add([report("/", numtasks_held=2, numfiles_held=0), report("/a", cpuacct_usage=7)])
    samples = line.samples()
    assert samples is not None
    assert samples["containers"] == [
        {"hierarchy": "load", "path": "/", "files": {"numtasks.held": [0, 2]}},
        {"hierarchy": "load", "path": "/a", "files": {"cpuacct.usage": [None, 7]}},
    ]
    assert samples["seconds"] == sorted(samples["seconds"])


def test_samples_are_bounded_and_go_on_to_the_end() -> None:
    line = followed()
    for number in range(10 * MOST_SAMPLES):
        line.add([report("/", numtasks_held=number)])
    samples = line.samples()
    assert samples is not None
    values = samples["containers"][0]["files"]["numtasks.held"]
    assert MOST_SAMPLES / 2 <= len(values) <= MOST_SAMPLES
    assert values[0] == 0
    assert values[-1] > 9 * MOST_SAMPLES
    assert values == sorted(values)


def test_samples_of_a_crowd_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_VALUES", 1000)
    line = followed()
    for number in range(100):
        line.add([report(f"/{n}", numtasks_held=number + 1) for n in range(40)])
    samples = line.samples()
    assert samples is not None
    assert len(samples["seconds"]) <= 25


def test_a_tick_takes_one_sample_at_a_time() -> None:
    line = Timeline()
    asked: list[int] = []

    def read() -> Sequence[ContainerReport]:
        asked.append(1)
        return []

    line.follow(read)
    for _ in range(3):
        line.tick()
    assert len(asked) == 1


def test_a_report_with_samples_is_read_back() -> None:
    line = followed()
    line.add([report("/", numtasks_held=1)])
    line.add([report("/", numtasks_held=2)])
    samples = line.samples()
    whole = Report(0, None, 1.0, [], {}, [], "Nightly", line.began_at, samples)
    assert parse(json.dumps(to_json(whole))).samples == samples
