"""What becomes of a result: tables, JSON and its schema, comparisons, figures."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.bench import (
    compare,
    figures,
    footprint,
    report,
    schema,
    sections,
    store,
    targets,
)
from governor.bench.compare import Change
from governor.bench.result import Result
from governor.bench.statistics import Estimate, Verdict
from governor.bench.sweeps import SWEEPS
from governor.bench.targets import Kind
from governor.errors import GovernorError
from tests.capabilities import need
from tests.unit.bench_results import sample_result

SCHEMA = Path(__file__).parents[2] / "docs" / "bench.schema.json"


def as_json(result: Result) -> Any:
    return json.loads(json.dumps(store.to_json(result), allow_nan=False))


def with_rounds(result: Result, rounds: int) -> Result:
    """The same result after fewer rounds."""
    parts = {
        name: part._replace(
            samples={
                operation: {other: values[:rounds] for other, values in row.items()}
                for operation, row in part.samples.items()
            }
        )
        for name, part in result.parts.items()
    }
    memory = {name: values[:rounds] for name, values in result.memory.items()}
    return result._replace(parts=parts, memory=memory)


def test_targets_are_judged_only_for_what_was_measured() -> None:
    outcomes = targets.check(sample_result())
    assert {outcome.target.text: outcome.verdict for outcome in outcomes} == {
        "open+close <= 1.35x of the floor": Verdict.OK,
        "open+close <= 9 us over ungoverned": Verdict.OK,
        "open+close: 16 hierarchies <= 1.03x of 1": Verdict.OK,
        "governor run <= 4x of python3 -c pass": Verdict.MISSED,
        "supervisor of 10,000 containers <= 60 MB": Verdict.MISSED,
        "a container <= 2 kB": Verdict.OK,
    }


def test_a_target_without_its_subject_is_not_met() -> None:
    result = sample_result()
    del result.parts["calls"].samples["open"]["governed"]
    assert [o.verdict for o in targets.check(result) if o.target.section == "calls"] == [
        Verdict.ABSENT
    ] * 2


def test_targets_speak_of_what_is_measured() -> None:
    known = {
        (section.name, operation.name, offer.name)
        for section in sections.sections(quick=False)
        for operation in section.operations
        for offer in section.offers
    }
    for target in targets.TARGETS:
        if target.kind is Kind.SIZE:
            assert target.operation in footprint.TITLES
        else:
            for name in filter(None, (target.subject, target.base)):
                assert (target.section, target.operation, name) in known
    assert {target.kind for target in targets.TARGETS} == set(Kind)


def test_the_tables_show_ratios_verdicts_and_reasons() -> None:
    text = report.to_text(sample_result())
    assert "4.000x" in text
    assert "1.50x" in text
    assert "MISSED governor run <= 4x" in text
    assert "MISSED supervisor of 10,000 containers <= 60 MB 70.00 MB [" in text
    assert "  for each container                         1.50 kB" in text
    assert "cgroup-v1 skipped: not mounted" in text
    assert "cgroup-v2 note: without the pids controller" in text
    assert "gave 25% of the processors' time to others" in text
    assert "  governed 16" in text


def test_the_tables_fit_a_terminal() -> None:
    assert max(map(len, report.to_text(sample_result()).splitlines())) <= 80
    assert max(len(target.text) for target in targets.TARGETS) <= 40


def test_outliers_are_shown_and_kept() -> None:
    result = sample_result()
    result.parts["calls"].samples["open"]["governed"][4] = 1e6
    (line,) = (
        line
        for line in report.to_text(result).splitlines()
        if line[:10] == "  governed" and line[-1] == "1"
    )
    assert "4.000x" in line
    found = as_json(result)["sections"]["calls"]["operations"]["open"]["surroundings"]
    assert found["governed"]["outliers"] == [4]
    assert found["governed"]["samples_ns"][4] == 1e6


def test_json_without_enough_samples_has_no_interval() -> None:
    found = as_json(with_rounds(sample_result(), 3))
    figures_ = found["sections"]["calls"]["operations"]["open"]["surroundings"]["governed"]
    assert figures_["ratio"]["low"] is None
    assert {target["verdict"] for target in found["targets"]} == {"noise"}


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    result = sample_result()
    path = tmp_path / "result.json"
    path.write_text(json.dumps(store.to_json(result)))
    loaded = store.load(str(path))
    assert (loaded.parts, loaded.memory) == (result.parts, result.memory)
    assert (loaded.failed, loaded.skipped, loaded.notes) == (
        result.failed,
        result.skipped,
        result.notes,
    )
    assert report.to_text(loaded) == report.to_text(result)
    assert as_json(loaded) == as_json(result)


def test_the_base_is_found_whatever_the_order_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(store.to_json(sample_result()), sort_keys=True))
    assert as_json(store.load(str(path))) == as_json(sample_result())


def change_version(found: Any) -> None:
    found["version"] = 1


def drop_version(found: Any) -> None:
    del found["version"]


def drop_a_sample(found: Any) -> None:
    del found["sections"]["calls"]["operations"]["open"]["surroundings"]["floor"]["samples_ns"][0]


def make_a_sample_negative(found: Any) -> None:
    row = found["sections"]["calls"]["operations"]["open"]["surroundings"]["floor"]
    row["samples_ns"][0] = -1


def drop_the_loads(found: Any) -> None:
    found["machine"]["load"] = []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (change_version, "has layout 1; this governor reads 2"),
        (drop_version, "is not a result of governor bench"),
        (drop_a_sample, "sections.calls.operations.open: value error, not all surroundings have"),
        (make_a_sample_negative, "samples_ns.0: input should be greater than 0"),
        (drop_the_loads, "machine.load: list should have at least 3 items"),
    ],
)
def test_a_file_that_holds_no_result_is_refused(tmp_path: Path, spoil: Any, said: str) -> None:
    found = as_json(sample_result())
    spoil(found)
    path = tmp_path / "result.json"
    path.write_text(json.dumps(found))
    with pytest.raises(GovernorError, match=said):
        store.load(str(path))


def test_what_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with pytest.raises(GovernorError, match=r"cannot read .*: No such file"):
        store.load(str(path))
    for content in (b"\xff{", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(GovernorError, match="is not JSON"):
            store.load(str(path))


def test_what_a_later_version_measured_is_shown_by_its_name(tmp_path: Path) -> None:
    result = sample_result()
    calls = result.parts["calls"]
    samples = calls.samples | {"fault": calls.samples["open"]}
    later = result._replace(
        parts=result.parts | {"calls": calls._replace(samples=samples)},
        memory={"page tables": [1e6] * 6},
    )
    path = tmp_path / "result.json"
    path.write_text(json.dumps(store.to_json(later)))
    shown = report.to_text(store.load(str(path)))
    assert "fault                       per op" in shown
    assert "page tables" in shown


def test_the_schema_in_the_documents_is_that_of_the_types() -> None:
    assert json.loads(SCHEMA.read_text()) == schema.json_schema()


def test_what_is_written_fits_the_schema() -> None:
    found = as_json(sample_result())
    assert schema.File.model_validate(found).model_dump().keys() == found.keys()
    written = found["sections"]["calls"]["operations"]["open"]["surroundings"]["governed"]
    assert written.keys() == schema.Figures.model_fields.keys()
    assert found["machine"].keys() == schema.Machine.model_fields.keys()
    assert found["targets"][0].keys() == schema.Target.model_fields.keys()
    assert found["sections"]["calls"].keys() == schema.Section.model_fields.keys()


def test_what_is_written_fits_the_schema_for_others_too() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(as_json(sample_result()), json.loads(SCHEMA.read_text()))


def test_a_slower_governor_is_told() -> None:
    found = compare.compare(sample_result(), sample_result(governed=4.4))
    changes = {(row.section, row.surrounding): row.change for row in found.rows}
    assert changes["calls", "governed"] is Change.SLOWER
    assert changes["hierarchies", "governed hierarchies=16"] is Change.SLOWER
    assert changes["calls", "floor"] is Change.SAME
    assert found.slower
    assert not compare.compare(sample_result(governed=4.4), sample_result()).slower


def test_a_slower_machine_is_no_slower_governor() -> None:
    found = compare.compare(sample_result(), sample_result(machine_factor=3.0))
    assert {row.change for row in found.rows if not row.absolute} == {Change.SAME}
    assert {row.change for row in found.rows if row.absolute} == {Change.SLOWER}
    assert not found.slower


def test_too_few_rounds_to_compare_are_noise() -> None:
    old, new = (with_rounds(sample_result(cost), 5) for cost in (4.0, 9.0))
    assert {row.change for row in compare.compare(old, new).rows} == {Change.NOISE}


def test_rows_of_one_result_only_are_named() -> None:
    old, new = sample_result(), sample_result()
    del new.parts["spawn"]
    del old.parts["calls"].samples["open"]["floor"]
    found = compare.compare(old, new)
    assert found.only_old == ["spawn"]
    assert found.only_new == ["calls open floor"]


def test_with_another_base_only_times_are_compared() -> None:
    old, new = sample_result(), sample_result(governed=8.0)
    row = new.parts["calls"].samples["open"]
    row["ungoverned"] = row.pop("ungoverned")
    found = {r.surrounding: r for r in compare.compare(old, new).rows if r.section == "calls"}
    assert found["governed"].absolute
    assert found["governed"].found.value == pytest.approx(2.0)


def test_facts_that_differ_are_told() -> None:
    old, new = sample_result(), sample_result()
    found = compare.compare(old, new._replace(before=new.before | {"kernel": "9.9"}))
    assert found.differences == {"kernel": (old.before["kernel"], "9.9")}
    text = report.comparison_text(found)
    assert text.startswith(f"kernel: {old.before['kernel']} before, 9.9 now")
    assert "8 rows compared by ratio to their base: 0 SLOWER, 0 faster, 8 same" in text
    assert max(map(len, text.splitlines())) <= 80


ENDS = st.floats(min_value=0.5, max_value=2.0)


@given(ENDS, ENDS)
def test_a_change_is_told_only_by_its_whole_interval(one: float, other: float) -> None:
    low, high = sorted((one, other))
    judged = compare.judge(Estimate(math.sqrt(low * high), low, high, 0.1, 20))
    if low <= 1.0 <= high:
        assert judged in (Change.SAME, Change.NOISE)
    back = compare.judge(Estimate(1.0, 1 / high, 1 / low, 0.1, 20))
    assert (judged is Change.SLOWER) == (back is Change.FASTER)


@pytest.fixture
def matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        need(False, "the figures need matplotlib")


@pytest.mark.usefixtures("matplotlib")
def test_figures_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    figures.prepare(str(tmp_path / "figures"))
    paths = figures.draw(sample_result(), str(tmp_path / "figures"))
    assert [path.name for path in paths] == [
        "latency.svg",
        "latency.png",
        "hierarchies.svg",
        "hierarchies.png",
    ]
    for path in paths:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("matplotlib")
def test_figures_use_no_colour(tmp_path: Path) -> None:
    import re

    for path in figures.draw(sample_result(), str(tmp_path)):
        if path.suffix == ".svg":
            colours = set(re.findall(r"#([0-9a-f]{6})\b", path.read_text()))
            assert all(c[:2] == c[2:4] == c[4:] for c in colours), colours


def test_every_surrounding_has_a_pen_of_its_own() -> None:
    pens = list(figures.PENS.values())
    assert len({(pen.dashes, pen.marker) for pen in pens}) == len(pens)
    found = {s.name: s for s in sections.sections(quick=False)}
    drawn = [found["calls"], *(found[name] for name in SWEEPS)]
    assert {offer.series or offer.name for s in drawn for offer in s.offers} <= figures.PENS.keys()
