"""How a request is answered: by a handler for its kind, at once or when something has happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Reply = Callable[[Any], None]
"""Answers the request, or refuses it when given a `GovernorError`; at once, or when what was asked
for has happened."""

Handler = Callable[[Any, Reply], None]
"""Carries out one kind of request whole, or refuses it with GovernorError and changes nothing."""


def at_once(answer: Callable[[Any], object]) -> Handler:
    """A handler that replies with what ``answer(request)`` returns."""
    return lambda request, reply: reply(answer(request))
