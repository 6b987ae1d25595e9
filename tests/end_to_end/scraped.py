"""What a governor tells whoever scrapes it."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, str]
"""Name of the metric, and container as hierarchy:/path."""


def text(port: int | None) -> str:
    """In the text format."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.status == 200
        return str(answer.read(), "utf-8")


def openmetrics(port: int | None) -> str:
    """In the other one."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    asking = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=accept)
    with urllib.request.urlopen(asking, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        return str(answer.read(), "utf-8")


def samples(port: int | None) -> dict[Sample, float]:
    """By name and further labels, and by container; of levels whether it is ``enforced``."""
    found = {}
    for family in text_string_to_metric_families(text(port)):
        for sample in family.samples:
            labels = dict(sample.labels)
            where = f"{labels.pop('hierarchy', '')}:{labels.pop('container', '')}"
            if labels.pop("level", "enforced") == "enforced":
                found["/".join([sample.name, *labels.values()]), where] = sample.value
    return found
