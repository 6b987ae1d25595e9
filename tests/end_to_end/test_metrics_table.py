"""The table of docs/metrics.md, against what is exported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from governor import registry
from governor.api import Governor
from governor.subsystem import CountedSubsystem
from tests.end_to_end.scraped import openmetrics
from tests.process.helpers import ROOT

pytestmark = pytest.mark.once


class Documented(NamedTuple):
    type: str
    unit: str
    labels: frozenset[str]
    meaning: str


def documented(resources: dict[str, str]) -> dict[str, Documented]:
    """The table of docs/metrics.md, with NAME and PAGES replaced by all resources.

    ``*tasks*`` in the meaning stands for what a resource is of: the values of ``resources``.
    """
    page = (ROOT / "docs" / "metrics.md").read_text()
    table = page.partition("## What is gone")[0]
    found: dict[str, Documented] = {}
    for row in re.findall(r"^\| (`governor_.*) \|$", table, re.M):
        names, type, unit, labels, _, meaning = (cell.strip() for cell in row.split("|"))
        told = Documented(type, unit, frozenset(re.findall(r"`(\w+)`", labels)), plain(meaning))
        for name in re.findall(r"`(\w+)`", names):
            for one in among(name, resources):
                of = resources.get(one.split("_")[1], "")
                words = told.meaning.replace("*Tasks*", of.capitalize()).replace("*tasks*", of)
                found[one] = told._replace(meaning=words)
    return found


def among(name: str, resources: Iterable[str]) -> list[str]:
    """The metrics that a name in the table is about."""
    pages = {resource for resource in resources if resource.endswith("pages")}
    for word, some in ("NAME", set(resources) - pages), ("PAGES", pages):
        if f"_{word}_" in name:
            return [name.replace(word, resource) for resource in some]
    return [name]


def plain(markdown: str) -> str:
    """Without links and marks of code."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")


def told_of(exported: str) -> dict[str, Documented]:
    """What an exporter tells of its metrics, as the text format has it, which queries go by."""
    found = {}
    for family in parse_openmetrics(exported):  # type: ignore[no-untyped-call]
        suffix, type = {"counter": ("_total", "counter"), "info": ("_info", "gauge")}.get(
            family.type, ("", family.type)
        )
        labels = {label for sample in family.samples for label in sample.labels}
        labels -= {"le"} if type == "histogram" else set()
        help = family.documentation.removesuffix(".")
        found[family.name + suffix] = Documented(type, family.unit, frozenset(labels), help)
    return found


def test_every_metric_is_documented_and_every_documented_one_is_there(tmp_path: Path) -> None:
    """With type, unit, labels, and a meaning that begins with what the exporter says."""
    with Governor(metrics=0, state=str(tmp_path)) as governor:
        container = governor.mount("everything", ["all"]).mkdir("/c")
        governor.spawn(["true"], containers=[container]).wait(60)
        found = told_of(openmetrics(governor.metrics_port))
        counted = {file.partition(".")[0] for file in container.list_files() if "held" in file}
    loaded = map(registry.load, counted)
    table = documented({s.name: s.resource for s in loaded if isinstance(s, CountedSubsystem)})
    table = {
        name: row
        for name, row in table.items()
        if name in found or not name.startswith("governor_numsiginfo")
    }
    for name in found.keys() & table.keys():
        if table[name].meaning.startswith(found[name].meaning):
            found[name] = found[name]._replace(meaning=table[name].meaning)
    assert found == table
    assert "pid" not in {label for row in found.values() for label in row.labels}
