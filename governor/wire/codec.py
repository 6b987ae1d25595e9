"""Messages to bytes and back.

A frame is the msgpack array ``[version, kind, {field: value}]``. Unknown fields are
ignored, so a newer peer may add some; unknown kinds, other versions, missing fields and
values of another shape raise `ProtocolError`, and random bytes raise nothing else.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgpack

from governor.errors import GovernorError, ProtocolError

VERSION: Final = 1
SIZE_MAX: Final = 64 * 1024 * 1024
"""Largest frame in bytes that is looked at."""

Check = Callable[[object], bool]

Message = Any
"""An instance of one of the classes of `governor.wire`, each a `governor.wire.named.Named`."""


class Catalogue:
    """The messages one socket understands, by kind (the class's name)."""

    def __init__(self, classes: Iterable[type]) -> None:
        self._kinds = {cls.__name__: _Kind(cls) for cls in classes}

    def decode(self, frame: bytes) -> Message:
        """The message in ``frame``; `ProtocolError` for anything that is not one."""
        name, fields = _unpack(frame)
        kind = self._kinds.get(name)
        if kind is None:
            raise ProtocolError(f"unknown kind of message {name!r}")
        return kind.build(fields)


class _Kind:
    """One class with a check for each of its fields."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        # The shapes are strings: annotations are not evaluated.
        self._checks = {
            name: (shape, _SHAPES[shape]) for name, shape in cls.__annotations__.items()
        }

    def build(self, fields: Mapping[str, object]) -> Message:
        """The message; `ProtocolError`, with its number if it has one, for fields of no such."""
        try:
            self._require(fields)
        except ProtocolError as error:
            number = fields.get("request")
            error.request = number if isinstance(number, int) else None
            raise
        return self._cls(*[fields[name] for name in self._checks])

    def _require(self, fields: Mapping[str, object]) -> None:
        for name, (shape, check) in self._checks.items():
            if name not in fields:
                raise ProtocolError(f"{self._cls.__name__} lacks {name}")
            if not check(fields[name]):
                raise ProtocolError(f"{self._cls.__name__}.{name} is not {shape}")


def encode(message: Message) -> bytes:
    """The frame of a message. EINVAL when a value in it cannot be put into bytes."""
    kind = type(message).__name__
    try:
        packed: bytes = msgpack.packb([VERSION, kind, message._asdict()], use_bin_type=True)
    except UnicodeEncodeError as error:
        raise GovernorError(errno.EINVAL, f"{error.object!r} is not UTF-8 text") from None
    except (OverflowError, TypeError) as error:
        raise GovernorError(errno.EINVAL, f"{kind} cannot be sent: {error}") from None
    return packed


def _unpack(frame: bytes) -> tuple[str, Mapping[str, object]]:
    if len(frame) > SIZE_MAX:
        raise ProtocolError(f"a frame of {len(frame)} bytes is longer than {SIZE_MAX}")
    try:
        unpacked = msgpack.unpackb(frame, raw=False, strict_map_key=False)
    # msgpack raises many kinds of errors (its own, ValueError, UnicodeDecodeError,
    # RecursionError, TypeError for unhashable keys, OverflowError for dates).
    except Exception as error:
        raise ProtocolError(f"not msgpack: {error}") from None
    match unpacked:
        case [version, str(kind), dict(fields)] if type(version) is int:
            if version != VERSION:
                raise ProtocolError(f"version {version} of the protocol; this is {VERSION}")
            return kind, fields
    raise ProtocolError("not a message: expected [version, kind, fields]")


def _is(*types: type) -> Check:
    # bool is an int for isinstance, but not on the wire.
    return lambda value: type(value) in types


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict(check: Check) -> Check:
    return lambda value: (
        isinstance(value, dict)
        and all(isinstance(key, str) and check(item) for key, item in value.items())
    )


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


# The shapes messages may use, by annotation.
_SHAPES: Final[dict[str, Check]] = {
    "int": _is(int),
    "str": _is(str),
    "bytes": _is(bytes),
    "bool": _is(bool),
    "int | None": _optional(_is(int)),
    "str | None": _optional(_is(str)),
    "float | None": _optional(_is(int, float)),
    "float": _is(int, float),
    "int | str": _is(int, str),
    "list[int]": _list(_is(int)),
    "list[str]": _list(_is(str)),
    "list[bytes]": _list(_is(bytes)),
    "list[list[int]]": _list(_list(_is(int))),
    "dict[str, str]": _dict(_is(str)),
    "dict[bytes, bytes]": lambda value: (
        isinstance(value, dict)
        and all(type(k) is bytes and type(v) is bytes for k, v in value.items())
    ),
    "dict[str, list[int]]": _dict(_list(_is(int))),
    "dict[str, Any]": _dict(lambda value: True),
    "list[Any]": _is(list),
    "Any": lambda value: True,
}
