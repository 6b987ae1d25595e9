"""Jobs that coroutines await: many at once, and cancelled ones that are over."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

import governor
from governor import Governor, JobFailed, JobTimeout, Limits, aio
from governor.api import default
from governor.supervisor.stdio import LEFT_MAX
from tests.process.helpers import DEADLINE, nothing_left

pytestmark = pytest.mark.once

T = TypeVar("T")


@pytest.fixture(scope="module")
def gov() -> Iterator[Governor]:
    with pytest.MonkeyPatch.context() as patch, nothing_left(patch):
        yield default.governor()
        default._end()


def run(gov: Governor, body: Callable[[aio.Governor], Awaitable[T]]) -> T:
    async def main() -> T:
        async with aio.Governor(gov) as awaited, asyncio.timeout(DEADLINE):
            return await body(awaited)

    return asyncio.run(main())


def running(gov: Governor) -> list[str]:
    return [report.name for report in gov.jobs() if report.exit_code is None]


async def started(gov: Governor, name: str) -> None:
    while name not in running(gov):
        await asyncio.sleep(0)


def test_a_governor_of_its_own() -> None:
    async def main() -> governor.Completed[str]:
        async with aio.Governor() as gov:
            gov.governor.mount("load", ["numtasks"])
            return await gov.run(["cat"], input="here", capture=True, text=True)

    with pytest.MonkeyPatch.context() as patch, nothing_left(patch):
        assert asyncio.run(main()).stdout == "here"


def test_check_and_timeout(gov: Governor) -> None:
    with pytest.raises(JobFailed):
        run(gov, lambda awaited: awaited.run(["false"], check=True))
    with pytest.raises(JobTimeout):
        run(gov, lambda awaited: awaited.run(["sleep", "1000"], check=True, timeout=0.05))


def test_calls(gov: Governor) -> None:
    assert run(gov, lambda awaited: awaited.call(bytes, 3_000_000)) == bytes(3_000_000)
    with pytest.raises(ZeroDivisionError) as caught:
        run(gov, lambda awaited: awaited.call(lambda: 1 / 0))
    assert "RemoteTraceback" in type(caught.value.__cause__).__name__


def test_many_at_once_need_no_thread_each(gov: Governor) -> None:
    async def many(awaited: aio.Governor) -> tuple[list[str], int]:
        jobs = [
            asyncio.create_task(awaited.run(["echo", str(n)], capture=True, text=True))
            for n in range(100)
        ]
        await asyncio.sleep(0)
        threads = threading.active_count()
        return [(await job).stdout for job in jobs], threads

    before = threading.active_count()
    outputs, threads = run(gov, many)
    assert outputs == [f"{n}\n" for n in range(100)]
    assert threads <= before


def test_more_at_once_than_streams_may_wait(gov: Governor) -> None:
    async def many(awaited: aio.Governor) -> set[int]:
        jobs = [awaited.run(["true"]) for _ in range(LEFT_MAX + 32)]
        return {done.exit_code for done in await asyncio.gather(*jobs)}

    assert run(gov, many) == {0}


def test_cancelled_before_its_turn(gov: Governor) -> None:
    async def cancel(awaited: aio.Governor) -> list[str]:
        jobs = [
            asyncio.create_task(awaited.run(["sleep", "1000"], name=f"early{n}"))
            for n in range(100)
        ]
        await asyncio.sleep(0)  # so that the first ones have been asked for
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        return [report.name for report in gov.jobs() if report.name.startswith("early")]

    assert 0 < len(run(gov, cancel)) < 50


def test_who_is_cancelled_goes_on_when_the_job_is_over(gov: Governor) -> None:
    async def cancel(awaited: aio.Governor) -> None:
        job = asyncio.create_task(awaited.run(["sleep", "1000"], name="long", limits=Limits(2)))
        await started(gov, "long")
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert "long" not in running(gov)

    run(gov, cancel)
    assert [c.path for c in gov.containers([]) if c.path != "/"] == []


def test_cancelled_while_it_starts(gov: Governor) -> None:
    async def cancel(awaited: aio.Governor) -> None:
        job = asyncio.create_task(awaited.run(["sleep", "1000"], name="early"))
        await asyncio.sleep(0)  # so that it has been asked for
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert "early" not in running(gov)

    run(gov, cancel)


def test_a_job_that_ignores_term_is_killed(gov: Governor) -> None:
    async def cancel(awaited: aio.Governor) -> None:
        here, there = os.pipe()
        ignores = ["sh", "-c", "trap '' TERM; echo; while :; do sleep 1000; done"]
        job = asyncio.create_task(awaited.run(ignores, name="deaf", stdout=there, grace=0.05))
        await asyncio.to_thread(os.read, here, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job, 0)
        assert "deaf" not in running(gov)
        os.close(here)
        os.close(there)

    run(gov, cancel)


@governor.limited(tasks=1)
async def forks() -> int:
    await asyncio.sleep(0)
    return os.fork()


def test_a_limited_coroutine(gov: Governor) -> None:
    with pytest.raises(BlockingIOError):
        asyncio.run(forks())


def test_a_block_holds_for_its_tasks(gov: Governor) -> None:
    async def block(awaited: aio.Governor) -> list[int]:
        with governor.limits(tasks=1):
            async with asyncio.TaskGroup() as group:
                job = group.create_task(awaited.run(["sh", "-c", "sleep 0 & wait"], stderr=null))
        free = await awaited.run(["sh", "-c", "sleep 0 & wait"])
        return [(await job).exit_code, free.exit_code]

    with open(os.devnull, "wb") as null:
        assert run(gov, block) == [2, 0]


def test_a_governor_that_dies_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(gov: Governor) -> None:
        async with aio.Governor(gov) as awaited:
            job = asyncio.create_task(awaited.run(["sleep", "1000"], name="orphan"))
            await started(gov, "orphan")
            os.kill(gov.pid, signal.SIGKILL)
            with pytest.raises(governor.GovernorError) as caught:
                await job
            assert caught.value.errno == errno.EIO

    with nothing_left(monkeypatch), Governor() as gov:
        asyncio.run(main(gov))
