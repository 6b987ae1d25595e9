"""A program as a user types it; mypy --strict looks at it with the rest (make check)."""

from __future__ import annotations

from typing import assert_type

import governor
from governor import aio


@governor.limited(tasks=8, files=100, cpus="0", timeout="10s")
def length(text: str, *, times: int = 1) -> int:
    """A limited function has the type it had."""
    return len(text) * times


@governor.limited(tasks="4k")
async def later(text: str) -> bytes:
    """So has a coroutine function."""
    return text.encode()


def add(one: int, other: float) -> float:
    """Something to call."""
    return one + other


def blocking(gov: governor.Governor) -> None:
    """What is captured depends on what is asked for."""
    assert_type(length("a", times=2), int)
    assert_type(gov.run(["true"]), governor.Completed[None])
    assert_type(gov.run(["true"], capture=True), governor.Completed[bytes])
    assert_type(gov.run(["true"], capture=True, text=True).stdout, str)
    assert_type(gov.call(add, 1, 2.5, timeout=3.0), float)
    gov.call(add, "1", 2.5)  # type: ignore[arg-type]
    gov.run(["true"], tiemout=3)  # type: ignore[call-overload]
    length(1)  # type: ignore[arg-type]
    with governor.limits(tasks=8) as limited:
        assert_type(limited.call(length, "a"), int)
        assert_type(limited.run(["true"]).exit_code, int)


async def awaiting() -> None:
    """The same, awaited."""
    assert_type(await later("a"), bytes)
    async with aio.Governor() as gov:
        assert_type(await gov.run(["true"], capture=True), governor.Completed[bytes])
        assert_type(await gov.call(add, 1, 2.5), float)
