"""``governor top`` on a whole screen, with Textual."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.app import App
from textual.binding import Binding, BindingType

from governor.errors import GovernorError
from governor.top.actions import Actions
from governor.top.model import View
from governor.top.screens import Containers
from governor.top.source import Source

if TYPE_CHECKING:
    from governor.api import Governor

T = TypeVar("T")
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class TopApp(App[GovernorError]):
    """Shows a governor until it is told to quit; ends with the error if the governor does.

    Requests are made by one thread of their own, so that keys are heard while one waits.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+q", "quit", show=False),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, governor: Governor, view: View, interval: float) -> None:
        super().__init__()
        self.governor = governor
        self.source = Source(governor, interval)
        self.actions = Actions(governor)
        self.trouble = ""
        self.signalled: signal.Signals | None = None
        self._view = view
        self._requests = ThreadPoolExecutor(1, thread_name_prefix="governor-top")

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return self.source.pause

    def on_mount(self) -> None:
        """Begin with the containers."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        self.push_screen(Containers(self._view))

    def on_unmount(self) -> None:
        """Wait for no answer any more."""
        self._requests.shutdown(wait=False, cancel_futures=True)

    def _on_signal(self, number: signal.Signals) -> None:
        self.signalled = number
        self.exit()

    async def call(self, request: Callable[[], T]) -> T:
        """Make a request in the thread for that. GovernorError."""
        return await asyncio.get_running_loop().run_in_executor(self._requests, request)

    async def try_call(self, request: Callable[[], T]) -> T | None:
        """The same; None when it was refused, which is said."""
        try:
            return await self.call(request)
        except GovernorError as error:
            self.notify(error.message, severity="error", markup=False)
            return None

    async def attempt(self, look: Callable[[], Awaitable[None]]) -> bool:
        """Look; whether there is still somebody to look at.

        A governor that does not answer may do so later; a container may have gone.
        """
        try:
            await look()
        except GovernorError as error:
            if error.errno == errno.EIO:
                self.exit(error)
                return False
            self.trouble = f"  ({error.message})"
        else:
            self.trouble = ""
        return True


def run(governor: Governor, view: View, interval: float) -> int:
    """Show it until somebody quits. Raises the GovernorError with which the governor ended."""
    app = TopApp(governor, view, interval)
    error = app.run()
    if error is not None:
        raise error
    if app.signalled is not None:  # the terminal is as it was: now end as others do
        with contextlib.suppress(OSError):
            signal.signal(app.signalled, signal.SIG_DFL)
            os.kill(os.getpid(), app.signalled)
    return app.return_code or 0
