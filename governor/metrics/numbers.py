"""Numbers as Prometheus' formats have them."""

from __future__ import annotations

from prometheus_client.utils import floatToGoString


def written(number: float) -> str:
    """``+Inf`` for infinity, and an exponent where Go would write one."""
    return str(floatToGoString(number))  # type: ignore[no-untyped-call]
