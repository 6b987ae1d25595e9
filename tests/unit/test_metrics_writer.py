"""Our own writer of columns against prometheus_client's, byte by byte."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from governor import registry
from governor.metrics import own
from governor.metrics.exposition import Format, chosen, gzipped, plain
from governor.metrics.model import Model

ACCEPTS = [
    "",
    "text/plain; version=1.0.0; escaping=allow-utf-8",
    "application/openmetrics-text; version=1.0.0",
    "application/openmetrics-text; version=1.0.0; escaping=values",
]
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**64),
    st.just("max"),
    st.just("0-3,5"),
    st.just("99"),
    st.just("no number"),
)
OWN = {"spawner_restarts": 0, "ended": [0, 0], "state": ("", "")}
COUNTS = st.integers(0, 2**40).map(lambda n: [n * place for place in range(15)])
LEVEL_COLUMN = st.integers(0, 2)
FILES = {
    "numtasks": ["numtasks.held", "numtasks.limit", "numtasks.failcnt"],
    "cpuacct": ["cpuacct.usage", "cpuacct.load", "cpuacct.stat"],
    "cpuset": ["cpuset.cpus", "cpuset.cpu_exclusive"],
    "unknown": ["unknown.this", "unknown.th-is", "unknown.that"],
}


class Everything(Collector):
    """All that is exported as prometheus_client would have it: families with samples."""

    def __init__(self, answer: dict[str, Any], model: Model) -> None:
        self._answer = answer
        self._model = model

    def collect(self) -> Iterator[Metric]:
        """What governor tells of itself first, then control files and jobs."""
        yield from own.families(self._answer)
        for family, columns in self._model.families():
            head = family.head()
            for column in columns:
                for labels, number in column.samples():
                    head.add_sample(family.sample, labels, number)
            yield head


@st.composite
def blocks(draw: st.DrawFn, hierarchy: str, version: int) -> list[Any]:
    paths = draw(st.lists(NAMES.map("/{}".format), min_size=1, max_size=4, unique=True))
    subsystems = draw(st.lists(st.sampled_from(sorted(FILES)), unique=True))
    size = len(paths)
    files = {
        file: draw(st.lists(VALUES, min_size=draw(st.integers(0, size)), max_size=size))
        for subsystem in subsystems
        for file in FILES[subsystem]
    }
    levels = {s: draw(st.lists(LEVEL_COLUMN, min_size=size, max_size=size)) for s in subsystems}
    return [hierarchy, version, paths, files, levels]


@st.composite
def answers(draw: st.DrawFn, version: int) -> dict[str, Any]:
    states = st.sampled_from(["starting", "running", "ended"])
    places = st.lists(st.tuples(st.just("load"), NAMES), max_size=2, unique=True)
    job = st.tuples(NAMES, states, st.floats(0, 1e9), st.none() | st.integers(0, 255), places)
    return {
        "blocks": [
            draw(blocks("load", version)),
            draw(blocks('a "b"', version + 1)),
            *draw(st.lists(blocks("load", 0), max_size=1)),
        ],
        "hierarchies": [["load", draw(st.integers(0, 10**9)), 2]],
        "jobs": [[id, *row] for id, row in enumerate(draw(st.lists(job, max_size=3)))],
        "work": [[[257, draw(st.integers(1, 10**12))]], [draw(COUNTS), draw(COUNTS)], 7, 9],
        "ended": draw(st.tuples(st.integers(0, 10**9), st.integers(0, 9))),
        "restarts": draw(st.integers(0, 9)),
        "spawner_restarts": draw(st.integers(0, 9)),
        "state": draw(st.sampled_from([("", ""), ("/s", ""), ("/s", "no room")])),
    }


def expected(accept: str, answer: dict[str, Any], model: Model) -> bytes:
    everything = CollectorRegistry(auto_describe=False)
    everything.register(Everything(answer, model))
    return chosen(accept)[0](everything)


@settings(deadline=None, max_examples=60)
@given(st.tuples(answers(1), answers(3)), st.sampled_from(ACCEPTS))
def test_the_bytes_are_those_of_prometheus_client(
    scrapes: tuple[dict[str, Any], ...], accept: str
) -> None:
    model, made = Model(), Format(*chosen(accept))
    for answer in scrapes:
        model.update(answer)
        pieces = made.pieces(answer, model)
        body = b"".join(plain(pieces))
        assert body == expected(accept, answer, model)
        assert gzip.decompress(b"".join(gzipped(pieces))) == body


def one(**more: Any) -> dict[str, Any]:
    files = {"numtasks.held": [3, 2], "numtasks.limit": ["max", 5], "numtasks.forkrate": [7]}
    block = ["load", 1, ["/", "/a"], files, {"numtasks": [0, 1]}]
    work = [[], [[0] * 15, [0] * 15], 0, 0]
    told = {"blocks": [block], "hierarchies": [], "jobs": [], "work": work, "restarts": 0} | OWN
    return told | more


def written(model: Model, answer: dict[str, Any]) -> str:
    model.update(answer)
    return b"".join(plain(Format(*chosen("")).pieces(answer, model))).decode()


def test_paths_are_told_only_once() -> None:
    model = Model()
    first = written(model, one())
    assert model.shapes == {"load": 1}
    again = one()
    again["blocks"][0][2] = None
    assert written(model, again) == first
    assert 'governor_numtasks_held{container="/a",hierarchy="load"} 2.0\n' in first
    assert first.count("governor_numtasks_forkrate{") == 1


def test_what_has_not_changed_is_not_written_again() -> None:
    model = Model()
    model.update(one())
    before = {column.family.name: column.text for _, cs in model.families() for column in cs}
    changed = one()
    changed["blocks"][0][2] = None
    changed["blocks"][0][3]["numtasks.held"] = [3, 1]
    model.update(changed)
    after = {column.family.name: column.text for _, cs in model.families() for column in cs}
    same = {name for name in before if after[name] is before[name]}
    assert same == before.keys() - {"governor_numtasks_held"}


def test_what_is_no_more_is_forgotten() -> None:
    model = Model()
    model.update(one())
    assert "governor_numtasks" not in written(model, one(blocks=[]))
    assert model.shapes == {}


def test_any_gzip_reader_finds_one_member() -> None:
    model = Model()
    answer = one()
    model.update(answer)
    packed = b"".join(gzipped(Format(*chosen("")).pieces(answer, model)))
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert b"numtasks" in reader.decompress(packed)
    assert reader.eof
    assert not reader.unused_data


def test_figures_of_a_subsystem_that_is_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    block = ["io", 1, ["/"], {"disk.size": [3], "disk.text": ["3"]}, {"disk": [0]}]
    text = written(Model(), one(blocks=[block]))
    assert 'governor_disk_size{container="/",hierarchy="io"} 3.0\n' in text
    assert "governor_disk_text" not in text
