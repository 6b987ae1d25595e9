"""Asking for a line of text, and saying what is wrong with it until it is right or given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from governor.errors import GovernorError
from governor.top.table import printable

Offers = Callable[[], Awaitable[Sequence[str]]]
"""Finds out what could be typed, while something is being typed already."""

Carry = Callable[[str], Awaitable[str | None]]
"""Carries out what was typed; returns what to say about it. GovernorError: ask again."""


class Line(Input):
    """A line that takes keys in their order, even if a slow connection brings many at once.

    An Input inserts a letter when it comes, but a key that is bound, such as Backspace, takes the
    way up to the application first, and letters that came later overtake it.
    """

    async def on_key(self, event: events.Key) -> None:
        """Do what the key is bound to here and now."""
        bound = self._bindings.key_to_bindings.get(event.key)
        if bound and not event.is_printable:
            event.stop()
            event.prevent_default()
            await self.run_action(bound[0].action)


class Ask(ModalScreen[str]):
    """Asks ``question``; Enter carries out what was typed, Escape gives up.

    Ends with what there is to say, None when there is nothing.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "Cancel")]

    CSS = """
    Ask { align: center middle; }
    Ask Vertical { width: 72; max-width: 95%; height: auto; max-height: 90%;
                   border: round $primary; background: $surface; padding: 0 1; }
    Ask #wrong { color: $text-error; height: auto; }
    Ask #hint { color: $text-muted; }
    Ask #offers { color: $text-muted; height: auto; max-height: 8;
                  text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, question: str, value: str, carry: Carry, offers: Offers | None) -> None:
        super().__init__()
        self._question = question
        self._value = value
        self._carry = carry
        self._offers = offers

    def compose(self) -> ComposeResult:
        """A question, a line to type in, and room for what is wrong."""
        with Vertical():
            yield Static(self._question, markup=False)
            yield Line(self._value, select_on_focus=False, compact=True)
            yield Static("", id="wrong", markup=False)
            yield Static("Enter: do it   Right: complete   Escape: leave it", id="hint")
            yield Static("", id="offers", markup=False)

    def on_mount(self) -> None:
        """Begin to look for what could be typed."""
        if self._offers is not None:
            self.run_worker(self._show_offers(self._offers))

    async def _show_offers(self, find: Offers) -> None:
        offers = await find()
        self.query_one(Input).suggester = SuggestFromList(offers)
        self.query_one("#offers", Static).update("\n".join(map(printable, offers)))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Carry it out, or say why not."""
        event.stop()
        try:
            said = await self._carry(event.value)
        except GovernorError as error:
            self.query_one("#wrong", Static).update(error.message)
        else:
            self.dismiss(said)

    def action_give_up(self) -> None:
        """End without having done anything."""
        self.dismiss(None)
