"""Messages are tuples with names, as `typing.NamedTuple` makes them."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import pytest

from governor.wire.named import Named


class Ours(Named):
    """A message."""

    pid: int
    traps: list[str]


class Theirs(NamedTuple):
    """The same, made by the standard library."""

    pid: int
    traps: list[str]


class Empty(Named):
    """A message without fields."""


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_it_is_a_frozen_tuple_with_names(kind: Any) -> None:
    message = kind(7, traps=["tasks"])
    assert message == kind(traps=["tasks"], pid=7) == (7, ["tasks"])
    assert (message.pid, message[1], message._fields) == (7, ["tasks"], ("pid", "traps"))
    assert message._asdict() == {"pid": 7, "traps": ["tasks"]}
    assert message._replace(pid=8) == kind(8, ["tasks"])
    assert repr(message) == f"{kind.__name__}(pid=7, traps=['tasks'])"
    assert pickle.loads(pickle.dumps(message)) == message
    assert hash(kind(1, ())) == hash((1, ()))
    with pytest.raises(AttributeError):
        message.pid = 8
    with pytest.raises(AttributeError):
        message.other = 8
    match message:
        case kind(pid, traps):
            assert (pid, traps) == (7, ["tasks"])


@pytest.mark.parametrize("kind", [Ours, Theirs])
@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1,), {}), ((1, [], 2), {}), ((1, []), {"pid": 1}), ((1,), {"other": []})],
)
def test_fields_are_given_once_each(kind: Any, values: Any, named: Any) -> None:
    with pytest.raises(TypeError):
        kind(*values, **named)


def test_one_without_fields_is_empty() -> None:
    assert Empty() == ()
    assert repr(Empty()) == "Empty()"
