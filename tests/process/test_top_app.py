"""``governor top`` on a screen: every key, on a real governor, pressed by Textual's pilot."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from governor.api import Container, Governor
from governor.top.model import View
from tests.capabilities import need
from tests.process.helpers import DEADLINE, exists

pytestmark = pytest.mark.once

if TYPE_CHECKING:
    from governor.top.app import TopApp

SIZE = (80, 24)


@pytest.fixture(autouse=True)
def _extra() -> None:
    need(importlib.util.find_spec("textual") is not None, "textual is not installed")


class Hand:
    """Presses keys and looks at the screen."""

    def __init__(self, app: TopApp, pilot: Any) -> None:
        self.app = app
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        names = {" ": "space", "/": "slash", ":": "colon", "=": "equals_sign", ".": "full_stop"}
        await self._pilot.press(*(names.get(char, char) for char in text))

    async def see(self, wanted: str) -> str:
        """The screen, as soon as this is on it."""
        end = time.monotonic() + DEADLINE
        while wanted not in (text := self.screen()):
            assert time.monotonic() < end, f"no {wanted!r} on\n{text}"
            await self._pilot.pause(0.02)
        return text

    async def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"waited in vain on\n{self.screen()}"
            await self._pilot.pause(0.02)

    async def dialog(self) -> None:
        """Wait until there is one, and empty its line."""
        from textual.widgets import Input

        from governor.top.dialogs import Ask

        await self.until(lambda: isinstance(self.app.screen, Ask))
        await self.until(lambda: isinstance(self.app.focused, Input))
        await self.press("ctrl+u")

    def screen(self) -> str:
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in lines)

    def names(self) -> list[str]:
        """The containers that are shown, in order."""
        lines = [line.strip("▾▸ ").split(" ")[0] for line in self.screen().split("\n")[2:-1]]
        return [line for line in lines if line]


def played(governor: Governor, part: Callable[[Hand], Awaitable[None]], **view: Any) -> TopApp:
    """Run the app with somebody at the keys."""
    from governor.top.app import TopApp

    app = TopApp(governor, View(**view), 0.1)

    async def run() -> None:
        async with app.run_test(size=SIZE, notifications=True) as pilot:
            hand = Hand(app, pilot)
            await hand.see("load:/")
            await part(hand)

    asyncio.run(run())
    return app


@pytest.fixture
def kernel(gov: Governor) -> Container:
    """A container with a job that sleeps, in a tree with others."""
    load = gov.mount("load", ["numtasks", "numfiles"])
    load.mkdir("/builds")
    kernel = load.mkdir("/builds/kernel")
    kernel["numtasks.limit"] = 12
    load.mkdir("/web")
    gov.mount("cpu", ["cpuacct"]).mkdir("/alice")
    gov.spawn(["sleep", "1000"], containers=[kernel])
    return kernel


def test_the_screen_has_everything(gov: Governor, kernel: Container) -> None:
    async def look(hand: Hand) -> None:
        await hand.see("1/12")
        lines = (await hand.see("Kill")).split("\n")  # the keys may come after the figures
        assert len(lines) == SIZE[1]
        assert {len(line) for line in lines} == {SIZE[0]}
        titles = "CONTAINER TASKS FILES CPU% REF/S CPUS LEVEL".split()
        assert lines[1].split() == [word for word in titles if word != "CPUS"]
        for key in "Quit Filter Sort Hierarchy Tree Fold Procs Limit Kill".split():
            assert key in lines[-1]
        await hand.see("0.0")  # a rate: there has been another look

    played(gov, look)


def test_folding_filtering_and_hierarchies(gov: Governor, kernel: Container) -> None:
    async def look(hand: Hand) -> None:
        assert hand.names() == ["load:/", "builds", "kernel", "web", "cpu:/", "alice"]
        await hand.press("down", "space")
        await hand.see("▸ builds (1)")
        assert hand.names() == ["load:/", "builds", "web", "cpu:/", "alice"]
        await hand.press("right", "down", "left")  # unfolded again, and back to the parent
        await hand.see("kernel")
        await hand.press("minus")
        await hand.see("▸ builds (1)")
        await hand.press("plus", "h")
        await hand.until(lambda: hand.names() == ["load:/", "builds", "kernel", "web"])
        await hand.press("h")
        await hand.until(lambda: hand.names() == ["cpu:/", "alice"])
        await hand.press("h", "slash")
        await hand.type("kern")
        await hand.until(lambda: hand.names()[:3] == ["load:/", "builds", "kernel"])
        await hand.press("enter", "t")
        await hand.until(lambda: hand.names() == ["load:/builds/kernel"])
        await hand.press("escape", "t")
        await hand.see("alice")

    played(gov, look)


def test_sorting(gov: Governor, kernel: Container) -> None:
    kernel.hierarchy.mkdir("/aaa")

    async def look(hand: Hand) -> None:
        assert hand.names()[:3] == ["load:/", "aaa", "builds"]
        await hand.press("s")
        await hand.until(lambda: hand.names()[:3] == ["load:/", "builds", "kernel"])

    played(gov, look, hierarchy="load")


def test_a_limit_is_changed_and_a_mistake_is_explained(gov: Governor, kernel: Container) -> None:
    async def change(hand: Hand) -> None:
        await hand.press("down", "down", "l")
        await hand.dialog()
        await hand.see("numfiles.limit=max")  # what else can be set there
        await hand.type("numtasks.limit=none")
        await hand.press("enter")
        await hand.see("cannot be 'none'")
        await hand.press("ctrl+u")
        await hand.type("numtasks.limit=64")
        await hand.press("enter")
        await hand.see("1/64")

    played(gov, change)
    assert kernel["numtasks.limit"] == 64


def test_keys_of_a_slow_line_keep_their_order(gov: Governor, kernel: Container) -> None:
    async def change(hand: Hand) -> None:
        await hand.press("down", "down", "l")
        await hand.dialog()
        from textual import events

        await hand.type("numtasks.limit=9")
        for key, character in (("backspace", "\x7f"), ("8", "8"), ("enter", "\r")):
            hand.app.post_message(events.Key(key, character))  # all at once
        await hand.see("1/8")

    played(gov, change)


def test_nothing_happens_when_a_question_is_left(gov: Governor, kernel: Container) -> None:
    async def leave(hand: Hand) -> None:
        await hand.press("k")
        await hand.dialog()
        await hand.press("escape")
        await hand.see("Quit")

    played(gov, leave)
    assert len(kernel.tasks) == 1


def test_processes_are_shown_moved_and_killed(gov: Governor, kernel: Container) -> None:
    (pid,) = kernel.tasks
    web = kernel.hierarchy["/web"]

    async def act(hand: Hand) -> None:
        await hand.press("p")
        text = await hand.see("sleep 1000")
        assert f"{pid} " in text
        await hand.press("m")
        await hand.dialog()
        await hand.type("load:web")
        await hand.press("enter")
        await hand.see("is not HIER:/PATH")
        await hand.press("ctrl+u")
        await hand.type("load:/web")
        await hand.press("enter")
        await hand.until(lambda: web.tasks == [pid])
        await hand.see("/web ")
        await hand.press("k")
        await hand.dialog()
        await hand.type("nonsense")
        await hand.press("enter")
        await hand.see("is not a signal")
        await hand.press("ctrl+u")
        await hand.type("kill")
        await hand.press("enter")
        await hand.see("0 processes")
        await hand.press("q")
        await hand.see("Quit")

    played(gov, act)
    assert web.tasks == []
    assert not exists(pid) or not os.path.exists(f"/proc/{pid}/exe")


def test_all_processes_of_a_container_are_signalled(gov: Governor, kernel: Container) -> None:
    gov.spawn(["sleep", "1000"], containers=[kernel])

    async def act(hand: Hand) -> None:
        await hand.press("down", "k")
        await hand.dialog()
        await hand.type("TERM")
        await hand.press("enter")
        await hand.see("TERM to 2 processes")
        await hand.until(lambda: kernel.tasks == [])

    played(gov, act)


def test_quitting(gov: Governor, kernel: Container) -> None:
    async def quit(hand: Hand) -> None:
        await hand.press("q")

    assert played(gov, quit).return_value is None


def test_the_end_of_the_governor_is_the_end(gov: Governor, kernel: Container) -> None:
    async def end(hand: Hand) -> None:
        gov.shutdown()
        await hand.until(lambda: not hand.app.is_running or hand.app.return_value is not None)

    error = played(gov, end).return_value
    assert error is not None
    assert error.message == "the supervisor has ended"


def test_a_thousand_containers_scroll(gov: Governor, kernel: Container) -> None:
    for number in range(1000):
        kernel.mkdir(f"c{number}")

    async def scroll(hand: Hand) -> None:
        await hand.press("end")
        await hand.see("alice")
        await hand.press("pageup")
        await hand.see("c999")
        await hand.press("home")
        await hand.see("load:/")

    played(gov, scroll)
